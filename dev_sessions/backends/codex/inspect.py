"""Where a Codex session's files are, for `inspect`."""

from __future__ import annotations

import os

from ..base import Places
from . import paths, rollout, thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session


def places(session: Session) -> Places:
    """See `base.Backend.places`. The only terminal is the one that `attach` opens."""
    place = paths.place_of(session)
    path = paths.record_path(session)
    files = {
        "settings": thread.settings_path(session),
        "rollout": path or str(session.private.get("rollout") or os.path.join(place.home, "sessions")),
        "config": os.path.join(place.home, "config.toml"),
        "socket": place.socket,
    }
    if os.path.exists(place.log_path):
        files["server_log"] = place.log_path
    version = rollout.about(path).get("cli_version") if path else None
    return Places(files, None, str(version) if version else None, path is not None)
