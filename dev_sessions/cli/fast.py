"""The hot commands without Typer, whose import alone costs four times as much as the rest of a read.

Accepts exact known shapes only, and hands everything else (help, errors, completion, odd spellings) to Typer, which
stays the one definition of the commands: a test runs every shape accepted here through both and compares.
"""

from __future__ import annotations

from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..client import Client
    from .output import Command, Output


def _count(value: str) -> int | None:
    return (int(value) or None) if value.isdecimal() else None


def _seconds(value: str) -> float | None:
    return float(value) if value.replace(".", "", 1).isdecimal() else None


def _file(value: str) -> str | None:
    return value if value == "-" or not value.startswith("-") else None


def _word(value: str) -> str | None:
    return value if not value.startswith("-") else None


# Options by command: name -> (parameter, how its value is read; None for a flag). What a reader takes for None is left
# to Typer.
_OPTIONS: dict[str, dict[str, tuple[str, Callable[[str], Any] | None]]] = {
    "list": {},
    "status": {},
    "last-message": {"-n": ("count", _count), "--count": ("count", _count)},
    "wait": {
        "-t": ("timeout", _seconds),
        "--timeout": ("timeout", _seconds),
        "--goal": ("goal", None),
        "--next-turn": ("next_turn", None),
    },
    "send": {"-f": ("file", _file), "--file": ("file", _file), "--queue": ("queue", None)},
    "kill": {},
    "pending": {},
    "respond": {
        **{f"--{way}": (way, None) for way in ("allow", "always", "deny")},
        **{f"--{way}": (way, _word) for way in ("choose", "text", "question")},
    },
}


class Call(NamedTuple):
    """A recognised command, ready to run."""

    command: Command
    json: bool


def parse(argv: Sequence[str]) -> Call | None:
    """The command that `argv` means, or None if Typer has to look at it."""
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
            name, reader = known[word]
            if name == "choose" and name in options:
                return None  # the one that may be said several times
            options[name] = True if reader is None else reader(next(rest, "") or "-?")
            if options[name] is None:
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
        return Call(
            lambda out, client: commands.wait(out, words, False, None, lambda: client.wait(words, **options)), json
        )
    if name == "kill" and words:
        return Call(lambda out, client: commands.kill(out, client, words), json)
    if name == "pending" and not words:
        return Call(lambda out, client: commands.pending(out, client), json)
    if name == "respond" and len(words) in (1, 2):
        return Call(lambda out, client: _respond(out, client, *words, **options), json)
    if name == "send" and (len(words) == 2 or (len(words) == 1 and options)):
        return Call(lambda out, client: _send(out, client, words, **options), json)
    return None


def _send(out: Output, client: Client, words: list[str], file: str | None = None, queue: bool = False) -> int:
    from . import commands

    text = commands.message(words[1] if len(words) > 1 else None, file)
    return commands.send(out, client, words[0], text, None, queue, interrupt=False)


def _respond(out: Output, client: Client, id: str, why: str | None = None, /, **options: Any) -> int:
    from . import commands

    if "choose" in options:
        options["choose"] = [options["choose"]]
    return commands.respond(out, client.respond(id, why=why, **options))
