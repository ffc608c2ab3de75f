"""The reducer against a model: an agent as it behaves, our commands, crashes of either, in any order.

The model knows what really happened to each message. The reducer is told only what would stand on the disk, and has to
come to the same.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from soak import size

from dev_sessions.fold import AWAKE_SECONDS, HOLD_GRACE, START_GRACE
from dev_sessions.model import (
    COMPLETED,
    EXITED,
    FAILED,
    IDLE,
    INTERRUPTED,
    QUEUED,
    STATUSES,
    WAITING,
    WORKING,
    Fact,
    Message,
    Probe,
    Question,
    Subagent,
)
from dev_sessions.turns import FLIGHT_SECONDS, batch, reduce, verdict

STATES = (QUEUED, WORKING, WAITING, COMPLETED, FAILED, INTERRUPTED, EXITED)
GRACE = max(HOLD_GRACE, START_GRACE) + 0.1


class Agent:
    """An agent that takes prompts, holds those that come while it is busy, starts subagents, and reports as Claude
    Code 2.1.332 does.
    """

    def __init__(self, now):
        self.facts = [Fact("alive", now)]
        self.life, self.lives, self.prompts = True, 1, 0
        self.activity, self.since = "idle", now
        self.running = None  # (prompt id, the prompts that its end answers)
        self.again = False  # it has ended that turn before, and something made it go on
        self.subagents = {}  # those that run: whether an end has listed them
        self.started = 0
        self.fresh = set()  # those that the running turn has started
        self.ended = []  # those whose end was not reported to it yet
        self.wakes = set()  # those whose end began the running turn
        self.told = set()  # those whose end was reported to it in the running turn
        self.known = set()  # or ever
        self.waiting = []  # [prompts, the subagents that hold off their end]
        self.left = []  # those whose subagents will not be reported: (one of them, its answer, since when)
        self.held = []  # prompts, each (our number or None, text)
        self.asking = False
        self.subagents_ask = []  # ids of questions
        self.word_due_by = 0.0
        self.cut = []  # the prompts that its last end interrupted
        self.answers = {}  # our number -> (state, reply): what really became of it

    def say(self, kind, now, **more):
        self.facts.append(Fact(kind, now, **more))

    def show(self, activity, now):
        """Its own word: busy, and not a moment idle, while subagents run."""
        activity = "busy" if activity == "idle" and self.subagents else activity
        if activity != self.activity:
            self.activity, self.since = activity, now

    def take(self, number, text, now):
        if self.running:
            self.held.append((number, text))
        else:
            self._begin([(number, text)], now)
        self.say("accepted", now, text=text, prompt=self.running[0])

    def _begin(self, prompts, now):
        for held, answer, at in self.left:
            if now - at >= HOLD_GRACE:
                self._answer(held[0], answer)
            else:
                self.waiting.append(held)
        self.prompts += 1
        self.left, self.running, self.told, self.again = [], (f"p{self.prompts}", prompts), set(), False
        self.fresh = set()
        self.show("busy", now)

    def launch(self, now):
        self.started += 1
        self.subagents[f"s{self.started}"] = False
        self.fresh.add(f"s{self.started}")
        self.say("launched", now, prompt=self.running[0], task=f"s{self.started}")

    def finish(self, subagent, now):
        del self.subagents[subagent]
        self.ended.append(subagent)
        if not self.running:
            self.show("idle", now)

    def tell(self, now):
        """It tells itself of a subagent that has ended: in the turn that runs, or in one of its own."""
        task = self.ended.pop(0)
        self.wakes = set() if not self.running else self.wakes
        if not self.running:
            self._begin([], now)
            self.wakes = {task}
        self.told.add(task)
        self.known.add(task)
        self.say("accepted", now, text="<task-notification>", prompt=self.running[0], task=task)

    def kill_subagents(self, now):
        """A person's key: it is told so in words that name no task."""
        self.say("stopped", now)
        self._answer([prompt for one in self.waiting for prompt in one[0]], (INTERRUPTED, None))
        self.subagents, self.waiting = {}, []
        self._begin([(None, "They were stopped.")], now)
        self.say("accepted", now, text="They were stopped.", prompt=self.running[0])

    def join(self, now):
        """A tool is done: what it holds becomes part of the running turn."""
        for _, text in self.held:
            self.say("joined", now, text=text)
        self.running[1].extend(self.held)
        self.held = []

    def end(self, now, outcome, background=0, hook=False):
        """With `hook`, something makes it go on at the same turn."""
        prompt, prompts = self.running
        reply = f"reply to {prompt} at {now}" if outcome == COMPLETED else None
        more = {"outcome": outcome, "reply": reply, "error": "API 400" if outcome == FAILED else None}
        listed = tuple(self.subagents)
        count = background + len(listed)
        self.say("ended", now, prompt=prompt, background=count, subagents=listed, again=self.again, **more)
        self.again = hook
        if not hook:
            self._over(prompts, (outcome, reply), now)
            self._next(now)

    def _over(self, prompts, answer, now):
        new = {name for name, listed in self.subagents.items() if not listed} | (self.fresh - self.known)
        self.fresh = set()
        self.subagents = dict.fromkeys(self.subagents, True)
        owners = [one for one in self.waiting if not prompts and one[1] & self.wakes]
        for one in owners:
            one[1] |= new
        if new and not owners:
            self.waiting.append([prompts, new])
        else:
            self._answer(prompts, answer)
        self.known -= set(self.subagents)
        for one in self.waiting:
            one[1] -= self.known
        for one in [one for one in self.waiting if not one[1]]:
            self._answer(one[0], answer)
        self.waiting = [one for one in self.waiting if one[1]]
        if not self.subagents and not self.ended:
            self.left = [(one, answer, now) for one in self.waiting]
            self.waiting = []

    def interrupt(self, now, told):
        """Esc: after some output, or with prompts held, the transcript tells of it; before that nothing does."""
        prompt, prompts = self.running
        if told or self.held:
            self.say("ended", now, prompt=prompt, outcome=INTERRUPTED)
        self._answer(prompts, (INTERRUPTED, None))
        self.subagents = dict.fromkeys(self.subagents, True)  # the ones that it started belong to no turn now
        for one in [one for one in self.waiting if one[1] <= self.known]:
            self._answer(one[0], (INTERRUPTED, None))
            self.waiting.remove(one)
        self._next(now)

    def _next(self, now):
        self.running, self.asking, self.again = None, False, False
        self.show("idle", now)
        if self.held:
            prompts, self.held = self.held, []
            self._begin(list(prompts), now)
            self.wakes = set()
            for _, text in prompts:
                self.say("started", now, text=text, prompt=self.running[0])

    def _answer(self, prompts, answer):
        self.answers.update({number: answer for number, _ in prompts if number is not None})

    def die(self, now, word):
        if word:
            self.say("gone", now, error="it quit")
        self.settle()
        waiting = [prompt for one in self.waiting for prompt in one[0]]
        self.cut = [*(self.running[1] if self.running else []), *self.held, *waiting]
        self._answer(self.cut, (EXITED, None))
        self.word_due_by = 0.0
        self.life, self.running, self.held, self.asking, self.again = False, None, [], False, False
        self.subagents_ask = []
        self.subagents, self.ended, self.waiting = {}, [], []

    def settle(self):
        """Enough time has passed."""
        for one, answer, _ in self.left:
            self._answer(one[0], answer)
        self.left = []

    def rise(self, now, by_us, word):
        """Started again, by a person, or by us. Its own word of that may come late, or never."""
        self.life, self.lives = True, self.lives + 1
        if by_us:
            self.say("revived", now)
        if word == "at once":
            self.say("alive", now)
        elif word == "late":
            self.word_due_by = now + AWAKE_SECONDS
        self.show("idle", now)

    def probe(self, now):
        question = Question("d", "dialog", "?", (), self.since) if self.asking else None
        return Probe(now, self.life, self.activity if self.life else None, self.since, question=question)


