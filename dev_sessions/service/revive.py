"""`revive`: restart agents that have exited, on their conversations."""

from __future__ import annotations

import os
import time

from ..backends.base import Revives, Sleeps
from ..errors import SessionNotFound, UsageError, WaitingForInput
from ..model import EXITED, QUEUED
from ..system.files import read_json
from ..system.signals import uninterrupted
from . import launching
from .confinement import checked_folder, may_reach, refuse_moved
from .delivery import start_courier
from .selection import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any

    from ..model import State
    from .context import Context, Session

    Result = dict[str, Any]

REVIVED, ALIVE = "revived", "alive"


def revive(context: Context, params: Result, request_id: str) -> Generator[Result, None, list[Result]]:
    """Restart the agents of the sessions `ids`, or with `all` every agent that has exited.

    Yields and returns a result for each: {"session", "outcome", "status", "interrupted", "queued"}, with the outcome
    "revived" or "alive" (nothing was changed). A failure does not stop the others; it is raised at the end.
    A repeated request returns the first results and restarts no agent that has exited since.
    """
    request = context.identity("revive", params, request_id)
    known = context.store.answers.get(*request)
    if known is not None:
        yield from known["revived"]
        return list(known["revived"])
    sessions = _selected(context, params.get("ids"), bool(params.get("all")))
    done = yield from each(context, [(session.id, session) for session in sessions], _revived, REVIVED)
    context.store.answers.keep({"revived": done}, *request)
    return done


def _selected(context: Context, ids: Sequence[str] | None, every: bool) -> list[Session]:
    """The sessions with these ids, or all that need a restart.

    Raises:
        SessionNotFound: an id is unknown; the error says so if its session was killed.
        UsageError: neither or both were given.
    """
    if (ids is not None) == every:
        raise UsageError(
            "give either session ids or --all", next="dev-sessions revive ID, or dev-sessions revive --all"
        )
    if ids is None:
        # Not those whose create was interrupted: no caller has got their ids.
        able = [
            session
            for session in context.group()
            if session.record.get("ready_at") and "revive" in (session.record.get("capabilities") or ())
        ]
        gone = [one for one, state in zip(able, context.states(able), strict=True) if _is_gone(one, state)]
        if not gone:
            context.say("no agent has exited; nothing was started")
        return gone
    try:
        return context.sessions(ids)
    except SessionNotFound as error:
        known = context.records()
        raise _was_killed(context, [id for id in ids if id not in known]) or error from error


def _is_gone(session: Session, state: State) -> bool:
    """True if there is an agent to start: it has exited, or sleeps until it is needed."""
    if state.status == EXITED:
        return True
    return isinstance(session.backend, Sleeps) and session.backend.sleeps(session)


def _was_killed(context: Context, ids: list[str]) -> SessionNotFound | None:
    """The error for the id of a killed session; None if there was none that the caller may reach."""
    try:
        archived = sorted(os.listdir(context.store.archive_folder))
    except OSError:
        return None
    for id in ids:
        keys = [key for key in archived if key.rpartition("-")[0] == id]
        place = os.path.join(context.store.archive_folder, keys[-1]) if keys else ""
        if keys and may_reach(context.settings, read_json(os.path.join(place, "record.json")) or {}):
            return SessionNotFound(
                f"{id} was killed, and a killed session cannot be revived; its files are in {place}",
                next=f"dev-sessions create --id {id}",
            )
    return None


def _revived(session: Session) -> Result:
    backend = session.require(Revives, "revive")
    with session.locked():
        session = session.context.session(session.id)
        before = session.state()
        if not _is_gone(session, before):
            return _result(session, ALIVE, before, [])
        _start(session, backend)
        session = session.context.session(session.id)
        after = session.state()
        cut = [turn.number for turn in before.turns if turn.open or turn.state in (EXITED, QUEUED)]
        restart = session.folder.revivals()[-1]
        ended = [turn.number for turn in after.turns if not turn.open and (turn.number in cut or turn.ended == restart)]
        if after.queued:
            start_courier(session)
    return _result(session, REVIVED, after, ended)


def _result(session: Session, outcome: str, state: State, interrupted: list[int]) -> Result:
    return {
        "session": session.id,
        "outcome": outcome,
        "status": state.status,
        "interrupted": interrupted,
        "queued": state.queued,
    }


def _start(session: Session, backend: Revives) -> None:
    """Note the restart, then start the agent; if that fails, the note is removed."""
    context, folder, restarts = session.context, session.folder, session.folder.revivals()
    path = checked_folder(context.settings, session.record["path"])
    # Used only if the agent's own environment is lost.
    environment = launching.agent_environment(context, session.record.get("depth") or 1)
    folder.clear_notice()
    folder.set_revivals([*restarts, time.time()])
    try:
        refuse_moved(path)
        backend.revive(launching.plan(session, environment, path))
    except WaitingForInput:
        raise
    except BaseException:
        with uninterrupted():
            folder.set_revivals(restarts)
        raise
    if not session.record.get("ready_at"):
        session.change(ready_at=time.time())
