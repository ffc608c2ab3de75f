"""What is known after some facts: which prompts the agent has taken and not finished, and what became of the others.

Used by `turns`, which states the rules. Pure.
"""

from __future__ import annotations

from .model import COMMAND, COMPLETED, EXITED, IDLE, INTERRUPTED, SCHEDULE, Fact, Message, Probe, Question, Task, Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

# An agent is idle for some 20 to 60 ms between two turns of its own queue (Claude Code 2.1.330). Only what it still
# holds after this time of idling has been dropped, or has silently joined the turn before. Seconds.
HOLD_GRACE = 1.0
# An agent that took a prompt and has said `idle` for this long since before will not start on it (a hook of the
# user's own may block a prompt after ours has reported it). An agent whose subagents have ended wakes up some 0.1 s
# later (Claude Code 2.1.332); one that does not within this time was told nothing. Seconds.
START_GRACE = 5.0
# Stamps of files may run ahead of the clock by a tick. Seconds.
_CLOCK_SLACK = 1.0
# An agent that we started again says so within this time. Seconds.
AWAKE_SECONDS = 120.0
# An agent that says it ends is taken at its word for this long; one that runs on after that has not ended. Seconds.
ENDING_SECONDS = 5.0
CUT = "the agent was gone in the middle of it, and was started again"
STOPPED = "its subagents were stopped"
UNREPORTED = "its subagents ended without a report"


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


class _Open:
    """A prompt that the agent has taken and not yet finished.

    `number` is None if it is not a message of ours. `queued`: the agent has said that it put the prompt into its queue,
    and not yet that it takes it from there. `followed`: it began as the agent came to it in its queue. `task`: the
    background task whose end made the agent give itself this prompt. `waits`: the subagents that hold it open after
    the agent itself has ended it; empty while the agent works on it. `parts`: the prompts by which it told itself so.
    """

    __slots__ = ("began", "followed", "held", "number", "parts", "prompt", "queued", "task", "text", "waits")

    def __init__(
        self, number: int | None, text: str, prompt: str | None, began: float, held: bool, queued: bool = False
    ) -> None:
        self.number, self.text, self.prompt, self.began, self.held = number, text, prompt, began, held
        self.queued, self.followed = queued, False
        self.task: str | None = None
        self.waits: frozenset[str] = frozenset()
        self.parts: frozenset[str] = frozenset()


