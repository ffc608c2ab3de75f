"""How results are shown to a person: questions, outcomes, tables and times."""

from __future__ import annotations

import time

from ..model import LIMIT, asker, ways
from ..text import stripped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .output import Output

_COLUMNS = ("id", "cli", "status", "mode", "path", "description", "last used")


def explain(out: Output, outcome: dict[str, Any]) -> None:
    """Print to stderr what the agent asks, or why the turn failed."""
    if out.json:
        return
    id = outcome["session"]
    if outcome["question"]:
        out.note(question(id, outcome["question"]))
    elif outcome["error"]:
        turn = f" (turn {outcome['turn']})" if outcome["turn"] else ""
        out.note(f"{id}{turn}: {outcome['error']}")
        if outcome.get("reason") == LIMIT:
            out.note(f"{id}{turn}: {limit(outcome['resets_at'])}")


def limit(resets_at: float | None) -> str:
    """A phrase for the limit of the account that ended a turn."""
    if resets_at is None:
        return "a limit of the account; the agent does not say when it resets"
    return f"a limit of the account, which resets at {moment(resets_at)}"


def question(id: str, asked: dict[str, Any]) -> str:
    """A question, with the numbers by which its options are chosen, and the commands that answer it."""
    head, parts = f"{id} asks ({asked['kind']}{asker(asked)}, {asked['id']}): ", asked["parts"]
    if len(parts) < 2:
        text = head + asked["text"] + _numbered("", asked["options"])
    else:
        lines = (f"\n {n}. {part['text']}{_numbered(f'{n}.', part['options'])}" for n, part in enumerate(parts, 1))
        text = head + "".join(lines)
    return f"{stripped(text)}\nanswer it: {ways(id, asked)}"


def _numbered(lead: str, options: list[dict[str, Any]]) -> str:
    return "".join(f"\n  {lead}{number}{'' if lead else '.'} {one['label']}" for number, one in enumerate(options, 1))


def table(rows: list[dict[str, Any]]) -> str:
    """The sessions as `list` shows them."""
    now = time.time()
    cells = [_COLUMNS]
    for row in rows:
        ago = _ago(now - row["last_used"])
        path, description = stripped(row["path"]), one_line(row["description"])
        cells.append((row["id"], row["cli"], row["status"], row["mode"], path, description, ago))
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return "just now"


def fields(found: dict[str, Any]) -> str:
    """The result of `inspect` as aligned `key: value` lines; the values of an object have dotted keys."""
    lines: dict[str, Any] = {}
    for name, value in found.items():
        lines |= {f"{name}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
    width = max(map(len, lines)) + 1
    shown = []
    for name, value in lines.items():
        if name in ("created_at", "last_used"):
            value = moment(value)
        if name.partition("files.")[2] in found["missing"]:
            value = f"{value} (missing)"
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        else:
            value = "" if value is None else one_line(str(value))
        shown.append(f"{name + ':':{width}} {value}".rstrip())
    return "\n".join(shown)


def one_line(text: str) -> str:
    """A text in one line, without control characters."""
    return " ".join(stripped(text).split())


def moment(seconds: float) -> str:
    """A time in the local time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
