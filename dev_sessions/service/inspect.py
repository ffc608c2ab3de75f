"""`inspect`: all that is on record of one session; `names`: what a shell completes."""

from __future__ import annotations

import os
import shlex

from ..backends.base import Attaches
from ..errors import TmuxError
from .status import last_used, public

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..backends.base import Backend, Places, Session
    from .context import Context


def inspect(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """The public record of the session `id`, its status, and where its folder, files, process and terminal are."""
    session = context.session(params["id"])
    state = context.state(context.view(session.record, whole=True))
    backend = context.backend(session)
    places = backend.places(session)
    process = session.folder.process()
    found = {**_files(session), **places.files}
    return {
        **public(session.record),
        "status": state.status,
        "error": state.error,
        "turns": len(state.turns),
        "last_used": last_used(session, state),
        "folder": session.folder.path,
        "files": found,
        "missing": [name for name, path in found.items() if not os.path.exists(path)],
        "pid": process[0] if process else None,
        "terminal": _terminal(session, backend, places),
        "version": places.version,
        "reported": places.reported,
    }


def _files(session: Session) -> dict[str, str]:
    folder = session.folder
    inside = {"record": "record.json", "messages": "messages", "facts": "facts"}
    found = {name: os.path.join(folder.path, file) for name, file in inside.items()}
    # Only of a session that has, or has had, such a thing.
    some = {name: os.path.join(folder.path, file) for name, file in (("log", "courier.log"), ("past", "past.jsonl"))}
    return {**found, **{name: path for name, path in some.items() if os.path.exists(path)}}


def _terminal(session: Session, backend: Backend, places: Places) -> dict[str, str] | None:
    if places.terminal is None or not isinstance(backend, Attaches):
        return places.terminal
    try:
        return {**places.terminal, "attach": shlex.join(backend.attach_command(session))}
    except TmuxError:  # tmux is gone from this machine
        return places.terminal


def names(context: Context, params: dict[str, Any], request_id: str) -> list[dict[str, Any]]:
    """Id, description and group of every session, from the registry alone: quick, and without a look at any agent."""
    records = context.records().values()
    return [{name: record.get(name) for name in ("id", "description", "group")} for record in records]
