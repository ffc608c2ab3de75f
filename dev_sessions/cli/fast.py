"""The hot reads without Typer, whose import alone costs four times as much as the rest of such a command.

Accepts exact known shapes only, and hands everything else (help, errors, completion, odd spellings) to Typer, which
stays the one definition of the commands: a test runs every shape accepted here through both and compares.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .output import Command

# Options by command: name -> (parameter, how its value is read; None for a flag).
_OPTIONS: dict[str, dict[str, tuple[str, Callable[[str], Any] | None]]] = {
    "list": {},
    "status": {},
    "last-message": {"-n": ("count", int), "--count": ("count", int)},
    "wait": {"-t": ("timeout", float), "--timeout": ("timeout", float)},
}


class Call(NamedTuple):
    """A recognised command, ready to run."""

    command: Command
    json: bool


def parse(argv: Sequence[str]) -> Call | None:
    """The command that `argv` means, or None if Typer has to look at it."""
    if list(argv) == ["--version"]:
        return Call(_version, False)
    if not argv or argv[0] not in _OPTIONS:
        return None
    read = _read(argv[1:], _OPTIONS[argv[0]])
    if read is None:
        return None
    words, options, json = read
    return _bound(argv[0], words, options, json)


def _read(
    words: Sequence[str], known: dict[str, tuple[str, Callable[[str], Any] | None]]
) -> tuple[list[str], dict[str, Any], bool] | None:
    plain: list[str] = []
    options: dict[str, Any] = {}
    json = False
    rest = iter(words)
    for word in rest:
        if word == "--json":
            json = True
        elif word in known:
            name, kind = known[word]
            value = next(rest, "")
            if kind is None or not value.replace(".", "", 1).isdecimal() or (kind is int and "." in value):
                return None
            options[name] = kind(value)
            if kind is int and options[name] < 1:
                return None
        elif not word or word.startswith("-"):
            return None
        else:
            plain.append(word)
    return plain, options, json


def _bound(name: str, words: list[str], options: dict[str, Any], json: bool) -> Call | None:
    from . import commands

    if name == "list" and not words:
        return Call(lambda out, client: commands.list_(out, client), json)
    if name == "status" and len(words) == 1:
        return Call(lambda out, client: commands.status(out, client, words[0]), json)
    if name == "last-message" and len(words) == 1:
        return Call(lambda out, client: commands.last_message(out, client, words[0], **options), json)
    if name == "wait" and words:
        return Call(lambda out, client: commands.wait(out, client, words, **options), json)
    return None


def _version(out: Any, client: Any) -> int:
    from . import commands

    return commands.version(out, False)