class Fold:
    """What is known after some facts; `take` adds the next one."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._untaken = Untaken(messages)
        self.open: list[_Open] = []
        self.closed: dict[int, Turn] = {}
        self.questions: tuple[Question, ...] = ()
        self.background = 0
        self.left: tuple[Task, ...] = ()
        self.last_end: Fact | None = None
        self._listed: frozenset[str] = frozenset()  # the subagents that ran at the last end
        self._fresh: frozenset[str] = frozenset()  # those that the running turn has started
        self._starters: dict[str, frozenset[int]] = {}  # the turns of ours in which each command was started
        self._told: frozenset[str] = frozenset()  # the background tasks whose end the agent was told
        self.last: Turn | None = None
        self.gone: str | None = None
        self.ending = 0.0
        self.lived = False  # the program has told of its start
        self.heard = False  # and has said something since we started it last
        self.revivals: list[float] = []

    def take(self, fact: Fact) -> None:
        # What the agent is told of its tasks while it works answers none of its questions.
        joins = fact.task is not None and (fact.held or self._busy_with(fact.prompt))
        rule = getattr(self, "_" + fact.kind, None)
        if rule is not None:
            rule(fact)
        if fact.kind in ("accepted", "ended"):
            self.heard = self.lived
            if not joins:
                self.questions = self._of_subagents()

    def _alive(self, fact: Fact) -> None:
        # Prompts of an earlier life of the program cannot end any more. The word of a start of ours may come late.
        if self.lived and not (self.revivals and fact.at - self.revivals[-1] <= AWAKE_SECONDS):
            for entry in self.open:
                self._close(entry, EXITED, fact.at, error=self.gone or "the agent was started again")
            self._forget()
        self.questions = ()
        self.lived = self.heard = True
        self.gone = None

    def _revived(self, fact: Fact) -> None:
        for entry in self.open:
            self._close(entry, INTERRUPTED, fact.at, error=CUT)
        self._forget()
        self.questions, self.gone = (), None
        self.heard = False
        self.revivals.append(fact.at)

    def _forget(self) -> None:
        self.open, self._listed, self._fresh, self._told = [], frozenset(), frozenset(), frozenset()
        self._starters, self.background, self.left = {}, 0, ()

    def _gone(self, fact: Fact) -> None:
        self.gone, self.ending = fact.error or "the agent ended", fact.at

    def _accepted(self, fact: Fact) -> None:
        known = None if fact.held else self._queued_with(fact.text)
        if known is not None:
            self._reported(known, fact)
            return
        held = fact.held or self._busy_with(fact.prompt)
        told = frozenset() if fact.task is None else frozenset([fact.task])
        if told and held:
            self._told |= told  # in the turn that runs
            return
        message = self._untaken.take(fact)
        if not held:
            # A turn that no fact has ended was cut by a death, and what was held for it is gone with it.
            cut = {entry.prompt for entry in self.open if not entry.held and not entry.waits} - {None}
            for entry in self.open:
                entry.held = entry.held and entry.prompt not in cut
            # What it tells itself of several tasks at once is one turn.
            self._interrupt(_at_rest_by(fact, message), [one for one in self.open if not told or one.task is None])
            self._release(fact.at, told)
        self.open.append(_Open(message and message.number, fact.text, fact.prompt, fact.at, held, queued=fact.held))
        self.open[-1].task = fact.task
        self._told |= told

    def _interrupt(self, at: float, before: list[_Open]) -> None:
        """An agent takes a prompt as a turn of its own only when none runs: what was `before` it was interrupted.

        Those that it takes from its queue together are one turn. Those that wait for subagents do not run: they were
        interrupted if that was the turn in which the agent was told of the last of these.
        """
        cut = [entry for entry in before if not entry.held and not entry.waits]
        if cut:  # its subagents are nobody's now
            self._listed, self._fresh = self._listed | self._fresh, frozenset()
        told = [entry for entry in self.open if cut and entry.waits and entry.waits <= self._told]
        for entry in [*cut, *told]:
            if entry.task is None or not self._owners([entry]):
                self._close(entry, INTERRUPTED, at)
        self.open = [entry for entry in self.open if entry not in cut and entry not in told]

    def _owners(self, woken: list[_Open]) -> list[_Open]:
        """The entries that wait for the subagents that woke the agent."""
        tasks = frozenset(entry.task for entry in woken if entry.task is not None)
        return [entry for entry in self.open if entry.waits & tasks]

    def _release(self, at: float, told: frozenset[str]) -> None:
        """Close, as `_abandoned` does, what has waited since an end that listed no subagents.

        Not what waits for the subagents `told` that the prompt reports.
        """
        end = self.last_end
        if end is not None and self.delegated and not self._listed and at - end.at >= HOLD_GRACE:
            for entry in [entry for entry in self.open if not entry.waits & told]:
                self._close(entry, end.outcome, end.at, **end.told)
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

    def _launched(self, fact: Fact) -> None:
        self._fresh |= frozenset() if fact.task is None else {fact.task}

    def _stopped(self, fact: Fact) -> None:
        for entry in self.open:
            if entry.waits:
                self._close(entry, INTERRUPTED, fact.at, error=STOPPED)
        self.open = [entry for entry in self.open if not entry.waits]
        self._listed = self._fresh = frozenset()

    def _asked(self, fact: Fact) -> None:
        if fact.question is not None:
            self.questions = (*(self.questions if fact.held else self._of_subagents()), fact.question)

    def _of_subagents(self) -> tuple[Question, ...]:
        return tuple(one for one in self.questions if one.agent)

    def _answered(self, fact: Fact) -> None:
        self.questions = tuple(one for one in self.questions if one.id != fact.text)

    def _ended(self, fact: Fact) -> None:
        held = [entry for entry in self.open if entry.held and entry.prompt in (fact.prompt, None)]
        waiting = [entry for entry in self.open if entry.waits and entry not in held]
        over = [entry for entry in self.open if entry not in held and entry not in waiting]
        if not over:  # of a turn whose beginning was not told
            self.last = Turn(0, fact.outcome, fact.at, fact.at, prompt=fact.prompt, **fact.told)
        known = self._listed.union(*(entry.waits for entry in waiting))
        # One that ended during the turn is not listed: what the agent is told of it comes after the end.
        fresh, self._fresh = self._fresh - self._told, frozenset()
        new = (self._listing(fact, fresh) | fresh) - known
        if fact.outcome == INTERRUPTED:
            new = frozenset()  # its subagents are nobody's now
        owners = self._owners(over)
        kept = []
        for entry in over or [_Open(None, fact.text, fact.prompt, fact.at, held=False)]:
            if entry.task is not None and owners:
                for one in owners:
                    one.parts |= {entry.prompt or ""}
                continue
            if new:
                entry.waits = new
                kept.append(entry)
            elif over:
                self._close(entry, fact.outcome, fact.at, **fact.told)
        for entry in waiting:
            entry.waits |= new if entry in owners and not kept else frozenset()
            entry.waits -= self._told
            if not entry.waits:
                self._close(entry, fact.outcome, fact.at, **fact.told)
        self.open = [*held, *kept, *(entry for entry in waiting if entry.waits)]
        self._follow(fact, over)
        self.background, self.left = fact.background, fact.left
        self.last_end = fact

    def _follow(self, end: Fact, over: list[_Open]) -> None:
        """Keep what the agent says of commands that earlier turns had started, and which turn started which."""
        woken = [self._starters.get(entry.task, frozenset()) for entry in over if entry.task is not None]
        turns = frozenset(entry.number for entry in over if entry.number is not None).union(*woken)
        for number in turns:
            turn = self.closed.get(number)
            if turn is not None and turn.ended != end.at and end.outcome == COMPLETED:
                self.closed[number] = turn._replace(later=end.reply)
        for task in end.left:
            if task.kind == COMMAND:
                self._starters.setdefault(task.id, turns)

    def _listing(self, end: Fact, fresh: frozenset[str]) -> frozenset[str]:
        """The subagents that run on after an end; an end that does not say has changed nothing about them."""
        self._listed = (self._listed - self._told) | fresh if end.subagents is None else frozenset(end.subagents)
        self._told -= self._listed  # one that was sent another message runs again
        return self._listed

    def _close(self, entry: _Open, state: str, at: float, **told: Any) -> None:
        self.last = Turn(entry.number or 0, state, entry.began, at, prompt=entry.prompt, **told)
        if entry.number is not None:
            self.closed[entry.number] = self.last

    def unfinished(self) -> tuple[frozenset[str], float]:
        """The agent's ids of the turns that are open, and since when it has been at work on one that it gave no id."""
        prompts = {entry.prompt for entry in self.open}.union(*(entry.parts for entry in self.open))
        began = [entry.began for entry in self.open if entry.prompt is None and not entry.held]
        return frozenset(prompt for prompt in prompts if prompt), min(began, default=float("inf"))

    def ends_by(self, now: float) -> bool:
        """True if the agent has just said that it ends: its process may take its time."""
        return self.gone is not None and passed(now, self.ending) <= ENDING_SECONDS

    def settle(self, probe: Probe) -> None:
        """Conclude from the probe what no fact can tell."""
        if probe.running is False:
            error = self.gone or probe.detail or "the agent ended"
            at = max((entry.began for entry in self.open), default=0.0)  # at the earliest; the end itself may be untold
            for entry in self.open:
                self._close(entry, EXITED, at, error=error)
            self._forget()
            self.questions = ()
        elif probe.activity == IDLE:
            self.open = [entry for entry in self.open if not self._cut(entry, probe)]
            self.open = [entry for entry in self.open if not self._abandoned(entry, probe)]
            if not probe.background:
                self.left = tuple(task for task in self.left if task.kind == SCHEDULE)
            self.background = max(1, self.background) if probe.background else len(self.left)

    @property
    def subagents(self) -> frozenset[str]:
        """The subagents that run, as far as the agent has been informed of their ends."""
        return self._listed - self._told

    @property
    def delegated(self) -> bool:
        """True if what is open waits for subagents alone."""
        return bool(self.open) and all(entry.waits for entry in self.open)

    def _abandoned(self, entry: _Open, probe: Probe) -> bool:
        """True of what waits for subagents, while the agent says that none runs, and nothing is left to tell it so."""
        end = self.last_end
        if not entry.waits or end is None or not self.delegated:
            return False
        idle_for = passed(probe.now, max(probe.since, end.at))
        if entry.waits <= self._told:  # the turn that had been told was interrupted
            self._close(entry, INTERRUPTED, max(probe.since, end.at), error=probe.detail)
        elif entry.waits & self._listed:
            if idle_for < START_GRACE:
                return False
            self._close(entry, INTERRUPTED, max(probe.since, end.at), error=UNREPORTED)
        else:  # they ended during the last turn; what the agent says of them is held as any prompt
            if idle_for < HOLD_GRACE:
                return False
            self._close(entry, end.outcome, end.at, **end.told)
        return True

    def _cut(self, entry: _Open, probe: Probe) -> bool:
        if entry.waits:
            return False
        idle_for = passed(probe.now, max(probe.since, entry.began))
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


def passed(now: float, since: float) -> float:
    """Seconds since then. What lies in the future was stamped before the clock was set back: long ago."""
    return now - since if now >= since - _CLOCK_SLACK else float("inf")


def _at_rest_by(fact: Fact, message: Message | None) -> float:
    """When the agent was at rest at the latest, if it took a prompt as a turn of its own.

    A message is made for an agent at rest, and a queued one handed over to it.
    """
    if message is None:
        return fact.at
    return min(fact.at, (message.attempted if message.queued else message.created) or fact.at)
