"""Runs the most frequent commands without Typer, whose import takes four times as long as all else in a read.

It accepts only exact known forms, and leaves all else (help, errors, completion, unusual spellings) to Typer. A test
runs every form accepted here both ways and compares the answers.
"""

from __future__ import annotations

from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .output import Command
    from .text import TextSource


def _count(value: str) -> int | None:
    return (int(value) or None) if value.isdecimal() else None


def _seconds(value: str) -> float | None:
    return float(value) if value.replace(".", "", 1).isdecimal() else None


def _file(value: str) -> str | None:
    return value if value == "-" or not value.startswith("-") else None


def _word(value: str) -> str | None:
    return value if not value.startswith("-") else None


# The parameter of each option and the reader of its value (None: a flag). If the reader returns None, Typer takes over.
_OPTIONS: dict[str, tuple[str, Callable[[str], Any] | None]] = {
    **dict.fromkeys(("-n", "--count"), ("count", _count)),
    **dict.fromkeys(("-t", "--timeout"), ("timeout", _seconds)),
    **dict.fromkeys(("-f", "--file"), ("file", _file)),
    **{f"--{name}": (name, _word) for name in ("choose", "text", "question")},
    **{
        f"--{name}": (name.replace("-", "_"), None)
        for name in ("goal", "next-turn", "queue", "allow", "always", "deny")
    },
}
# The options of each command that are accepted here.
_COMMANDS = {
    "list": "",
    "status": "",
    "last-message": "-n --count",
    "wait": "-t --timeout --goal --next-turn",
    "send": "-f --file --queue",
    "kill": "",
    "pending": "",
    "respond": "--allow --always --deny --choose --text --question",
}


class Call(NamedTuple):
    """A recognised command, ready to run."""

    command: Command
    json: bool


def parse(argv: Sequence[str]) -> Call | None:
    """The command in `argv`; None if Typer has to parse it."""
    if not argv or argv[0] not in _COMMANDS:
        return None
    known, words, json = _COMMANDS[argv[0]].split(), [], False
    options: dict[str, Any] = {}
    rest = iter(argv[1:])
    for word in rest:
        if word == "--json":
            json = True
        elif word in known:
            name, reader = _OPTIONS[word]
            value = True if reader is None else reader(next(rest, "") or "-?")
            if value is None or (name == "choose" and name in options):  # it can be repeated
                return None
            options[name] = value
        elif not word or word.startswith("-"):
            return None
        else:
            words.append(word)
    command = _command(argv[0], words, options)
    return None if command is None else Call(command, json)


def _command(name: str, words: list[str], options: dict[str, Any]) -> Command | None:
    from . import messages, questions, sessions

    if name == "list" and not words:
        return sessions.list_
    if name == "status" and len(words) == 1:
        return lambda out, client: sessions.status(out, client, words[0])
    if name == "last-message" and len(words) == 1:
        return lambda out, client: messages.last_message(out, client, words[0], **options)
    if name == "wait" and words:
        return lambda out, client: messages.wait(out, client, words, **options)
    if name == "kill" and words:
        return lambda out, client: sessions.kill(out, client, words)
    if name == "pending" and not words:
        return questions.pending
    if name == "respond" and len(words) in (1, 2):
        if "choose" in options:
            options["choose"] = [options["choose"]]
        why = words[1] if len(words) == 2 else None
        return lambda out, client: questions.respond(out, client, words[0], why, **options)
    if name == "send" and (len(words) == 2 or (len(words) == 1 and options)):
        source: TextSource = (words[1] if len(words) == 2 else None, options.get("file"), None, {})
        return lambda out, client: messages.send(out, client, words[0], source, queue="queue" in options)
    return None
