"""The end of a session, and a person's way into it: `kill`, `attach`."""

from __future__ import annotations

import os
import signal

from ..backends.base import Attaches
from ..errors import DevSessionsError, SessionNotFound, StoreError, Unsupported
from ..system import files, processes
from .selection import condemned
from .send import refuse_unless_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from ..backends.base import Session
    from .context import Context


def kill(
    context: Context, params: dict[str, Any], request_id: str
) -> Generator[dict[str, Any], None, list[dict[str, Any]]]:
    """End sessions, agent and record; their folders go to the archive. An event tells when each is done.

    Parameters: `ids`, or the conditions `all`, `group` and `older_than` (see `choosing.condemned`). One that cannot be
    killed does not keep the others alive; its error comes at the end. A repeated request ends the same
    sessions, if they are still there, and no newer one.
    """
    done: list[dict[str, Any]] = []
    failed: list[tuple[str, DevSessionsError]] = []
    for id, session in _meant(context, params, request_id):
        try:
            if session is not None:
                _end(context, session)
        except (DevSessionsError, OSError) as error:
            failed.append((id, _told(context, error)))
            continue
        done.append({"session": id, "outcome": "killed"})
        yield done[-1]
    if failed:
        raise _alive(done, failed)
    return done


def _meant(context: Context, params: dict[str, Any], request_id: str) -> list[tuple[str, Session | None]]:
    """The sessions of a `kill` by id; None for one that the same request has ended before."""
    request = context.request("kill", params, request_id)
    known = context.store.answers.get(*request)
    if known is None:
        sessions = condemned(
            context, params.get("ids"), bool(params.get("all")), params.get("group"), params.get("older_than")
        )
        context.store.answers.keep({"keys": [session.record["key"] for session in sessions]}, *request)
        return [(session.id, session) for session in sessions]
    there = {record["key"]: context.view(record) for record in context.records().values()}
    return [(key.rpartition("-")[0], there.get(key)) for key in known["keys"]]


def _end(context: Context, session: Session) -> None:
    courier = session.folder.courier()
    if courier is not None:
        processes.send_signal(*courier, signal.SIGTERM)
    before = session.folder.process()
    context.backend(session).stop(session)
    _archive(context, session, before)


def _told(context: Context, error: DevSessionsError | OSError) -> DevSessionsError:
    if isinstance(error, DevSessionsError):
        return error
    return files.unwritable(str(error.filename or context.settings.home), error)


def _alive(done: list[dict[str, Any]], failed: list[tuple[str, DevSessionsError]]) -> DevSessionsError:
    """The error that says which sessions were not killed, and why; of a single one it is its own."""
    if len(failed) == 1 and not done:
        return failed[0][1]
    reasons = "; ".join(f"{id}: {error.message}" for id, error in failed)
    return DevSessionsError(
        f"{len(failed)} of {len(done) + len(failed)} sessions could not be killed: {reasons}",
        next=str(failed[0][1].data.get("next") or "dev-sessions list"),
        killed=done,
        failed=[{"session": id, "error": error.to_wire()} for id, error in failed],
    )


def _archive(context: Context, session: Session, ended: tuple[int, str] | None) -> None:
    """Folder first, registry second: cut in between, the session is still listed, and can be killed again."""
    folder = session.folder
    try:
        # Nobody delivers any more: whoever holds the lock fails with the agent gone.
        with context.store.lock(folder.lock_path):
            if folder.process() != ended:
                context.backend(session).stop(session)  # a create or a revive went on while we waited for it
            # It holds the agent's environment, secrets and all.
            files.remove(os.path.join(folder.agent_path, "start.sh"))
            files.make_folder(context.store.archive_folder)
            _put_away(context, session)
    except (OSError, StoreError, SessionNotFound):
        if os.path.exists(os.path.join(folder.path, "record.json")):
            raise
        # Another kill has archived it; only our lock stands there, if anything.
        _remove(folder.path)
    context.store.remove(session.record)


def _put_away(context: Context, session: Session) -> None:
    place, folder = os.path.join(context.store.archive_folder, session.record["key"]), session.folder
    if not os.path.exists(place):
        os.utime(folder.path)
        os.rename(folder.path, place)
    elif os.path.exists(os.path.join(folder.path, "record.json")):
        # A kill that was cut short had put the session there, and a create made it anew.
        os.rename(folder.path, f"{place}.{os.urandom(4).hex()}")
    else:
        _remove(folder.path)


def _remove(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def attach(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """The command that puts a person's terminal on the session `id`: {"session", "argv"}."""
    session = context.session(params["id"])
    backend = context.backend(session)
    if not isinstance(backend, Attaches):
        raise Unsupported(
            f"{session.record['cli']} has no terminal to attach to",
            next=f"dev-sessions last-message {session.id}",
            capability="attach",
        )
    refuse_unless_there(session, context.state(session))
    return {"session": session.id, "argv": backend.attach_command(session)}
