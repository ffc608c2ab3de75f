"""What a shell completes. Quick, since somebody has just pressed TAB: the registry alone is read, no agent looked at.

Whatever goes wrong, the shell is told of no candidates rather than of an error.
"""

from __future__ import annotations

from ..model import PERMISSIONS, STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def ids(incomplete: str) -> list[tuple[str, str]]:
    """Session ids, each with what it is for."""
    return [(name["id"], _line(name["description"])) for name in _names() if name["id"].startswith(incomplete)]


def groups(incomplete: str) -> list[str]:
    found = {name["group"] for name in _names() if name["group"]}
    return sorted(group for group in found if group.startswith(incomplete))


def agents(incomplete: str) -> list[str]:
    from ..backends import known

    return [name for name in known() if name.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    return [status for status in STATUSES if status.startswith(incomplete)]


def permissions(incomplete: str) -> list[str]:
    return [word for word in PERMISSIONS if word.startswith(incomplete)]


def templates(incomplete: str) -> list[tuple[str, str]]:
    from .. import config
    from ..templates import every

    try:
        settings = config.load()
        found = every(settings.home, settings.cwd)
    except Exception:
        return []
    return [(one.name, one.description) for one in found if one.name.startswith(incomplete)]


def _names() -> list[dict[str, Any]]:
    from ..app import client

    try:
        found: list[dict[str, Any]] = client().names()
        return found
    except Exception:  # a traceback at a prompt helps nobody; the command itself will tell
        return []


def _line(text: str) -> str:
    return " ".join(text.split())
