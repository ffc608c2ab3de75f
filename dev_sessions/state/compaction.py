"""Keeps a session quick: moves old messages and facts into one log (see `past`)."""

from __future__ import annotations

from ..turns import after_start, reduce, rests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import Fact, Message, Probe, State
    from .folder import Folder

# How many turns keep their files, and how many messages or facts make it worthwhile to compact more.
KEEP, MESSAGES, FACTS = 8, 16, 64
# How many cuts are tried at most.
_TRIES = 4


def is_due(folder: Folder) -> bool:
    """True if there are so many messages or facts that it is worthwhile to compact some."""
    messages, facts = folder.counts()
    return messages > MESSAGES or facts > FACTS


def compact(folder: Folder, messages: list[Message], facts: Sequence[Fact], probe: Probe, compacted: bool) -> bool:
    """Move old messages and facts into the log; True if any were moved. The caller holds the session's lock.

    They are cut off at a time at which the agent had nothing to do, and only if the remaining ones alone reduce to
    exactly the same state.

    Args:
        compacted: the session was compacted before, so `facts` may lack the agent's first report.
    """
    whole = reduce(messages, after_start(facts) if compacted else facts, probe)
    tries = 0
    for at in list(reversed(rests(messages, facts)))[KEEP:]:
        through = _last_over(messages, whole, at)
        if through is None:
            continue
        late = [message for message in messages if message.number > through]
        rest = reduce(late, after_start(fact for fact in facts if fact.at > at), probe)
        if rest == whole._replace(turns=tuple(turn for turn in whole.turns if turn.number > through)):
            folder.compact(through, at)
            return True
        tries += 1
        if tries == _TRIES:
            break
    return False


def _last_over(messages: list[Message], whole: State, at: float) -> int | None:
    """The last message whose turn had ended by then; None if an earlier one had not ended, or too few would remain."""
    over = {turn.number for turn in whole.turns if turn.ended is not None and turn.ended <= at}
    through = max(over, default=0)
    early = [message for message in messages if message.number <= through]
    late = [message for message in messages if message.number > through]
    apart = all(message.attempted is None or message.attempted > at for message in late)
    enough = len(late) >= KEEP or not messages
    return through if apart and enough and all(message.number in over for message in early) else None
