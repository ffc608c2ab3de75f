"""Where a Claude session lives, for `inspect`."""

from __future__ import annotations

import os

from ..base import Places
from . import observe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...terminal.tmux import Tmux
    from ..base import Session


def places(session: Session, tmux: Tmux | None) -> Places:
    """See `base.Backend.places`.

    Args:
        tmux: the server to ask what the session is called by now; None if there is no tmux on this machine any more.
    """
    payloads = [fields for _, fields in observe.reports(session)]
    files = {"settings": os.path.join(session.folder.agent_path, "settings.json")}
    files["transcript"] = observe.transcript_path(session, payloads) or _expected(session)
    pane = session.private.get("pane")
    found = tmux.session_of(pane, session.record["key"]) if tmux and pane else None
    name = found[1] if found else observe.pane_name(session)
    terminal = {"socket": str(session.private.get("socket") or ""), "session": name}
    version = session.private.get("version")
    return Places(files, terminal, str(version) if version else None, any(payloads))


def _expected(session: Session) -> str:
    """Where the transcript will be, but for the name of the project's folder, once there is one."""
    return os.path.join(observe.config_folder(session), "projects", "*", f"{session.private.get('uuid')}.jsonl")
