"""Selects the sessions that a command names, and acts on each of them."""

from __future__ import annotations

import time

from ..errors import DevSessionsError, SessionNotFound, UsageError
from ..model import WORKING
from ..system.files import unwritable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any, TypeVar

    from .context import Context, Session

    T = TypeVar("T")

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def named(context: Context, ids: Sequence[str] | None, group: str | None) -> list[Session]:
    """The sessions with these ids, or those of a group.

    Raises:
        SessionNotFound: an id is unknown, or the group has no session.
        UsageError: neither or both were given.
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


def to_kill(
    context: Context, ids: Sequence[str] | None, every: bool, group: str | None, older_than: str | None
) -> list[Session]:
    """The sessions to kill: those with these ids, or those that meet every condition.

    A condition never selects the session that this command runs in, nor one of that session's parents. The age
    condition selects sessions that are not working and have not been used for that long.

    Raises:
        SessionNotFound: an id is unknown.
        UsageError: neither ids nor a condition was given, or both, or the age is invalid.
    """
    by_condition = every or group is not None or older_than is not None
    if (ids is not None) == by_condition:
        raise UsageError(
            "give either session ids or conditions" if by_condition else "no sessions to kill were given",
            next="dev-sessions kill ID..., or --all, --group G, --older-than 72h",
        )
    if ids is not None:
        return context.sessions(ids)
    limit = None if older_than is None else time.time() - _seconds(older_than)
    found = context.group(group)
    if limit is not None:
        found = [
            session
            for session, state in zip(found, context.states(found), strict=True)
            if state.status != WORKING and session.last_used(state) < limit
        ]
    found = _without_callers(context, found)
    if not found:
        context.say("no session matches; nothing was killed")
    return found


def each(
    context: Context, items: Sequence[tuple[str, T]], act: Callable[[T], dict[str, Any]], verb: str
) -> Generator[dict[str, Any], None, list[dict[str, Any]]]:
    """Act on each item and yield the results; those that fail are reported together at the end.

    Args:
        items: each with the id of its session.
        verb: the action as a participle; also the key of the results in the error's data.

    Raises:
        DevSessionsError: the action failed on some; if there is only one, that one's own error.
    """
    done: list[dict[str, Any]] = []
    failed: list[tuple[str, DevSessionsError]] = []
    for id, item in items:
        try:
            done.append(act(item))
        except DevSessionsError as error:
            failed.append((id, error))
        except OSError as error:
            failed.append((id, unwritable(str(error.filename or context.settings.home), error)))
        else:
            yield done[-1]
    if len(failed) == 1 and not done:
        raise failed[0][1]
    if failed:
        reasons = "; ".join(f"{id}: {error.message}" for id, error in failed)
        raise DevSessionsError(
            f"{len(failed)} of {len(done) + len(failed)} sessions could not be {verb}: {reasons}",
            next=str(failed[0][1].data.get("next") or "dev-sessions list"),
            **{verb: done, "failed": [{"session": id, "error": error.to_wire()} for id, error in failed]},
        )
    return done


def _without_callers(context: Context, sessions: list[Session]) -> list[Session]:
    """The sessions without those that this command runs in: it must not end itself halfway through."""
    callers, records = [], context.store.load()
    caller = context.settings.parent
    while caller in records and caller not in callers:
        callers.append(caller)
        caller = records[caller].get("parent")
    spared = [session.id for session in sessions if session.id in callers]
    if spared:
        context.say(f"did not kill {', '.join(spared)}: this command runs in it; kill it by its id, from outside")
    return [session for session in sessions if session.id not in callers]


def _seconds(text: str) -> float:
    import re  # slow to import, and `wait` uses the rest of this module

    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw])", str(text))
    if not found:
        raise UsageError(
            f"invalid age {str(text)!r}: write a number and a unit, such as 30m, 72h or 7d",
            next="dev-sessions kill --older-than 72h",
        )
    return float(found[1]) * _UNITS[found[2]]
