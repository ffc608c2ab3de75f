"""`kill`: end sessions and archive their folders."""

from __future__ import annotations

import os
import signal

from ..backends.base import KeepsSecrets
from ..errors import SessionNotFound, StoreError
from ..system import files, processes
from .context import Session
from .selection import each, to_kill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from .context import Context


def kill(
    context: Context, params: dict[str, Any], request_id: str
) -> Generator[dict[str, Any], None, list[dict[str, Any]]]:
    """End sessions: stop the agent, archive the folder, remove the record. Yields a result for each.

    Parameters: `ids`, or the conditions `all`, `group` and `older_than` (see `selection.to_kill`). A failure does not
    stop the others; it is raised at the end. A repeated request ends the same sessions if they still exist, and no
    newer one.
    """
    items = _selected(context, params, request_id)
    return (yield from each(context, [(id, (id, session)) for id, session in items], _killed, "killed"))


def _selected(context: Context, params: dict[str, Any], request_id: str) -> list[tuple[str, Session | None]]:
    """The sessions to kill, with their ids; None for one that the same request has already ended."""
    request = context.identity("kill", params, request_id)
    known = context.store.answers.get(*request)
    if known is None:
        sessions = to_kill(
            context, params.get("ids"), bool(params.get("all")), params.get("group"), params.get("older_than")
        )
        context.store.answers.keep({"keys": [session.record["key"] for session in sessions]}, *request)
        return [(session.id, session) for session in sessions]
    sessions_by_key = {record["key"]: Session(context, record) for record in context.records().values()}
    return [(key.rpartition("-")[0], sessions_by_key.get(key)) for key in known["keys"]]


def _killed(item: tuple[str, Session | None]) -> dict[str, Any]:
    id, session = item
    if session is not None:
        courier = session.folder.courier()
        if courier is not None:
            processes.send_signal(*courier, signal.SIGTERM)
        before = session.folder.process()
        session.backend.stop(session)
        _archive(session, before)
    return {"session": id, "outcome": "killed"}


def _archive(session: Session, stopped: tuple[int, str] | None) -> None:
    """Folder first, registry second: if interrupted in between, the session is still listed and can be killed again.

    Args:
        stopped: the agent's process that was stopped.
    """
    folder, store = session.folder, session.context.store
    try:
        # A sender that holds the lock fails soon, because the agent is gone.
        with store.lock(folder.lock_path):
            if folder.process() != stopped:
                session.backend.stop(session)  # a create or a revive went on while we waited for the lock
            if isinstance(session.backend, KeepsSecrets):
                session.backend.remove_secrets(session)
            files.make_folder(store.archive_folder)
            _move(folder.path, os.path.join(store.archive_folder, session.record["key"]))
    except (OSError, StoreError, SessionNotFound):
        if os.path.exists(os.path.join(folder.path, "record.json")):
            raise
        # Another kill has archived it; only our lock can be left.
        _remove(folder.path)
    store.remove(session.record)


def _move(path: str, place: str) -> None:
    if not os.path.exists(place):
        os.utime(path)
        os.rename(path, place)
    elif os.path.exists(os.path.join(path, "record.json")):
        # A kill archived it and was interrupted, and a create has made the folder again.
        os.rename(path, f"{place}.{os.urandom(4).hex()}")
    else:
        _remove(path)


def _remove(path: str) -> None:
    import shutil  # slow to import, and seldom needed

    shutil.rmtree(path, ignore_errors=True)
