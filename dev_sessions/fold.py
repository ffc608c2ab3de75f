"""The prompts and questions of a session after a sequence of facts, by the rules in `turns`. Pure."""

from __future__ import annotations

from .model import COMMAND, COMPLETED, EXITED, IDLE, INTERRUPTED, SCHEDULE, Fact, Message, Probe, Question, Task, Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

# Seconds. An agent is idle for 20 to 60 ms between two turns of its own queue (Claude Code 2.1.330). If it is idle for
# this long and still holds a prompt, it has dropped the prompt, or has silently added it to the turn before.
HOLD_GRACE = 1.0
# An agent that took a prompt and stays idle for this long will not start on it (a hook of the user's may block a prompt
# after ours has reported it). An agent whose subagents have ended wakes up about 0.1 s later (Claude Code 2.1.332); if
# it does not within this time, it got no report from them.
START_GRACE = 5.0
_CLOCK_SLACK = 1.0  # the time stamps of files may be ahead of the clock by a tick
AWAKE_SECONDS = 120.0  # an agent that we restarted reports its start within this time
ENDING_SECONDS = 5.0  # an agent that reports its end but runs for longer than this has not ended
CUT = "the agent exited in the middle of it, and was restarted"
STOPPED = "its subagents were stopped"
UNREPORTED = "its subagents ended without a report"


