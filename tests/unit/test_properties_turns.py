"""The reducer against a model: an agent as it behaves, our commands, crashes of either, in any order.

The model knows what really happened to each message. The reducer is told only what would stand on the disk, and has to
come to the same.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
    """An agent that takes prompts, holds those that come while it is busy, and reports as Claude Code 2.1.330 does."""

    def __init__(self, now):
        self.facts = [Fact("alive", now)]
        self.life, self.lives, self.prompts = True, 1, 0
        self.activity, self.since = "idle", now
        self.running = None  # (prompt id, the prompts that its end answers)
        self.held = []  # prompts, each (our number or None, text)
        self.asking = False
        self.subagents_ask = []  # ids of questions
        self.word_due_by = 0.0
        self.cut = []  # what its last end has cut
        self.answers = {}  # our number -> (state, reply): what really became of it

    def say(self, kind, now, **more):
        self.facts.append(Fact(kind, now, **more))

    def show(self, activity, now):
        self.activity, self.since = activity, now

    def take(self, number, text, now):
        if self.running:
            self.held.append((number, text))
        else:
            self._begin([(number, text)], now)
        self.say("accepted", now, text=text, prompt=self.running[0])

    def _begin(self, prompts, now):
        self.prompts += 1
        self.running = (f"p{self.prompts}", prompts)
        self.show("busy", now)

    def join(self, now):
        """A tool is done: what it holds becomes part of the running turn."""
        for _, text in self.held:
            self.say("joined", now, text=text)
        self.running[1].extend(self.held)
        self.held = []

    def end(self, now, outcome, background=0):
        prompt, prompts = self.running
        reply = f"reply to {prompt}" if outcome == COMPLETED else None
        error = "API 400" if outcome == FAILED else None
        self.say("ended", now, prompt=prompt, outcome=outcome, reply=reply, error=error, background=background)
        self._answer(prompts, (outcome, reply))
        self._next(now)

    def interrupt(self, now, told):
        """Esc: after some output, or with prompts held, the transcript tells of it; before that nothing does."""
        prompt, prompts = self.running
        if told or self.held:
            self.say("ended", now, prompt=prompt, outcome=INTERRUPTED)
        self._answer(prompts, (INTERRUPTED, None))
        self._next(now)

    def _next(self, now):
        self.running, self.asking = None, False
        self.show("idle", now)
        if self.held:
            prompts, self.held = self.held, []
            self._begin(list(prompts), now)
            for _, text in prompts:
                self.say("started", now, text=text, prompt=self.running[0])

    def _answer(self, prompts, answer):
        self.answers.update({number: answer for number, _ in prompts if number is not None})

    def die(self, now, word):
        if word:
            self.say("gone", now, error="it quit")
        self.cut = [*(self.running[1] if self.running else []), *self.held]
        self._answer(self.cut, (EXITED, None))
        self.word_due_by = 0.0
        self.life, self.running, self.held, self.asking, self.subagents_ask = False, None, [], False, []

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

    @precondition(lambda self: self.agent.life)
    @rule()
    def subagent_asks(self):
        """While the agent works, asks or rests, which its status does not tell."""
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
        self.tick()
        self.agent.interrupt(self.now, told)

    @precondition(lambda self: self.agent.running and self.agent.held)
    @rule()
    def take_back(self):
        """A person fetches what is held back into the input box."""
        self.tick()
        number, text = self.agent.held[0]
        del self.agent.held[0]
        self.agent.say("returned", self.now, text=text)
        self.agent.answers[number] = (INTERRUPTED, None)

    @precondition(lambda self: self.agent.life)
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

    @precondition(lambda self: self.now < self.agent.word_due_by)
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
        if self.agent.running:
            asks = self.agent.asking or self.agent.subagents_ask
            assert self.state.status == (WAITING if asks else WORKING)

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
        for number, _ in [*(self.agent.running[1] if self.agent.running else []), *self.agent.held]:
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
        if agent.running or agent.held:
            return
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
                elif (known := agent.answers.get(turn.number)) is not None:
                    # Nothing tells of an interrupt before the first word, if the agent has died since.
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


TestSession = pytest.mark.timeout(300)(Session.TestCase)
TestSession.settings = settings(
    settings.get_profile("unit"), max_examples=200, stateful_step_count=20, phases=[Phase.generate]
)


def test_what_an_agent_held_when_it_died_unseen_gets_no_reply_of_a_later_life():
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
