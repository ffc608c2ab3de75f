"""The paths of a Claude session's files, and the name of its terminal."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...state.folder import Folder
    from ..session import Session


def settings(folder: Folder) -> str:
    """The settings with which Claude is started."""
    return os.path.join(folder.agent_path, "settings.json")


def script(folder: Folder) -> str:
    """The script that starts Claude; it contains the agent's environment, including secrets."""
    return os.path.join(folder.agent_path, "start.sh")


def questions(folder: Folder) -> str:
    """The folder with the pipes through which questions are answered, and with the answers."""
    return os.path.join(folder.agent_path, "questions")


def container_config(folder: Folder) -> str:
    """The configuration folder for a Claude in a container."""
    return os.path.join(folder.agent_path, "claude")


def config_folder(session: Session) -> str:
    """The Claude configuration folder of the session: from its environment at first, then from its first report."""
    return str(session.private.get("config") or "")


def terminal(session: Session) -> str:
    """The initial name of the tmux session, with which a person can attach: `tmux attach -t dev-<id>`."""
    return str(session.private.get("terminal") or f"dev-{session.id}")
