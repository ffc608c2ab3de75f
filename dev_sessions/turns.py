"""state = reduce(acts, facts, probe): what a session is doing, from what we did and what its agent said.

Pure and total: no input, no output, no clock. Nothing that this module concludes is stored anywhere, so a wrong
conclusion cannot become permanent, and a better rule corrects the past.

The rules, in order of rank:

1. A prompt that the agent took is bound to the last message of ours with that text that may have reached it by then;
   any other prompt is somebody else's (a person's, or the agent waking itself): it keeps the session `working`, but is
   no turn of ours.
2. A turn's end closes every turn that the agent had taken by then, but for those that it holds in its own queue.
3. Only after that comes the probe: an agent that is gone ends its turns as `exited`; one that says it is idle, and has
   been since after it took the prompt, was interrupted (no agent announces an interrupt).
"""

from __future__ import annotations

from .model import (
    COMPLETED,
    EXITED,
    FAILED,
    IDLE,
    INTERRUPTED,
    QUEUED,
    WAITING,
    WORKING,
    Fact,
    Message,
    Probe,
    Question,
    State,
    Turn,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

WAITING_ACTIVITY, BUSY_ACTIVITY = "waiting", "busy"

# An agent is idle for some 20 to 60 ms between two turns of its own queue (Claude Code 2.1.330). Only what it still
# holds after this time of idling has been dropped, or has silently joined the turn before. Seconds.
HOLD_GRACE = 1.0
# An agent that took a prompt and has said `idle` for this long since before it will not start on it (a hook of the
# user's own may block a prompt after ours has reported it). Seconds.
START_GRACE = 5.0
# A sender waits this long at most for a receipt; whether it still runs is not known of every one. Seconds.
FLIGHT_SECONDS = 120.0
# Stamps of files may run ahead of the clock by a tick. Seconds.
_CLOCK_SLACK = 1.0
# An agent that we started again says so within this time. Seconds.
AWAKE_SECONDS = 120.0
# An agent that says it ends is taken at its word for this long; one that runs on after that has not ended. Seconds.
ENDING_SECONDS = 5.0
CUT = "the agent was gone in the middle of it, and was started again"
# A question of its own that the agent announced, yet does not wait on, was settled by a rule of the user's. Seconds.
ASK_GRACE = 1.0


class _Open:
    """A prompt that the agent has taken and not yet finished.

    `number` is None if it is no message of ours. `queued`: it is in the agent's own queue, and not yet taken from
    there. `followed`: it began as the agent came to it in its queue.
    """

    __slots__ = ("began", "followed", "held", "number", "prompt", "queued", "text")

    def __init__(
        self, number: int | None, text: str, prompt: str | None, began: float, held: bool, queued: bool = False
    ) -> None:
        self.number, self.text, self.prompt, self.began, self.held = number, text, prompt, began, held
        self.queued, self.followed = queued, False


class _Fold:
    """What is known after some facts; `take` adds the next one."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._untaken = Untaken(messages)
        self.open: list[_Open] = []
        self.closed: dict[int, Turn] = {}
        self.questions: tuple[Question, ...] = ()
        self.background = 0
        self.last_end: Fact | None = None
        self.last: Turn | None = None
        self.gone: str | None = None
        self.ending = 0.0
        self.lived = False  # the program has told of its start
        self.heard = False  # and has said something since we started it last
        self.revivals: list[float] = []

    def take(self, fact: Fact) -> None:
        rule = getattr(self, "_" + fact.kind, None)
        if rule is not None:
            rule(fact)
        if fact.kind in ("accepted", "ended"):
            self.heard, self.questions = self.lived, self._of_subagents()

    def _alive(self, fact: Fact) -> None:
        # Prompts of an earlier life of the program cannot end any more. The word of a start of ours may come late.
        if self.lived and not (self.revivals and fact.at - self.revivals[-1] <= AWAKE_SECONDS):
            for entry in self.open:
                self._close(entry, EXITED, fact.at, error=self.gone or "the agent was started again")
            self.open = []
            self.questions = ()
        self.lived = self.heard = True
        self.gone = None

    def _revived(self, fact: Fact) -> None:
        for entry in self.open:
            self._close(entry, INTERRUPTED, fact.at, error=CUT)
        self.open, self.questions, self.background, self.gone = [], (), 0, None
        self.heard = False
        self.revivals.append(fact.at)

    def _gone(self, fact: Fact) -> None:
        self.gone, self.ending = fact.error or "the agent ended", fact.at

    def _accepted(self, fact: Fact) -> None:
        known = None if fact.held else self._queued_with(fact.text)
        if known is not None:
            self._reported(known, fact)
            return
        held = fact.held or self._busy_with(fact.prompt)
        message = self._untaken.take(fact)
        if not held:
            # A turn that no fact has ended was cut by a death, and what was held for it is gone with it.
            cut = {entry.prompt for entry in self.open if not entry.held} - {None}
            for entry in self.open:
                entry.held = entry.held and entry.prompt not in cut
            self._interrupt(_at_rest_by(fact, message), self.open)
        self.open.append(_Open(message and message.number, fact.text, fact.prompt, fact.at, held, queued=fact.held))

    def _interrupt(self, at: float, before: list[_Open]) -> None:
        """An agent takes a prompt as a turn of its own only when none runs: what was `before` it was interrupted.

        Those that it takes from its queue together are one turn.
        """
        for entry in [entry for entry in before if not entry.held]:
            self._close(entry, INTERRUPTED, at)
            self.open.remove(entry)

    def _queued_with(self, text: str) -> _Open | None:
        return next((entry for entry in self.open if entry.queued and entry.text == text), None)

    def _reported(self, entry: _Open, fact: Fact) -> None:
        """The agent's report of a prompt that is known to be in its queue: as it got it, or as it came to it."""
        entry.queued = False
        if self._busy_with(fact.prompt):
            entry.prompt = fact.prompt
        elif entry.held:
            entry.held, entry.followed, entry.prompt = False, True, fact.prompt
            self._interrupt(fact.at, [one for one in self.open if not one.followed])

    def _busy_with(self, prompt: str | None) -> bool:
        """True if `prompt` names a turn that runs, or that ended last: what the agent takes then, it holds."""
        if prompt is None:
            return False
        ended = self.last_end.prompt if self.last_end else None
        return prompt == ended or any(entry.prompt == prompt for entry in self.open)

    def _joined(self, fact: Fact) -> None:
        for entry in self.open:
            if entry.held and entry.text == fact.text:
                entry.held = False
                return

    def _returned(self, fact: Fact) -> None:
        for entry in self.open:
            if entry.held and entry.text == fact.text:
                self._close(entry, INTERRUPTED, fact.at, error="a person took the message back into the input box")
                self.open.remove(entry)
                return

    def _started(self, fact: Fact) -> None:
        for entry in self.open:
            if entry.held and entry.text == fact.text:
                entry.held, entry.followed, entry.prompt = False, True, fact.prompt
                return

    def _asked(self, fact: Fact) -> None:
        if fact.question is not None:
            self.questions = (*(self.questions if fact.held else self._of_subagents()), fact.question)

    def _of_subagents(self) -> tuple[Question, ...]:
        return tuple(one for one in self.questions if one.agent)

    def _answered(self, fact: Fact) -> None:
        self.questions = tuple(one for one in self.questions if one.id != fact.text)

    def _ended(self, fact: Fact) -> None:
        held = [entry for entry in self.open if entry.held and entry.prompt in (fact.prompt, None)]
        if len(held) == len(self.open):  # of a turn whose beginning was not told
            self.last = Turn(0, fact.outcome, fact.at, fact.at, prompt=fact.prompt, **fact.told)
        for entry in [entry for entry in self.open if entry not in held]:
            self._close(entry, fact.outcome, fact.at, **fact.told)
        self.open = held
        self.background = fact.background
        self.last_end = fact

    def _close(self, entry: _Open, state: str, at: float, **told: Any) -> None:
        self.last = Turn(entry.number or 0, state, entry.began, at, prompt=entry.prompt, **told)
        if entry.number is not None:
            self.closed[entry.number] = self.last

    def ends_by(self, now: float) -> bool:
        """True if the agent has just said that it ends: its process may take its time."""
        return self.gone is not None and _passed(now, self.ending) <= ENDING_SECONDS

    def settle(self, probe: Probe) -> None:
        """Conclude from the probe what no fact can tell."""
        if probe.running is False:
            error = self.gone or probe.detail or "the agent ended"
            at = max((entry.began for entry in self.open), default=0.0)  # at the earliest; the end itself may be untold
            for entry in self.open:
                self._close(entry, EXITED, at, error=error)
            self.open, self.questions, self.background = [], (), 0
        elif probe.activity == IDLE:
            self.open = [entry for entry in self.open if not self._stopped(entry, probe)]
            self.background = max(1, self.background) if probe.background else 0

    def _stopped(self, entry: _Open, probe: Probe) -> bool:
        idle_for = _passed(probe.now, max(probe.since, entry.began))
        if entry.held:
            if idle_for < HOLD_GRACE:
                return False
            end = self.last_end
            if end is not None and end.at > entry.began:
                self._close(entry, end.outcome, end.at, **end.told)
                return True
        elif probe.since < entry.began and idle_for < START_GRACE:
            return False
        self._close(entry, INTERRUPTED, max(probe.since, entry.began), error=probe.detail)
        return True


class Untaken:
    """The messages that may have reached the agent, but for those that it has taken by now."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._by_text: dict[str, list[Message]] = {}
        for message in messages:
            if message.attempted is not None:
                self._by_text.setdefault(message.wire, []).append(message)

    def take(self, fact: Fact) -> Message | None:
        """The message that the agent has taken: of those of that text the one that was attempted last.

        One of the same text before it may have been lost on its way (its sender was killed).
        """
        same = self._by_text.get(fact.text, [])
        fitting = [one for one in same if (one.attempted or 0.0) <= fact.at]
        taken = max(fitting, key=lambda one: one.attempted or 0.0, default=None)
        if taken is not None:
            same.remove(taken)
        return taken


def _passed(now: float, since: float) -> float:
    """Seconds since then. What lies in the future was stamped before the clock was set back: long ago."""
    return now - since if now >= since - _CLOCK_SLACK else float("inf")


def _at_rest_by(fact: Fact, message: Message | None) -> float:
    """When the agent was at rest at the latest, if it took a prompt as a turn of its own.

    A message is made for an agent at rest, and a queued one handed over to it.
    """
    if message is None:
        return fact.at
    return min(fact.at, (message.attempted if message.queued else message.created) or fact.at)


def reduce(messages: Sequence[Message], facts: Iterable[Fact], probe: Probe) -> State:
    """What the session is doing.

    Args:
        messages: our messages, in the order of their numbers.
        facts: what the agent said, in the order of its saying.
        probe: what can be seen of the agent now.
    """
    fold = _Fold(messages)
    for fact in facts:
        fold.take(fact)
    probe = probe._replace(running=False) if fold.ends_by(probe.now) else probe
    fold.settle(probe)
    questions = () if probe.running is False else _open_questions(fold, probe)
    question = questions[0] if questions else None
    status = _status(fold, question, probe)
    turns = tuple(_turn(message, fold, status, probe.now) for message in messages)
    gone = (fold.gone or probe.detail or "the agent ended") if status == EXITED else None
    told = (fold.background, gone, questions, fold.last, probe.paused_until)
    return State(status, turns, _current(turns), question, *told)


def of_an_older(facts: Iterable[Fact]) -> list[Fact]:
    """The facts of a session whose earlier ones are not at hand: its agent had been up before the first of these."""
    return [Fact("alive", 0.0), *facts]


def rests(messages: Sequence[Message], facts: Iterable[Fact]) -> list[float]:
    """The times at which the agent ended a turn and had nothing more before it; what lay before is over for good."""
    fold = _Fold(messages)
    found = []
    for fact in facts:
        fold.take(fact)
        if fact.kind == "ended" and not fold.open:
            found.append(fact.at)
    return found


def _open_questions(fold: _Fold, probe: Probe) -> tuple[Question, ...]:
    asked = fold.questions
    seen = () if probe.question is None else (probe.question,)
    if probe.activity == WAITING_ACTIVITY:
        # An agent that reports says what it asks a moment after it says that it waits; only a dialog is never reported.
        reported_soon = fold.heard and _passed(probe.now, probe.since) <= ASK_GRACE
        return asked or (() if reported_soon else seen)
    if not asked or probe.activity is None:
        return asked or seen
    # An agent waits for what it asks itself; it may go on, or rest, while a subagent of it asks.
    going_on = [one for one in asked if probe.since > one.since or _passed(probe.now, one.since) > ASK_GRACE]
    return tuple(one for one in asked if one.agent or one not in going_on)


def _status(fold: _Fold, question: Question | None, probe: Probe) -> str:
    if probe.running is False:
        return EXITED
    if question is not None:
        return WAITING
    if fold.open:
        return WORKING
    # Right after a turn's end the agent's own word still is the old one; a newer `busy` is a turn that no fact told of.
    ended = fold.last_end.at if fold.last_end else 0.0
    return WORKING if probe.activity == BUSY_ACTIVITY and probe.since > ended else IDLE


def _turn(message: Message, fold: _Fold, status: str, now: float) -> Turn:
    """What became of one message."""
    closed = fold.closed.get(message.number)
    if closed is not None:
        return closed._replace(began=message.created)
    running = next((entry for entry in fold.open if entry.number == message.number), None)
    if running is not None:
        return Turn(message.number, WAITING if status == WAITING else WORKING, message.created, prompt=running.prompt)
    patience = START_GRACE if message.unconfirmed else FLIGHT_SECONDS  # a report may follow a sender's end
    if message.attempted is None and message.queued:
        return Turn(message.number, QUEUED, message.created)
    if message.attempted is None:
        if status == EXITED:
            error = "the agent ended before the message was delivered"
            return Turn(message.number, EXITED, message.created, message.created, error=error)
        if _passed(now, message.created) <= patience:
            return Turn(message.number, WORKING, message.created)
        error = "its sender ended before it was delivered"
        return Turn(message.number, FAILED, message.created, message.created, error=error)
    cut = next((at for at in fold.revivals if message.attempted <= at), None)
    if cut is not None:
        lost = FAILED, "the agent ended before it took the message"
        state, error = lost if message.receipt is None else (INTERRUPTED, CUT)
        return Turn(message.number, state, message.created, cut, error=error)
    if status == EXITED:
        error = "the agent ended before it took the message"
        return Turn(message.number, EXITED, message.created, message.attempted, error=error)
    if message.receipt is None and _passed(now, message.attempted) > patience:
        error = "the agent has not confirmed that it took the message"
        return Turn(message.number, FAILED, message.created, message.attempted, error=error)
    # On its way, or the agent was seen to have it and none of its facts that still exist tells of it.
    return Turn(message.number, QUEUED if message.queued else WORKING, message.created)


def _current(turns: tuple[Turn, ...]) -> int | None:
    running = [turn.number for turn in turns if turn.open and turn.state != QUEUED]
    if running:
        return running[0]
    done = [turn for turn in turns if turn.ended is not None]
    return max(done, key=lambda turn: (turn.ended or 0.0, turn.number)).number if done else None


def batch(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns that a `wait` speaks of: the newest one, and those before it that were not over when the next began.

    The answer depends on the turns alone, so a `wait` started before, during or after the end gives the same one.
    """
    if not turns:
        return ()
    first = len(turns) - 1
    while first > 0 and (turns[first - 1].ended is None or turns[first - 1].ended > turns[first].began):  # type: ignore[operator]
        first -= 1
    return tuple(turns[first:])


_RANK = (EXITED, FAILED, INTERRUPTED, WAITING, WORKING, QUEUED, COMPLETED)


def verdict(turns: Sequence[Turn]) -> Turn:
    """The turn that tells the most about a batch: the worst one, and of equals the newest."""
    return min(reversed(turns), key=lambda turn: _RANK.index(turn.state))