class Untaken:
    """The messages that may have reached the agent and that it has not taken yet."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._by_text: dict[str, list[Message]] = {}
        for message in messages:
            if message.attempted is not None:
                self._by_text.setdefault(message.wire, []).append(message)

    def take(self, fact: Fact) -> Message | None:
        """The message that the agent has taken: the newest one with that text that was attempted by then.

        An earlier one with the same text may have been lost (its sender was killed).
        """
        same = self._by_text.get(fact.text, [])
        attempted = [one for one in same if (one.attempted or 0.0) <= fact.at]
        taken = max(attempted, key=lambda one: one.attempted or 0.0, default=None)
        if taken is not None:
            same.remove(taken)
        return taken


class _Open:
    """A prompt that the agent has taken and not finished.

    Attributes:
        number: the number of our message; None if the prompt is not ours.
        queued: the agent has reported that it put the prompt into its queue, but not that it took it out again.
        held: the agent has not begun to work on it.
        followed: it came from the queue.
        task: the background task whose end made the agent give itself this prompt.
        waits: the subagents that keep it open after the agent has ended it; empty while the agent works on it.
        parts: the prompts that brought the agent the reports of these subagents.
    """

    __slots__ = ("began", "followed", "held", "number", "parts", "prompt", "queued", "task", "text", "waits")

    def __init__(self, number: int | None, fact: Fact, held: bool) -> None:
        self.number, self.text, self.prompt, self.began, self.held = number, fact.text, fact.prompt, fact.at, held
        self.queued, self.followed = fact.held, False
        self.task = fact.task
        self.waits: frozenset[str] = frozenset()
        self.parts: frozenset[str] = frozenset()


class Fold:
    """The state after some facts; `take` adds the next one."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._untaken = Untaken(messages)
        self.open: list[_Open] = []
        self.closed: dict[int, Turn] = {}
        self.questions: tuple[Question, ...] = ()
        self.background = 0
        self.left: tuple[Task, ...] = ()
        self.last_end: Fact | None = None
        self._listed: frozenset[str] = frozenset()  # the subagents that were still running at the last end
        self._fresh: frozenset[str] = frozenset()  # the subagents that the running turn has started
        self._starters: dict[str, frozenset[int]] = {}  # for each command, the turns of ours that started it
        self._reported: frozenset[str] = frozenset()  # the background tasks whose end was reported to the agent
        self.last: Turn | None = None
        self.gone: str | None = None
        self.ending = 0.0
        self.lived = False  # the program has reported its start
        self.heard = False  # it has reported something else since we last started it
        self.revivals: list[float] = []

    def take(self, fact: Fact) -> None:
        """Add a fact. A kind that only a newer version knows is ignored; mypy checks that all others are covered."""
        # A report of a task that arrives while the agent is working does not close its questions.
        joins = fact.task is not None and (fact.held or self._busy_with(fact.prompt))
        match fact.kind:
            case "accepted":
                self._accepted(fact)
            case "joined":
                if entry := self._held_with(fact.text):
                    entry.held = False
            case "returned":
                if entry := self._held_with(fact.text):
                    error = "a person took the message back into the input box"
                    self._close([entry], INTERRUPTED, fact.at, error=error)
            case "started":
                if entry := self._held_with(fact.text):
                    entry.held, entry.followed, entry.prompt = False, True, fact.prompt
            case "ended":
                self._ended(fact)
            case "launched":
                self._fresh |= frozenset() if fact.task is None else {fact.task}
            case "stopped":
                self._close((one for one in self.open if one.waits), INTERRUPTED, fact.at, error=STOPPED)
                self._listed = self._fresh = frozenset()
            case "asked":
                if fact.question is not None:
                    self.questions = (*(self.questions if fact.held else self._of_subagents()), fact.question)
            case "answered":
                self.questions = tuple(one for one in self.questions if one.id != fact.text)
            case "alive":
                self._alive(fact)
            case "revived":
                self._close(self.open, INTERRUPTED, fact.at, error=CUT)
                self._forget()
                self.questions, self.gone, self.heard = (), None, False
                self.revivals.append(fact.at)
            case "gone":
                self.gone, self.ending = fact.error or "the agent ended", fact.at
        if fact.kind in ("accepted", "ended"):
            self.heard = self.lived
            if not joins:
                self.questions = self._of_subagents()

    def _alive(self, fact: Fact) -> None:
        # Prompts of an earlier run of the program cannot end any more. Our own restart may be reported late.
        if self.lived and not (self.revivals and fact.at - self.revivals[-1] <= AWAKE_SECONDS):
            self._close(self.open, EXITED, fact.at, error=self.gone or "the agent was restarted")
            self._forget()
        self.questions, self.gone = (), None
        self.lived = self.heard = True

    def _forget(self) -> None:
        self.open, self._listed, self._fresh, self._reported = [], frozenset(), frozenset(), frozenset()
        self._starters, self.background, self.left = {}, 0, ()

    def _accepted(self, fact: Fact) -> None:
        queued = next((entry for entry in self.open if entry.queued and entry.text == fact.text), None)
        if queued is not None and not fact.held:  # a second report of the same prompt: it has left the queue
            queued.queued = False
            if self._busy_with(fact.prompt):
                queued.prompt = fact.prompt
            elif queued.held:
                queued.held, queued.followed, queued.prompt = False, True, fact.prompt
                self._interrupt(fact.at, [one for one in self.open if not one.followed])
            return
        held = fact.held or self._busy_with(fact.prompt)
        reported = frozenset() if fact.task is None else frozenset([fact.task])
        if reported and held:
            self._reported |= reported  # received in the running turn
            return
        message = self._untaken.take(fact)
        if not held:
            # A turn whose end was not reported was cut off when the program died, and so were the prompts held for it.
            cut = {entry.prompt for entry in self.open if not entry.held and not entry.waits} - {None}
            for entry in self.open:
                entry.held = entry.held and entry.prompt not in cut
            # Reports of several tasks that arrive together are one turn.
            before = [one for one in self.open if not reported or one.task is None]
            self._interrupt(_at_rest_by(fact, message), before)
            self._release(fact.at, reported)
        self.open.append(_Open(message and message.number, fact, held))
        self._reported |= reported

    def _interrupt(self, at: float, before: list[_Open]) -> None:
        """Close the prompts `before` a new turn as interrupted: an agent begins a turn only when none is running.

        Prompts that it takes from its queue together are one turn. A prompt that waits for subagents is not running; it
        counts as interrupted only if the interrupted turn had received the last report of these subagents.
        """
        cut = [entry for entry in before if not entry.held and not entry.waits]
        if cut:  # no turn waits for the subagents of these
            self._listed, self._fresh = self._listed | self._fresh, frozenset()
        cut += [entry for entry in self.open if cut and entry.waits and entry.waits <= self._reported]
        self._close((one for one in cut if one.task is None or not self._owners([one])), INTERRUPTED, at)
        self.open = [entry for entry in self.open if entry not in cut]

    def _owners(self, woken: list[_Open]) -> list[_Open]:
        """The open prompts that wait for the subagents whose reports woke the agent."""
        tasks = frozenset(entry.task for entry in woken if entry.task is not None)
        return [entry for entry in self.open if entry.waits & tasks]

    def _release(self, at: float, reported: frozenset[str]) -> None:
        """Close prompts that still wait although the last end listed no subagents, as `_close_abandoned` does.

        Prompts that wait for the subagents `reported` by the new prompt stay open.
        """
        end = self.last_end
        if end is not None and self.delegated and not self._listed and at - end.at >= HOLD_GRACE:
            released = (entry for entry in self.open if not entry.waits & reported)
            self._close(released, end.outcome, end.at, **end.result)

    def _held_with(self, text: str) -> _Open | None:
        return next((entry for entry in self.open if entry.held and entry.text == text), None)

    def _busy_with(self, prompt: str | None) -> bool:
        """True if `prompt` is the running turn or the last one that ended: a new prompt with that id is held."""
        if prompt is None:
            return False
        ended = self.last_end.prompt if self.last_end else None
        return prompt == ended or any(entry.prompt == prompt for entry in self.open)

    def _of_subagents(self) -> tuple[Question, ...]:
        return tuple(one for one in self.questions if one.agent)

    def _ended(self, fact: Fact) -> None:
        held = [entry for entry in self.open if entry.held and entry.prompt in (fact.prompt, None)]
        waiting = [entry for entry in self.open if entry.waits and entry not in held]
        over = [entry for entry in self.open if entry not in held and entry not in waiting]
        if not over:  # the end of a turn whose beginning was not reported
            self.last = Turn(0, fact.outcome, fact.at, fact.at, prompt=fact.prompt, **fact.result)
        known = self._listed.union(*(entry.waits for entry in waiting))
        # An end does not list a subagent that ended during the turn, but its report arrives only after the end.
        fresh, self._fresh = self._fresh - self._reported, frozenset()
        listed = (self._listed - self._reported) | fresh  # if the end does not list them
        self._listed = listed if fact.subagents is None else frozenset(fact.subagents)
        self._reported -= self._listed  # a subagent that got another message is running again
        new = (self._listed | fresh) - known
        if fact.outcome == INTERRUPTED:
            new = frozenset()  # no turn waits for the subagents of an interrupted one
        owners = self._owners(over)
        kept = []
        for entry in over or [_Open(None, fact, held=False)]:
            if entry.task is not None and owners:
                for one in owners:
                    one.parts |= {entry.prompt or ""}
                continue
            if new:
                entry.waits = new
                kept.append(entry)
            elif over:
                self._close([entry], fact.outcome, fact.at, **fact.result)
        for entry in waiting:
            entry.waits |= new if entry in owners and not kept else frozenset()
            entry.waits -= self._reported
            if not entry.waits:
                self._close([entry], fact.outcome, fact.at, **fact.result)
        self.open = [*held, *kept, *(entry for entry in waiting if entry.waits)]
        self._follow(fact, over)
        self.background, self.left = fact.background, fact.left
        self.last_end = fact

    def _follow(self, end: Fact, over: list[_Open]) -> None:
        """Store the reply as `later` in the turns that started the commands it is about; note who started commands."""
        woken = [self._starters.get(entry.task, frozenset()) for entry in over if entry.task is not None]
        turns = frozenset(entry.number for entry in over if entry.number is not None).union(*woken)
        for number in turns:
            turn = self.closed.get(number)
            if turn is not None and turn.ended != end.at and end.outcome == COMPLETED:
                self.closed[number] = turn._replace(later=end.reply)
        for task in end.left:
            if task.kind == COMMAND:
                self._starters.setdefault(task.id, turns)

    def _close(self, entries: Iterable[_Open], state: str, at: float, **result: Any) -> None:
        over = list(entries)
        for entry in over:
            self.last = Turn(entry.number or 0, state, entry.began, at, prompt=entry.prompt, **result)
            if entry.number is not None:
                self.closed[entry.number] = self.last
        self.open = [entry for entry in self.open if entry not in over]

    def unfinished(self) -> tuple[frozenset[str], float]:
        """The agent's ids of the open turns, and when the earliest one without an id began."""
        prompts = {entry.prompt for entry in self.open}.union(*(entry.parts for entry in self.open))
        began = [entry.began for entry in self.open if entry.prompt is None and not entry.held]
        return frozenset(prompt for prompt in prompts if prompt), min(began, default=float("inf"))

    def ends_by(self, now: float) -> bool:
        """True if the agent has just reported its end, even if its process is still running."""
        return self.gone is not None and passed(now, self.ending) <= ENDING_SECONDS

    def settle(self, probe: Probe) -> None:
        """Close prompts whose end no fact reports, as the probe shows."""
        if probe.running is False:
            error = self.gone or probe.detail or "the agent ended"
            at = max((entry.began for entry in self.open), default=0.0)  # the earliest time possible
            self._close(self.open, EXITED, at, error=error)
            self._forget()
            self.questions = ()
        elif probe.activity == IDLE:
            for entry in self.open:
                if not entry.waits:
                    self._close_dropped(entry, probe)
            if self.last_end is not None and self.delegated:
                for entry in self.open:
                    self._close_abandoned(entry, probe, self.last_end)
            if not probe.background:
                self.left = tuple(task for task in self.left if task.kind == SCHEDULE)
            self.background = max(1, self.background) if probe.background else len(self.left)

    @property
    def subagents(self) -> frozenset[str]:
        """The subagents that are running, as far as the agent knows."""
        return self._listed - self._reported

    @property
    def delegated(self) -> bool:
        """True if all open prompts wait for subagents."""
        return bool(self.open) and all(entry.waits for entry in self.open)

    def _close_dropped(self, entry: _Open, probe: Probe) -> None:
        """Close a prompt that the idle agent no longer works on."""
        end, idle_for = self.last_end, passed(probe.now, max(probe.since, entry.began))
        if entry.held and idle_for < HOLD_GRACE:
            return
        if entry.held and end is not None and end.at > entry.began:
            self._close([entry], end.outcome, end.at, **end.result)
        elif entry.held or probe.since >= entry.began or idle_for >= START_GRACE:
            self._close([entry], INTERRUPTED, max(probe.since, entry.began), error=probe.detail)

    def _close_abandoned(self, entry: _Open, probe: Probe, end: Fact) -> None:
        """Close a prompt that waits for subagents although no report from them will come."""
        since = max(probe.since, end.at)
        idle_for = passed(probe.now, since)
        if entry.waits <= self._reported:  # the turn with the last report was interrupted
            self._close([entry], INTERRUPTED, since, error=probe.detail)
        elif entry.waits & self._listed:
            if idle_for >= START_GRACE:
                self._close([entry], INTERRUPTED, since, error=UNREPORTED)
        elif idle_for >= HOLD_GRACE:  # they ended during the last turn, and the agent dropped their report
            self._close([entry], end.outcome, end.at, **end.result)


def passed(now: float, since: float) -> float:
    """Seconds since then. A time in the future was stamped before the clock was set back, so it is long ago."""
    return now - since if now >= since - _CLOCK_SLACK else float("inf")


def _at_rest_by(fact: Fact, message: Message | None) -> float:
    """The latest time by which the agent was at rest, given that it took this prompt as a new turn.

    It was at rest when the message was created, or, if it was queued, when it was delivered.
    """
    if message is None:
        return fact.at
    return min(fact.at, (message.attempted if message.queued else message.created) or fact.at)
