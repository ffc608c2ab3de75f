"""state = reduce(acts, facts, probe): what a session is doing, from what we did and what its agent said.

Pure and total: no input, no output, no clock. Nothing that this module concludes is stored anywhere, so a wrong
conclusion cannot become permanent, and a better rule corrects the past.

The rules, in order of rank (`fold` applies 1 to 4):

1. A prompt that the agent took is bound to the last message of ours with that text that may have reached it by then;
   any other prompt is somebody else's (a person's, or the agent waking itself): it keeps the session `working`, but is
   not a turn of ours.
2. A turn's end closes every turn that the agent had taken by then, but for those that it holds in its own queue, and
   for those that started subagents which run on. These stay open until the agent was told how each of their subagents
   ended, and has ended the turn in which it was told: that end closes them, and its reply is theirs. A prompt by which
   the agent tells itself of them is a part of such a turn. Commands that run on hold nothing open.
3. An end that the agent itself took back was none (a hook of the user's made it go on): it has ended the same turn
   again later, or asked something, or started a subagent, or it says that it is busy since before that end.
4. Only after that comes the probe: an agent that is gone ends its turns as `exited`; one that says it is idle, and has
   been since after it took the prompt, was interrupted (no agent announces an interrupt).
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

# A sender waits this long at most for a receipt; whether it still runs is not known of every one. Seconds.
FLIGHT_SECONDS = 120.0
# A question of its own that the agent announced, yet does not wait on, was settled by a rule of the user's. Seconds.
ASK_GRACE = 1.0


def reduce(messages: Sequence[Message], facts: Iterable[Fact], probe: Probe) -> State:
    """What the session is doing.

    Args:
        messages: our messages, in the order of their numbers.
        facts: what the agent said, in the order of its saying.
        probe: what can be seen of the agent now.
    """
    fold = Fold(messages)
    for fact in that_count(facts, probe):
        fold.take(fact)
    probe = probe._replace(running=False) if fold.ends_by(probe.now) else probe
    fold.settle(probe)
    questions = () if probe.running is False else _open_questions(fold, probe)
    question = questions[0] if questions else None
    status = _status(fold, question, probe)
    turns = tuple(_turn(message, fold, status, probe.now) for message in messages)
    gone = (fold.gone or probe.detail or "the agent ended") if status == EXITED else None
    told = (fold.background, gone, questions, fold.last, probe.paused_until)
    delegated = status == WORKING and fold.delegated
    return State(status, turns, _current(turns), question, *told, delegated=delegated, left=fold.left)


def that_count(facts: Iterable[Fact], probe: Probe | None = None) -> list[Fact]:
    """The facts without the ends that the agent took back."""
    kept: list[Fact] = []
    last: int | None = None  # where the last end is, until the agent begins another turn
    for fact in facts:
        if fact.kind == "ended":
            if last is not None and (fact.again or (fact.prompt is not None and fact.prompt == kept[last].prompt)):
                del kept[last]
            last = len(kept)
        elif last is not None and _works_on(fact, kept[last]):
            del kept[last]
            last = None
        elif last is not None and _begins(fact, kept[last]):
            last = None
        kept.append(fact)
    if last is not None and probe is not None and _goes_on(kept[last], probe):
        del kept[last]
    return kept


def _works_on(fact: Fact, end: Fact) -> bool:
    """True if the agent did after an end what it does not do at rest: start a subagent, or ask something itself."""
    asks = fact.question is not None and fact.question.agent is None
    return fact.kind == "launched" or (end.subagents == () and asks)


def _begins(fact: Fact, end: Fact) -> bool:
    """True if the agent began another turn, or another life, after an end."""
    if fact.kind == "accepted":
        return not fact.held and (fact.prompt is None or fact.prompt != end.prompt)
    return fact.kind in ("started", "alive", "revived", "gone")


def _goes_on(end: Fact, probe: Probe) -> bool:
    """True if the agent itself works on after that end; it says that it is busy on account of its subagents too."""
    busy = probe.running is not False and probe.activity == BUSY_ACTIVITY
    return busy and end.subagents == () and probe.since <= end.at


def of_an_older(facts: Iterable[Fact]) -> list[Fact]:
    """The facts of a session whose earlier ones are not at hand: its agent had been up before the first of these."""
    return [Fact("alive", 0.0), *facts]


def unfinished(facts: Iterable[Fact]) -> tuple[frozenset[str], float]:
    """Of an agent that works: its ids of the turns that are open, and since when one is that it gave no id."""
    fold = Fold(())
    for fact in that_count(facts):
        fold.take(fact)
    return fold.unfinished()


def rests(messages: Sequence[Message], facts: Iterable[Fact]) -> list[float]:
    """The times at which the agent ended a turn and had nothing more before it; what lay before is over for good."""
    fold = Fold(messages)
    found = []
    for fact in that_count(facts):
        fold.take(fact)
        if fact.kind == "ended" and not fold.open:
            found.append(fact.at)
    return found


def _open_questions(fold: Fold, probe: Probe) -> tuple[Question, ...]:
    asked = fold.questions
    seen = () if probe.question is None else (probe.question,)
    if probe.activity == WAITING_ACTIVITY:
        # An agent that reports says what it asks a moment after it says that it waits; only a dialog is never reported.
        reported_soon = fold.heard and passed(probe.now, probe.since) <= ASK_GRACE
        return asked or (() if reported_soon else seen)
    if not asked or probe.activity is None:
        return asked or seen
    # An agent waits for what it asks itself; it may go on, or rest, while a subagent of it asks.
    going_on = [one for one in asked if probe.since > one.since or passed(probe.now, one.since) > ASK_GRACE]
    return tuple(one for one in asked if one.agent or one not in going_on)


def _status(fold: Fold, question: Question | None, probe: Probe) -> str:
    if probe.running is False:
        return EXITED
    if question is not None:
        return WAITING
    if fold.open:
        return WORKING
    # A `busy` that is newer than the last end is a turn that no fact told of; an interrupted one may leave subagents.
    ended = fold.last_end.at if fold.last_end else 0.0
    return WORKING if probe.activity == BUSY_ACTIVITY and (probe.since > ended or fold.subagents) else IDLE


def _turn(message: Message, fold: Fold, status: str, now: float) -> Turn:
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
        if passed(now, message.created) <= patience:
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
    if message.receipt is None and passed(now, message.attempted) > patience:
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
