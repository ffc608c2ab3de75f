"""state = reduce(acts, facts, probe): a session's state, from our messages and its agent's reports.

Pure and total: no input, no output, no clock. Nothing that this module concludes is stored, so a wrong conclusion
cannot become permanent, and a better rule corrects the past.

The rules, in order of rank (`fold` applies 1 to 4):

1. A prompt that the agent took is bound to our last message with that text that may have reached it by then. Any other
   prompt is from somebody else (a person, or the agent waking itself): the session is `working`, but it is not our
   turn.
2. A turn's end closes every turn that the agent had taken by then, except for those that it holds in its own queue, and
   those that started subagents that still run. These stay open until the agent got the report of each of their
   subagents and has ended the turn in which it got the last one: that end closes them, and its reply is theirs. The
   prompt that brings such a report is a part of their turn. Commands that still run keep no turn open.
3. An end that the agent itself took back does not count (a hook of the user's made it go on): later it ended the same
   turn again, or asked something, or started a subagent, or it reports that it has been busy since before that end.
4. The probe comes last: an agent that is gone ends its turns as `exited`; one that has been idle since after it took
   the prompt was interrupted (no agent reports an interrupt).
"""

from __future__ import annotations

from .fold import CUT, START_GRACE, Fold, passed
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

WAITING_ACTIVITY, BUSY_ACTIVITY = "waiting", "busy"

FLIGHT_SECONDS = 120.0  # the longest time that a sender waits for a receipt
# After this many seconds, a rule of the user's has answered a question that the agent reported but does not wait on.
ASK_GRACE = 1.0


def reduce(messages: Sequence[Message], facts: Iterable[Fact], probe: Probe) -> State:
    """The session's state.

    Args:
        messages: our messages, in the order of their numbers.
        facts: the agent's reports, in their order.
        probe: what can be seen of the agent now.
    """
    fold = Fold(messages)
    for fact in _final(facts, probe):
        fold.take(fact)
    probe = probe._replace(running=False) if fold.ends_by(probe.now) else probe
    fold.settle(probe)
    questions = () if probe.running is False else _open_questions(fold, probe)
    question = questions[0] if questions else None
    status = _status(fold, question, probe)
    turns = tuple(_turn(message, fold, status, probe.now) for message in messages)
    running = [turn.number for turn in turns if turn.open and turn.state != QUEUED]
    over = [(turn.ended, turn.number) for turn in turns if turn.ended is not None]
    gone = (fold.gone or probe.detail or "the agent ended") if status == EXITED else None
    return State(
        status,
        turns,
        running[0] if running else max(over)[1] if over else None,
        question,
        fold.background,
        gone,
        questions,
        fold.last,
        probe.paused_until,
        delegated=status == WORKING and fold.delegated,
        left=fold.left,
    )


def _final(facts: Iterable[Fact], probe: Probe | None = None) -> list[Fact]:
    """The facts without the ends that the agent took back."""
    kept: list[Fact] = []
    last: int | None = None  # the place of the last end, until the agent begins another turn
    for fact in facts:
        if last is not None and _takes_back(fact, kept[last]):
            del kept[last]
            last = None
        elif last is not None and _begins(fact, kept[last]):
            last = None
        if fact.kind == "ended":
            last = len(kept)
        kept.append(fact)
    if last is not None and probe is not None:
        end = kept[last]
        # An agent says that it is busy because of its subagents too.
        busy = probe.running is not False and probe.activity == BUSY_ACTIVITY
        if busy and end.subagents == () and probe.since <= end.at:
            del kept[last]
    return kept


def _takes_back(fact: Fact, end: Fact) -> bool:
    """True if the agent ended the same turn again, or did what it does not do at rest."""
    if fact.kind == "ended":
        return fact.again or (fact.prompt is not None and fact.prompt == end.prompt)
    asks = fact.question is not None and fact.question.agent is None
    return fact.kind == "launched" or (end.subagents == () and asks)


def _begins(fact: Fact, end: Fact) -> bool:
    """True if the agent began another turn after an end, or was started again."""
    if fact.kind == "accepted":
        return not fact.held and (fact.prompt is None or fact.prompt != end.prompt)
    return fact.kind in ("started", "alive", "revived", "gone")


