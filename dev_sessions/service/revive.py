"""`revive`: agents that are gone are started again, on the conversations that they had."""

from __future__ import annotations

import os
import time

from .. import config
from ..backends.base import Revives, Sleeps
from ..errors import DevSessionsError, SessionNotFound, Unsupported, UsageError, WaitingForInput
from ..model import EXITED, QUEUED
from ..system.files import read_json, unwritable
from ..system.signals import uninterrupted
from .confinement import checked_folder, may_reach, refuse_moved
from .create import change, plan
from .send import start_courier, still_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any

    from ..backends.base import Session
    from ..model import State
    from .context import Context

    Result = dict[str, Any]

REVIVED, ALIVE = "revived", "alive"


def revive(context: Context, params: Result, request_id: str) -> Generator[Result, None, list[Result]]:
    """Start the agents of the sessions `ids` again, or with `all` of every session whose agent is gone.

    A result each, as an event when it is known: {"session", "outcome", "status", "interrupted", "queued"}, outcome
    "revived" or "alive" (nothing was changed). One that cannot be revived does not keep the others dead; its error
    comes at the end. A repeated request returns the first results and starts no agent that has ended since.
    """
    request = context.request("revive", params, request_id)
    known = context.store.answers.get(*request)
    if known is not None:
        yield from known["revived"]
        return list(known["revived"])
    sessions = _meant(context, params.get("ids"), bool(params.get("all")))
    done: list[Result] = []
    failed: list[tuple[str, DevSessionsError]] = []
    for session in sessions:
        try:
            done.append(_revived(context, session))
        except DevSessionsError as error:
            failed.append((session.id, error))
        except OSError as error:
            failed.append((session.id, unwritable(str(error.filename or context.settings.home), error)))
        else:
            yield done[-1]
    if failed:
        raise _still_gone(done, failed)
    context.store.answers.keep({"revived": done}, *request)
    return done


def _meant(context: Context, ids: Sequence[str] | None, every: bool) -> list[Session]:
    """The sessions by id, or all whose agents have been there, are gone or asleep, and can be started again.

    Raises:
        SessionNotFound: an id is none; the error tells of one that was killed. UsageError: neither or both were given.
    """
    if (ids is not None) == every:
        raise UsageError(
            "give either session ids or --all", next="dev-sessions revive ID, or dev-sessions revive --all"
        )
    if ids is None:
        sessions = context.group()
        states = context.states(sessions)
        gone = [one for one, state in zip(sessions, states, strict=True) if _is_for_all(context, one, state)]
        if not gone:
            context.say("no agent is gone; nothing was started")
        return gone
    try:
        return context.sessions(ids)
    except SessionNotFound as error:
        known = context.records()
        raise _killed(context, [id for id in ids if id not in known]) or error from error


def _is_for_all(context: Context, session: Session, state: State) -> bool:
    """A session whose create was cut is left out: nobody was ever told of it."""
    able = bool(session.record.get("ready_at")) and "revive" in _abilities(session)
    return able and _is_gone(context, session, state)


def _is_gone(context: Context, session: Session, state: State) -> bool:
    """True if there is an agent to start: its end is the session's, or it sleeps until it is needed."""
    if state.status == EXITED:
        return True
    backend = context.backend(session)
    return isinstance(backend, Sleeps) and backend.sleeps(session)


def _abilities(session: Session) -> Sequence[str]:
    return session.record.get("capabilities") or ()


def _killed(context: Context, ids: list[str]) -> SessionNotFound | None:
    """What to say of ids that no session has any more; None if none that the caller may reach was killed."""
    try:
        archived = sorted(os.listdir(context.store.archive_folder))
    except OSError:
        return None
    for id in ids:
        keys = [key for key in archived if key.rpartition("-")[0] == id]
        place = os.path.join(context.store.archive_folder, keys[-1]) if keys else ""
        if keys and may_reach(context.settings, read_json(os.path.join(place, "record.json")) or {}):
            return SessionNotFound(
                f"{id} was killed, and what was killed is not revived; what it left is in {place}",
                next=f"dev-sessions create --id {id}",
            )
    return None


def _revived(context: Context, session: Session) -> Result:
    backend = context.backend(session)
    if not isinstance(backend, Revives):
        raise Unsupported(
            f"{session.record['cli']} cannot be revived",
            next=f"dev-sessions last-message {session.id} for what it said, dev-sessions kill {session.id} to clean up",
            capability="revive",
        )
    with context.store.lock(session.folder.lock_path):
        still_there(context, session)
        session = context.session(session.id)
        before = context.state(session)
        if not _is_gone(context, session, before):
            return _result(session, ALIVE, before, [])
        _start(context, session, backend)
        session = context.session(session.id)
        after = context.state(session)
        cut = [turn.number for turn in before.turns if turn.open or turn.state in (EXITED, QUEUED)]
        life = session.folder.revivals()[-1]
        ended = [turn.number for turn in after.turns if not turn.open and (turn.number in cut or turn.ended == life)]
        if any(turn.state == QUEUED for turn in after.turns):
            start_courier(context, session)
    return _result(session, REVIVED, after, ended)


def _result(session: Session, outcome: str, state: State, interrupted: list[int]) -> Result:
    return {
        "session": session.id,
        "outcome": outcome,
        "status": state.status,
        "interrupted": interrupted,
        "queued": [turn.number for turn in state.turns if turn.state == QUEUED],
    }


def _start(context: Context, session: Session, backend: Revives) -> None:
    """Note the new life, then begin it; if it does not begin, all is as it was."""
    path = checked_folder(context.settings, session.record["path"])
    launch = plan(context, session, _environment(context, session), path=path)
    folder, lives = session.folder, session.folder.revivals()
    folder.clear_notice()
    folder.set_revivals([*lives, time.time()])
    try:
        refuse_moved(path)
        backend.revive(launch)
    except WaitingForInput:
        raise
    except BaseException:
        with uninterrupted():
            folder.set_revivals(lives)
        raise
    if not session.record.get("ready_at"):
        change(context, session, ready_at=time.time())


def _environment(context: Context, session: Session) -> dict[str, str]:
    """What an agent gets whose own environment is lost."""
    return {
        **config.agent_environment(context.settings.environ),
        "DEV_SESSIONS_HOME": context.settings.home,
        "DEV_SESSIONS_DEPTH": str(session.record.get("depth") or 1),
    }


def _still_gone(done: list[Result], failed: list[tuple[str, DevSessionsError]]) -> DevSessionsError:
    """The error that says which sessions were not revived, and why; of a single one it is its own."""
    if len(failed) == 1 and not done:
        return failed[0][1]
    reasons = "; ".join(f"{id}: {error.message}" for id, error in failed)
    return DevSessionsError(
        f"{len(failed)} of {len(done) + len(failed)} sessions could not be revived: {reasons}",
        next=str(failed[0][1].data.get("next") or "dev-sessions list"),
        revived=done,
        failed=[{"session": id, "error": error.to_wire()} for id, error in failed],
    )
