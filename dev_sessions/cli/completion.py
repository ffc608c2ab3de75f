"""What a shell completes. Quick, since somebody has just pressed TAB: the registry alone is read, no agent looked at.

A shell may run what it is offered: zsh evaluates values and descriptions, bash puts a value into the line as it is. So
only values of letters, digits and "._-" are offered, and of a description no sign that means something to a shell.

Whatever goes wrong, the shell is told of no candidates rather than of an error.
"""

from __future__ import annotations

from ..model import PERMISSIONS, STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_BESIDE_LETTERS = frozenset("._-")
_BETWEEN_WORDS = frozenset(" .,-_/")
# A description is cut there. Characters.
_LINE = 80


def ids(incomplete: str) -> list[tuple[str, str]]:
    """Session ids, each with what it is for."""
    return _described(((name["id"], name["description"]) for name in _names()), incomplete)


def groups(incomplete: str) -> list[str]:
    return sorted(_offered({name["group"] for name in _names() if name["group"]}, incomplete))


def agents(incomplete: str) -> list[str]:
    from ..backends import known

    return _offered(known(), incomplete)


def statuses(incomplete: str) -> list[str]:
    return _offered(STATUSES, incomplete)


def permissions(incomplete: str) -> list[str]:
    return _offered(PERMISSIONS, incomplete)


def templates(incomplete: str) -> list[tuple[str, str]]:
    from .. import config
    from ..templates import every

    try:
        settings = config.load()
        found = every(settings.home, settings.cwd)
    except Exception:
        return []
    return _described(((one.name, one.description) for one in found), incomplete)


def _names() -> list[dict[str, Any]]:
    from ..app import client

    try:
        found: list[dict[str, Any]] = client().names()
        return found
    except Exception:  # a traceback at a prompt helps nobody; the command itself will tell
        return []


def _offered(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete) and _is_safe(value)]


def _described(found: Iterable[tuple[str, str]], incomplete: str) -> list[tuple[str, str]]:
    return [(value, _line(text)) for value, text in found if _offered([value], incomplete)]


def _is_safe(value: str) -> bool:
    return value[:1].isalnum() and value.isascii() and all(sign.isalnum() or sign in _BESIDE_LETTERS for sign in value)


def _line(text: str) -> str:
    """A description in one line, each sign that could mean something to a shell replaced by a space."""
    kept = "".join(sign if sign.isalnum() or sign in _BETWEEN_WORDS else " " for sign in text)
    return " ".join(kept.split())[:_LINE]
