"""The files and the terminal of a Claude session, for `inspect`."""

from __future__ import annotations

import os

from ..base import Places
from . import hooks, paths, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...terminal.tmux import Tmux
    from ..base import Session


def places(session: Session, tmux: Tmux | None) -> Places:
    """See `base.Backend.places`.

    Args:
        tmux: the server that knows the session's current name; None if tmux is no longer installed on this machine.
    """
    reports = hooks.reports(session)
    # Before the transcript exists, its whole path is known except the name of the project's folder.
    expected = os.path.join(paths.config_folder(session), "projects", "*", f"{session.private.get('uuid')}.jsonl")
    files = {
        "settings": paths.settings(session.folder),
        "transcript": transcript.find(session, reports) or expected,
    }
    pane = session.private.get("pane")
    found = tmux.session_of(pane, session.record["key"]) if tmux and pane else None
    terminal = {
        "socket": str(session.private.get("socket") or ""),
        "session": found[1] if found else paths.terminal(session),
    }
    version = session.private.get("version")
    return Places(files, terminal, str(version) if version else None, any(fields for _, fields in reports))