class Session(RuleBasedStateMachine):
    """Commands of ours and the agent's doings, a moment apart from each other."""

    @initialize()
    def begin(self):
        self.now = 1000.0
        self.messages = []
        self.agent = Agent(self.now)
        self.lost = set()  # messages that never came to the agent
        self.final = {}  # turns that a fact has ended

    def tick(self, seconds=0.5):
        self.now += seconds

    def look(self, now=None):
        return reduce(self.messages, self.agent.facts, self.agent.probe(self.now if now is None else now))

    def change(self, number, **changes):
        self.messages[number - 1] = self.messages[number - 1]._replace(**changes)

    def claim(self, same, queued=False):
        self.tick()
        number = len(self.messages) + 1
        text = "go on" if same else f"text {number}"
        self.messages.append(Message(number, text, "terminal", f"r{number}", self.now, queued=queued))
        return number

    def hand_over(self, number, crash):
        """As `hand_over` of the service does it; the sender may be killed at each step."""
        if crash == "before the attempt":
            self.lost.add(number)
            return
        self.tick(0.1)
        self.change(number, attempted=self.now)
        if crash == "before Enter":
            self.lost.add(number)
            return
        self.tick(0.1)
        receipt = "accepted" if self.agent.running else "started"
        self.agent.take(number, self.messages[number - 1].wire, self.now)
        if crash == "no receipt in time":
            self.change(number, unconfirmed=True)
        elif crash is None:
            self.change(number, receipt=receipt)

    # Ours

    @precondition(lambda self: self.agent.life and not self.agent.asking)
    @rule(
        crash=st.sampled_from([None, None, None, "before the attempt", "before Enter", "after", "no receipt in time"]),
        same=st.booleans(),
    )
    def send(self, crash, same):
        self.hand_over(self.claim(same), crash)

    @rule(same=st.booleans())
    def send_queued(self, same):
        self.claim(same, queued=True)

    @precondition(lambda self: self.agent.life and not self.agent.asking and not self.agent.running)
    @rule()
    def courier(self):
        state = self.look()
        waiting = [turn.number for turn in state.turns if turn.state == QUEUED]
        busy = any(turn.open and turn.state != QUEUED for turn in state.turns)
        unsent = [n for n in waiting if self.messages[n - 1].attempted is None]
        if unsent and state.status == IDLE and not busy:
            self.tick()
            self.hand_over(unsent[0], None)

    # The agent's

    @precondition(lambda self: self.agent.running and not self.agent.asking)
    @rule(outcome=st.sampled_from([COMPLETED, COMPLETED, FAILED]), background=st.integers(0, 1))
    def end(self, outcome, background):
        self.tick()
        self.agent.end(self.now, outcome, background)
        self.wake_up()

    @precondition(lambda self: self.agent.running and not self.agent.asking)
    @precondition(lambda self: not any(self.agent.subagents.values()))
    @rule()
    def a_hook_makes_it_go_on(self):
        """While subagents of an earlier turn run, nothing shows that the agent itself works too."""
        self.tick()
        self.agent.end(self.now, COMPLETED, hook=True)

    @precondition(lambda self: self.agent.running and not self.agent.asking and len(self.agent.subagents) < 3)
    @rule()
    def start_a_subagent(self):
        self.tick()
        self.agent.launch(self.now)

    @precondition(lambda self: self.agent.subagents)
    @rule(last=st.booleans())
    def a_subagent_ends(self, last):
        self.tick()
        self.agent.finish(list(self.agent.subagents)[-1 if last else 0], self.now)
        self.wake_up()

    @precondition(lambda self: self.agent.ended and self.agent.running)
    @rule()
    def is_told_meanwhile(self):
        self.tick()
        self.agent.tell(self.now)

    @precondition(lambda self: self.agent.subagents and not self.agent.running)
    @rule()
    def stop_the_subagents(self):
        self.tick()
        self.agent.kill_subagents(self.now)

    def wake_up(self):
        """An agent at rest tells itself at once of what has ended."""
        if self.agent.ended and not self.agent.running:
            self.all_holds()
            self.tick(0.1)
            self.agent.tell(self.now)

    @precondition(lambda self: self.agent.running and self.agent.held)
    @rule()
    def join(self):
        self.tick()
        self.agent.join(self.now)

    @precondition(lambda self: self.agent.running and not self.agent.asking)
    @rule()
    def ask(self):
        self.tick()
        question = Question(f"q{self.now}", "permission", "Bash: ls", ("allow", "deny"), self.now)
        self.agent.say("asked", self.now, prompt=self.agent.running[0], question=question)
        self.agent.show("waiting", self.now)
        self.agent.asking = True

    @precondition(lambda self: self.agent.asking)
    @rule()
    def answer(self):
        self.tick()
        self.agent.asking = False
        self.agent.show("busy", self.now)

    @precondition(lambda self: self.agent.life and self.now >= self.agent.word_due_by)
    @rule()
    def subagent_asks(self):
        """While the agent works, asks or rests, which its status does not tell; long after its first word."""
        self.tick()
        id = f"s{self.now}"
        question = Question(id, "permission", "Bash: ls", ("allow", "deny"), self.now, agent=Subagent("a", "Explore"))
        self.agent.say("asked", self.now, question=question, held=True)
        self.agent.subagents_ask.append(id)

    @precondition(lambda self: self.agent.subagents_ask)
    @rule(place=st.integers(0, 9))
    def subagent_is_answered(self, place):
        self.tick()
        id = self.agent.subagents_ask.pop(place % len(self.agent.subagents_ask))
        self.agent.say("answered", self.now, text=id)

    @precondition(lambda self: self.agent.life and not self.agent.running)
    @rule()
    def person_or_wake_up(self):
        self.tick()
        self.agent.take(None, "<task-notification>", self.now)

    @precondition(lambda self: self.agent.running)
    @rule(told=st.booleans())
    def interrupt(self, told):
        """A turn that has gone on after its end is always known to be interrupted: its prompt has been answered."""
        self.tick()
        self.agent.interrupt(self.now, told or self.agent.again)
        self.wake_up()

    @precondition(lambda self: self.agent.running and self.agent.held)
    @rule()
    def take_back(self):
        """A person fetches what is held back into the input box."""
        self.tick()
        number, text = self.agent.held[0]
        del self.agent.held[0]
        self.agent.say("returned", self.now, text=text)
        self.agent.answers[number] = (INTERRUPTED, None)

    @precondition(lambda self: self.agent.life and not self.agent.again)
    @rule(word=st.booleans())
    def die(self, word):
        self.tick()
        self.agent.die(self.now, word)

    @precondition(lambda self: not self.agent.life)
    @rule()
    def restart_by_hand(self):
        self.tick()
        self.agent.rise(self.now, False, "at once")

    @precondition(lambda self: not self.agent.life)
    @rule(word=st.sampled_from(["at once", "late", "never"]))
    def revive(self, word):
        self.tick()
        self.agent.rise(self.now, True, word)
        turns = self.look().turns
        for number, _ in self.agent.cut:
            assert number is None or turns[number - 1].state == INTERRUPTED, turns[number - 1]

    @precondition(lambda self: self.now < self.agent.word_due_by and not self.agent.again)
    @rule()
    def late_word(self):
        self.tick(0.1)
        self.agent.word_due_by = 0.0
        self.agent.say("alive", self.now)

    @rule(seconds=st.sampled_from([0.01, 2.0, GRACE, FLIGHT_SECONDS + 1]))
    def time_passes(self, seconds):
        self.tick(seconds)

    # What always holds

    @invariant()
    def all_holds(self):
        self.state = self.look()
        self.turns = {turn.number: turn for turn in self.state.turns}
        self.each_message_is_one_turn_in_one_state()
        self.a_busy_agent_is_not_called_idle()
        self.what_subagents_ask_is_open_and_nothing_else_of_theirs()
        self.a_dead_agent_is_called_exited_and_runs_nothing()
        self.what_the_agent_finished_is_told_as_it_was()
        self.what_the_agent_works_on_is_open()
        self.nobody_gets_the_reply_of_another()
        self.a_turn_that_ended_by_a_fact_stays_as_it_is()
        self.at_rest_nothing_of_ours_runs()
        self.wait_says_the_same_whenever_it_is_asked()

    def each_message_is_one_turn_in_one_state(self):
        state = self.state
        assert [turn.number for turn in state.turns] == [message.number for message in self.messages]
        assert {turn.state for turn in state.turns} <= set(STATES)
        assert state.status in STATUSES
        assert all(turn.open == (turn.ended is None) for turn in state.turns)
        assert state == self.look()

    def a_busy_agent_is_not_called_idle(self):
        agent = self.agent
        # Only its status shows the subagents of an interrupted turn.
        due = {name for one in agent.waiting for name in one[1]} & set(agent.ended)
        if agent.running or agent.subagents or due:
            asks = agent.asking or agent.subagents_ask
            assert self.state.status == (WAITING if asks else WORKING)
        if self.state.delegated:
            assert agent.again or not agent.running

    def what_subagents_ask_is_open_and_nothing_else_of_theirs(self):
        for now in (self.now, self.now + 10_000.0):
            assert [one.id for one in self.look(now).questions if one.agent] == self.agent.subagents_ask

    def a_dead_agent_is_called_exited_and_runs_nothing(self):
        state = self.state
        assert (state.status == EXITED) == (not self.agent.life)
        if not self.agent.life:
            assert {turn.state for turn in state.turns if turn.open} <= {QUEUED}

    def what_the_agent_finished_is_told_as_it_was(self):
        for number, (state, reply) in self.agent.answers.items():
            if state in (COMPLETED, FAILED):
                turn = self.turns[number]
                assert (turn.state, turn.reply) == (state, reply), (turn, state, reply)

    def what_the_agent_works_on_is_open(self):
        waiting = [prompt for one in self.agent.waiting for prompt in one[0]]
        for number, _ in [*(self.agent.running[1] if self.agent.running else []), *self.agent.held, *waiting]:
            if number is not None:
                assert self.turns[number].open, self.turns[number]

    def nobody_gets_the_reply_of_another(self):
        for turn in self.turns.values():
            if turn.reply is not None:
                assert self.agent.answers.get(turn.number) == (COMPLETED, turn.reply)

    def a_turn_that_ended_by_a_fact_stays_as_it_is(self):
        """Asked right now and at any later time: the same state, the same reply, the same moment."""
        for number, turn in self.final.items():
            assert self.turns[number] == turn
        for number, (state, _) in self.agent.answers.items():
            if state in (COMPLETED, FAILED):
                self.final.setdefault(number, self.turns[number])

    def at_rest_nothing_of_ours_runs(self):
        agent = self.agent
        if agent.running or agent.held or agent.subagents or agent.ended:
            return
        answers = {**agent.answers}
        for one, answer, _ in agent.left:
            answers |= {number: answer for number, _ in one[0] if number is not None}
        for later in (FLIGHT_SECONDS + GRACE, 10_000.0):
            state = self.look(self.now + later)
            assert state.status == (WAITING if agent.subagents_ask else IDLE if agent.life else EXITED)
            for turn in state.turns:
                message = self.messages[turn.number - 1]
                if turn.open:
                    assert message.queued, turn
                    assert turn.state == QUEUED
                elif turn.number in self.lost:
                    assert turn.state in (FAILED, EXITED)
                elif (known := answers.get(turn.number)) is not None:
                    # Nothing shows an interrupt before the first output if the agent has died since.
                    silent = (INTERRUPTED, EXITED) if known[0] in (INTERRUPTED, EXITED) else ()
                    assert turn.state in (known[0], *silent), turn

    def wait_says_the_same_whenever_it_is_asked(self):
        """Of the turns that it would speak of, once all have ended by facts."""
        told = batch(self.state.turns)
        if told and all(turn.number in self.final for turn in told):
            for now in (self.now, self.now + 1.0, self.now + 1e6, self.now - 500.0):
                later = batch(self.look(now).turns)
                assert later == told
                assert verdict(later) == verdict(told)


TestSession = pytest.mark.soak(pytest.mark.timeout(size(300, 3600))(Session.TestCase))
TestSession.settings = settings(
    settings.get_profile("unit"), max_examples=size(100, 5000), stateful_step_count=20, phases=[Phase.generate]
)


def test_a_held_prompt_of_a_dead_agent_gets_no_later_reply():
    state = Session()
    state.begin()
    state.die(word=True)
    state.revive(word="never")
    state.person_or_wake_up()
    state.send(crash=None, same=False)  # held
    state.die(word=False)
    state.restart_by_hand()
    state.send(crash="no receipt in time", same=False)
    state.all_holds()
    state.end(background=0, outcome=COMPLETED)
    state.all_holds()
