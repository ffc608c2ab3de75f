"""What a project brings along for Codex, and whether a thread gets it.

That is its `.codex` (configuration, hooks, rules, MCP servers), which Codex takes of a folder that is trusted in its
config.toml alone, and its AGENTS.md, which it takes of any. Asked for a thread that may write, Codex notes the folder
as trusted there by itself, unless it is called untrusted (0.139.0 to 0.171.0).
"""

from __future__ import annotations

import os

from ... import git
from ...system import files
from .. import projects
from .protocol import METHOD_MISSING, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..base import Launch
    from .connection import Connection

_NAMES = (".codex", "AGENTS.override.md", "AGENTS.md")
_TRUSTED, _UNTRUSTED = "trusted", "untrusted"


def settle(connection: Connection, launch: Launch, home: str) -> str | None:
    """What Codex is to hold of the folder in this thread, "trusted" or "untrusted"; None: what it says by itself.

    Args:
        home: CODEX_HOME.
    """
    recorded = _recorded(connection, launch.path)
    if recorded == _TRUSTED:
        return None
    names = projects.found(launch.path, _NAMES, git.project_of(launch.path), home)
    if not launch.trust and not (launch.accepts and recorded is None):
        launch.leave_out(names)
        return _UNTRUSTED
    if names:
        launch.say(f"accepted {launch.path} as trusted, with its {', '.join(names)}")
    return _TRUSTED if launch.trust else None  # with full permissions Codex notes it by itself


def config(path: str, level: str | None) -> dict[str, Any]:
    """The configuration of a thread in the folder `path` that follows from what `settle` has said."""
    if level is None:
        return {}
    told: dict[str, Any] = {"projects": {path: {"trust_level": level}}}
    return told if level == _TRUSTED else {**told, "project_doc_max_bytes": 0}


def _recorded(connection: Connection, path: str) -> str | None:
    """What the user's configuration says of the folder: "trusted", "untrusted" or nothing."""
    try:
        answer = connection.call("config/read", cwd=path, includeLayers=True)
    except Refused as error:
        if not error.says(METHOD_MISSING):
            raise
        return None
    known = answer["config"].get("projects") or {}
    levels = [(known.get(folder) or {}).get("trust_level") for folder in _folders(path)]
    level = next((str(level) for level in levels if level), None)
    disabled = any(layer.get("disabledReason") for layer in answer.get("layers") or ())
    return None if disabled and level == _TRUSTED else level


def _folders(path: str) -> list[str]:
    """The folders of which one may be trusted for `path`, as Codex looks for them."""
    root = git.project_of(path)
    link = os.path.join(root, ".git")
    if not os.path.isfile(link):
        return [path, root]
    told = os.fsdecode(files.read(link) or b"").removeprefix("gitdir:").strip()
    above, name = os.path.split(os.path.dirname(os.path.join(root, told)))
    return [path, root, os.path.dirname(above)] if name == "worktrees" else [path, root]
