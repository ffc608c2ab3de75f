"""state = reduce(acts, facts, probe): a session's state, from our messages and its agent's reports.

Pure and total: no input, no output, no clock. Nothing that this module concludes is stored, so a wrong conclusion
cannot become permanent, and a better rule corrects the past.

The rules, in order of rank (`fold` applies 1 to 4):

1. A prompt that the agent took is bound to the newest of our messages that has the same text and may have reached the
   agent by then. Any other prompt comes from somebody else (a person, or the agent waking itself): the session is
   `working`, but the turn is not ours.
2. The end of a turn closes every prompt that the agent had taken by then, with two exceptions: prompts in the agent's
   own queue, and prompts that started subagents which are still running. The latter stay open until the agent has
   received the report of each of these subagents and has ended the turn that received the last one. That end closes
   them, and its reply is theirs. The prompt that brings such a report is part of their turn. Commands that are still
   running do not keep a turn open.
3. An end does not count if the agent continued the turn after it (because a hook of the user's made it): it ended the
   same turn again, asked something, started a subagent, or reports that it has been busy since before that end.
4. The probe comes last: if the agent has exited, its turns end as `exited`; if it has been idle since some time after
   it took a prompt, that turn was interrupted (agents do not report interrupts).
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
# If the agent does not wait for this many seconds after a question, a rule of the user's has answered it.
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
    """The facts without the ends after which the agent continued the same turn."""
    kept: list[Fact] = []
    last: int | None = None  # the index of the last end, until the agent begins another turn
    for fact in facts:
        if last is not None and _continues(fact, kept[last]):
            del kept[last]
            last = None
        elif last is not None and _begins(fact, kept[last]):
            last = None
        if fact.kind == "ended":
            last = len(kept)
        kept.append(fact)
    if last is not None and probe is not None:
        end = kept[last]
        # An agent also reports that it is busy while only its subagents are.
        busy = probe.running is not False and probe.activity == BUSY_ACTIVITY
        if busy and end.subagents == () and probe.since <= end.at:
            del kept[last]
    return kept


def _continues(fact: Fact, end: Fact) -> bool:
    """True if the agent ended the same turn again, or did something that it does only during a turn."""
    if fact.kind == "ended":
        return fact.again or (fact.prompt is not None and fact.prompt == end.prompt)
    asks = fact.question is not None and fact.question.agent is None
    return fact.kind == "launched" or (end.subagents == () and asks)


def _begins(fact: Fact, end: Fact) -> bool:
    """True if the agent began another turn after an end, or was restarted."""
    if fact.kind == "accepted":
        return not fact.held and (fact.prompt is None or fact.prompt != end.prompt)
    return fact.kind in ("started", "alive", "revived", "gone")


def after_start(facts: Iterable[Fact]) -> list[Fact]:
    """The facts of a session without its earlier ones, preceded by the fact that its agent was started."""
    return [Fact("alive", 0.0), *facts]


def unfinished(facts: Iterable[Fact]) -> tuple[frozenset[str], float]:
    """The agent's ids of the open turns, and when the earliest one without an id began."""
    fold = Fold(())
    for fact in _final(facts):
        fold.take(fact)
    return fold.unfinished()


def rests(messages: Sequence[Message], facts: Iterable[Fact]) -> list[float]:
    """The times at which the agent ended a turn and had no other one to work on."""
    fold = Fold(messages)
    times = []
    for fact in _final(facts):
        fold.take(fact)
        if fact.kind == "ended" and not fold.open:
            times.append(fact.at)
    return times


def _open_questions(fold: Fold, probe: Probe) -> tuple[Question, ...]:
    asked = fold.questions
    seen = () if probe.question is None else (probe.question,)
    if probe.activity == WAITING_ACTIVITY:
        # An agent that reports its questions does so a moment after it begins to wait; dialogs are never reported.
        reported_soon = fold.heard and passed(probe.now, probe.since) <= ASK_GRACE
        return asked or (() if reported_soon else seen)
    if not asked or probe.activity is None:
        return asked or seen
    # An agent waits while its own question is open; it may go on, or be idle, while a subagent's question is open.
    going_on = [one for one in asked if probe.since > one.since or passed(probe.now, one.since) > ASK_GRACE]
    return tuple(one for one in asked if one.agent or one not in going_on)


def _status(fold: Fold, question: Question | None, probe: Probe) -> str:
    if probe.running is False:
        return EXITED
    if question is not None:
        return WAITING
    if fold.open:
        return WORKING
    # `busy` since after the last end is a turn that no fact reports; an interrupted turn may leave subagents running.
    ended = fold.last_end.at if fold.last_end else 0.0
    return WORKING if probe.activity == BUSY_ACTIVITY and (probe.since > ended or fold.subagents) else IDLE


def _turn(message: Message, fold: Fold, status: str, now: float) -> Turn:
    number, created, attempted = message.number, message.created, message.attempted
    if number in fold.closed:
        return fold.closed[number]._replace(began=created)
    running = next((entry for entry in fold.open if entry.number == number), None)
    if running is not None:
        return Turn(number, WAITING if status == WAITING else WORKING, created, prompt=running.prompt)
    patience = START_GRACE if message.unconfirmed else FLIGHT_SECONDS  # the report may come after the sender's end
    if attempted is None:
        if message.queued:
            return Turn(number, QUEUED, created)
        if status == EXITED:
            return Turn(number, EXITED, created, created, error="the agent ended before the message was delivered")
        if passed(now, created) > patience:
            return Turn(number, FAILED, created, created, error="the sender ended before the message was delivered")
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
    # It is on its way, or the agent has taken it and the fact that reported it no longer exists.
    return Turn(number, QUEUED if message.queued else WORKING, created)


def batch(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns that a `wait` reports: the newest one, and each earlier one that was still open when the next began.

    The batch depends on the turns alone, so a `wait` started before, during or after the end reports the same.
    """
    if not turns:
        return ()
    first = len(turns) - 1
    while first > 0 and (turns[first - 1].ended is None or turns[first - 1].ended > turns[first].began):  # type: ignore[operator]
        first -= 1
    return tuple(turns[first:])


_RANK = (EXITED, FAILED, INTERRUPTED, WAITING, WORKING, QUEUED, COMPLETED)


def verdict(turns: Sequence[Turn]) -> Turn:
    """The turn that represents a batch: the worst one, or the newest of several equally bad ones."""
    return min(reversed(turns), key=lambda turn: _RANK.index(turn.state))
