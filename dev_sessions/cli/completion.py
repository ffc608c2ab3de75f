"""Shell completion.

It must be quick, so it reads only the registry and no agent's state. On any error it offers no candidates.

A shell may run the candidates: zsh evaluates values and descriptions, bash puts a value into the line unquoted. So only
values of letters, digits and "._-" are offered, and descriptions have no characters that are special in a shell.
"""

from __future__ import annotations

from ..model import PERMISSIONS, STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_LINE = 80  # characters of a description


def ids(incomplete: str) -> list[tuple[str, str]]:
    """Session ids, each with its description."""
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
    except Exception:  # no traceback at a shell's prompt; the command itself shows the error
        return []


def _offered(values: Iterable[str], incomplete: str) -> list[str]:
    def is_safe(value: str) -> bool:
        return value[:1].isalnum() and value.isascii() and all(sign.isalnum() or sign in "._-" for sign in value)

    return [value for value in values if value.startswith(incomplete) and is_safe(value)]


def _described(found: Iterable[tuple[str, str]], incomplete: str) -> list[tuple[str, str]]:
    """The values with their descriptions in one line, without characters that may be special in a shell."""
    pairs = []
    for value, text in found:
        if _offered([value], incomplete):
            kept = "".join(sign if sign.isalnum() or sign in " .,-_/" else " " for sign in text)
            pairs.append((value, " ".join(kept.split())[:_LINE]))
    return pairs
