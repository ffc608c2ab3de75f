"""Which sessions a command means: by id, or all of a kind."""

from __future__ import annotations

import time

from ..errors import SessionNotFound, UsageError
from ..model import WORKING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..backends.base import Session
    from .context import Context

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def named(context: Context, ids: Sequence[str] | None, group: str | None) -> list[Session]:
    """The sessions of these ids, or those of a group.

    Raises:
        SessionNotFound: an id is none, or the group has no session. UsageError: neither or both were given.
    """
    if (ids is not None) == (group is not None):
        raise UsageError(
            "give either session ids or a group", next="dev-sessions list shows the ids, and --group G those of a group"
        )
    if ids is not None:
        return context.sessions(ids)
    found = context.group(group)
    if not found:
        raise SessionNotFound(f"no session is in the group {group!r}", next="dev-sessions list")
    return found


def condemned(
    context: Context, ids: Sequence[str] | None, every: bool, group: str | None, older_than: str | None
) -> list[Session]:
    """The sessions that a `kill` means: by id, or all that fulfil every condition given.

    Those chosen by a condition are never the one that this command runs in, nor one that it comes from. Whoever is
    chosen by age has not been used for that long, and is not at work.

    Raises:
        SessionNotFound: an id is none. UsageError: nothing, or ids together with a condition, or no length of time.
    """
    by_condition = every or group is not None or older_than is not None
    if (ids is not None) == by_condition:
        raise UsageError(
            "give either session ids or conditions" if by_condition else "say which sessions to kill",
            next="dev-sessions kill ID..., or --all, --group G, --older-than 72h",
        )
    if ids is not None:
        return context.sessions(ids)
    limit = None if older_than is None else time.time() - _seconds(older_than)
    found = context.group(group)
    found = _without_callers(context, found if limit is None else list(_unused_since(context, found, limit)))
    if not found:
        context.say("no session fits; nothing was killed")
    return found


def _unused_since(context: Context, sessions: list[Session], when: float) -> Iterator[Session]:
    from .status import last_used

    for session, state in zip(sessions, context.states(sessions), strict=True):
        if state.status != WORKING and last_used(session, state) < when:
            yield session


def _without_callers(context: Context, sessions: list[Session]) -> list[Session]:
    """Whoever ends all others must not end itself half way through."""
    callers, records = [], context.store.load()
    caller = context.settings.parent
    while caller in records and caller not in callers:
        callers.append(caller)
        caller = records[caller].get("parent")
    left = [session for session in sessions if session.id not in callers]
    spared = [session.id for session in sessions if session.id in callers]
    if spared:
        context.say(f"left out {', '.join(spared)}: this command runs on behalf of it; kill it by its id, from outside")
    return left


def _seconds(text: str) -> float:
    import re  # dear to `wait`, which needs the rest of this module

    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw])", str(text))
    if not found:
        raise UsageError(
            f"no length of time: {str(text)!r}; write a number and a unit, such as 30m, 72h or 7d",
            next="dev-sessions kill --older-than 72h",
        )
    return float(found[1]) * _UNITS[found[2]]
