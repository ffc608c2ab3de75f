"""`inspect`: everything on record about one session; `names`: session ids for shell completion."""

from __future__ import annotations

import os
import shlex

from ..backends.base import Attaches
from ..errors import TmuxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..backends.base import Backend, Places
    from .context import Context, Session


def inspect(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """The public record of the session `id`, its status, and where its folder, files, process and terminal are."""
    session = context.session(params["id"])
    state = session.whole().state()
    places = session.backend.places(session)
    process = session.folder.process()
    found = {**_files(session), **places.files}
    return {
        **session.public(),
        "status": state.status,
        "error": state.error,
        "turns": len(state.turns),
        "last_used": session.last_used(state),
        "folder": session.folder.path,
        "files": found,
        "missing": [name for name, path in found.items() if not os.path.exists(path)],
        "pid": process[0] if process else None,
        "terminal": _terminal(session, session.backend, places),
        "version": places.version,
        "reported": places.reported,
    }


def _files(session: Session) -> dict[str, str]:
    folder = session.folder
    inside = {"record": "record.json", "messages": "messages", "facts": "facts"}
    found = {name: os.path.join(folder.path, file) for name, file in inside.items()}
    # Not every session has these.
    optional = {"log": os.path.join(folder.path, "courier.log"), "past": os.path.join(folder.path, "past.jsonl")}
    return {**found, **{name: path for name, path in optional.items() if os.path.exists(path)}}


def _terminal(session: Session, backend: Backend, places: Places) -> dict[str, str] | None:
    if places.terminal is None or not isinstance(backend, Attaches):
        return places.terminal
    try:
        return {**places.terminal, "attach": shlex.join(backend.attach_command(session))}
    except TmuxError:  # tmux is not installed any more
        return places.terminal


def names(context: Context, params: dict[str, Any], request_id: str) -> list[dict[str, Any]]:
    """Id, description and group of every session, from the registry alone, which is fast."""
    records = context.records().values()
    return [{name: record.get(name) for name in ("id", "description", "group")} for record in records]
