"""Where a Codex session lives, for `inspect`."""

from __future__ import annotations

import os

from ...system import files
from ..base import Places
from . import observe, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session


def shown(session: Session) -> Places:
    """See `base.Backend.places`. It has no terminal but the one that `attach` opens."""
    place = paths.place_of(session)
    path = observe.record_path(session)
    found = {
        "settings": os.path.join(session.folder.agent_path, "thread.json"),
        "rollout": path or str(session.private.get("rollout") or os.path.join(place.home, "sessions")),
        "config": os.path.join(place.home, "config.toml"),
        "socket": place.socket,
    }
    if os.path.exists(place.log_path):
        found["server_log"] = place.log_path
    return Places(found, None, _version(path), path is not None)


def _version(path: str | None) -> str | None:
    """The Codex that began the thread: it stands in the first line of the rollout."""
    try:
        with open(path or os.devnull, "rb") as file:
            first = files.parse_object(file.readline()) or {}
    except OSError:
        return None
    payload = first.get("payload")
    version = payload.get("cli_version") if isinstance(payload, dict) else None
    return str(version) if version else None