def after_start(facts: Iterable[Fact]) -> list[Fact]:
    """The facts of a session whose earlier ones were left out: its agent was started before the first of these."""
    return [Fact("alive", 0.0), *facts]


def unfinished(facts: Iterable[Fact]) -> tuple[frozenset[str], float]:
    """A working agent's ids of the open turns, and since when it has worked on one without an id."""
    fold = Fold(())
    for fact in _final(facts):
        fold.take(fact)
    return fold.unfinished()


def rests(messages: Sequence[Message], facts: Iterable[Fact]) -> list[float]:
    """The times at which the agent ended a turn and had no other one to work on."""
    fold = Fold(messages)
    found = []
    for fact in _final(facts):
        fold.take(fact)
        if fact.kind == "ended" and not fold.open:
            found.append(fact.at)
    return found


def _open_questions(fold: Fold, probe: Probe) -> tuple[Question, ...]:
    asked = fold.questions
    seen = () if probe.question is None else (probe.question,)
    if probe.activity == WAITING_ACTIVITY:
        # An agent that reports its questions does so a moment after it begins to wait; it never reports a dialog.
        reported_soon = fold.heard and passed(probe.now, probe.since) <= ASK_GRACE
        return asked or (() if reported_soon else seen)
    if not asked or probe.activity is None:
        return asked or seen
    # An agent waits for the answer to its own question; it may go on, or rest, while one of its subagents asks.
    going_on = [one for one in asked if probe.since > one.since or passed(probe.now, one.since) > ASK_GRACE]
    return tuple(one for one in asked if one.agent or one not in going_on)


def _status(fold: Fold, question: Question | None, probe: Probe) -> str:
    if probe.running is False:
        return EXITED
    if question is not None:
        return WAITING
    if fold.open:
        return WORKING
    # A `busy` newer than the last end is a turn that no fact reports; an interrupted turn may leave subagents.
    ended = fold.last_end.at if fold.last_end else 0.0
    return WORKING if probe.activity == BUSY_ACTIVITY and (probe.since > ended or fold.subagents) else IDLE


def _turn(message: Message, fold: Fold, status: str, now: float) -> Turn:
    number, created, attempted = message.number, message.created, message.attempted
    if number in fold.closed:
        return fold.closed[number]._replace(began=created)
    running = next((entry for entry in fold.open if entry.number == number), None)
    if running is not None:
        return Turn(number, WAITING if status == WAITING else WORKING, created, prompt=running.prompt)
    patience = START_GRACE if message.unconfirmed else FLIGHT_SECONDS  # a report may follow a sender's end
    if attempted is None:
        if message.queued:
            return Turn(number, QUEUED, created)
        if status == EXITED:
            return Turn(number, EXITED, created, created, error="the agent ended before the message was delivered")
        if passed(now, created) > patience:
            return Turn(number, FAILED, created, created, error="its sender ended before it was delivered")
        return Turn(number, WORKING, created)
    cut = next((at for at in fold.revivals if attempted <= at), None)
    untaken = "the agent ended before it took the message"
    if cut is not None and message.receipt is None:
        return Turn(number, FAILED, created, cut, error=untaken)
    if cut is not None:
        return Turn(number, INTERRUPTED, created, cut, error=CUT)
    if status == EXITED:
        return Turn(number, EXITED, created, attempted, error=untaken)
    if message.receipt is None and passed(now, attempted) > patience:
        return Turn(number, FAILED, created, attempted, error="the agent has not confirmed that it took the message")
    # It is on its way, or the agent has it and no fact that still exists reports it.
    return Turn(number, QUEUED if message.queued else WORKING, created)


def batch(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns that a `wait` reports: the newest one, and those before it that were not over when the next began.

    They depend on the turns alone, so a `wait` started before, during or after the end reports the same.
    """
    if not turns:
        return ()
    first = len(turns) - 1
    while first > 0 and (turns[first - 1].ended is None or turns[first - 1].ended > turns[first].began):  # type: ignore[operator]
        first -= 1
    return tuple(turns[first:])


_RANK = (EXITED, FAILED, INTERRUPTED, WAITING, WORKING, QUEUED, COMPLETED)


def verdict(turns: Sequence[Turn]) -> Turn:
    """The turn that represents a batch: the worst one, and the newest of several."""
    return min(reversed(turns), key=lambda turn: _RANK.index(turn.state))
