"""Keeping a session quick: what is long over is put behind (see `past`), by those who write."""

from __future__ import annotations

from ..errors import DevSessionsError
from ..turns import of_an_older, reduce, rests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..backends.session import Observation, Session
    from ..model import Message, State
    from .context import Context

# Turns that stay at hand, and how many messages or reports may lie about before it is worth a look.
KEEP, MESSAGES, FACTS = 8, 16, 64
# A cut is tried at so many places at most.
_TRIES = 4


def compact(context: Context, session: Session) -> bool:
    """Put behind what is over, if much has piled up; True if something was. The caller holds the session's lock.

    A cut is made only where the rest tells the very same state without what lay before it, and only at a moment at
    which the agent had nothing before it. What cannot be cut or written stays as it is: nothing depends on this.
    """
    messages, facts = session.folder.crowd()
    if messages <= MESSAGES and facts <= FACTS:
        return False
    try:
        return _cut(context, session)
    except (DevSessionsError, OSError) as error:
        context.say(f"could not put old turns of {session.id} behind: {error}")
        return False


def _cut(context: Context, session: Session) -> bool:
    messages = session.folder.messages()
    (seen,) = context.observe([session])
    whole = reduce(messages, of_an_older(seen.facts) if session.folder.past.stamp() else seen.facts, seen.probe)
    tries = 0
    for at in list(reversed(rests(messages, seen.facts)))[KEEP:]:
        through = _through(messages, whole, at)
        if through is None:
            continue
        if _tells_the_same(messages, seen, whole, at, through):
            session.folder.put_behind(through, at)
            return True
        tries += 1
        if tries == _TRIES:
            break
    return False


def _through(messages: list[Message], whole: State, at: float) -> int | None:
    """The last message that was over by then; None if one before it was not, or too few would stay."""
    over = {turn.number for turn in whole.turns if turn.ended is not None and turn.ended <= at}
    through = max(over, default=0)
    early = [message for message in messages if message.number <= through]
    late = [message for message in messages if message.number > through]
    apart = all(message.attempted is None or message.attempted > at for message in late)
    enough = len(late) >= KEEP or not messages
    return through if apart and enough and all(message.number in over for message in early) else None


def _tells_the_same(messages: list[Message], seen: Observation, whole: State, at: float, through: int) -> bool:
    late = [message for message in messages if message.number > through]
    rest = reduce(late, of_an_older(fact for fact in seen.facts if fact.at > at), seen.probe)
    turns = tuple(turn for turn in whole.turns if turn.number > through)
    return rest == whole._replace(turns=turns)
