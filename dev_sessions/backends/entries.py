"""Functions that the readers of all agents' logs share: for times, tool calls and entries."""

from __future__ import annotations

import json

from ..model import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class EntryMaker:
    """Makes the entries of one log; the reader of the log keeps the current turn and time up to date."""

    def __init__(self) -> None:
        self.turn: str | None = None
        self.at = 0.0
        self._tools: dict[str, str] = {}  # names of the tools that have not returned yet, by the id of the call

    def entry(self, role: str, text: str, **more: Any) -> Entry:
        return Entry(role, text, self.at, self.turn, **more)

    def call(self, id: str, tool: str, given: Any, text: str) -> Entry:
        self._tools[id] = tool
        return self.entry("tool", text, kind="call", tool=tool, call=id, given=given)

    def result(self, id: str, content: Any, text: str, *, failed: bool, images: int) -> Entry:
        tool, shown = self._tools.pop(id, None), without_bytes(content)
        more: dict[str, Any] = {"result": shown, "failed": failed, "images": images}
        return self.entry("tool", text, kind="result", tool=tool, call=id, **more)


def seconds(stamp: Any) -> float:
    """The time of a stamp such as 2026-11-23T00:45:43.393Z in seconds since the epoch; 0.0 for anything else."""
    text = stamp if isinstance(stamp, str) and stamp[10:11] == "T" and stamp[-1:] == "Z" else ""
    parts = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19], text[20:-1] or "0")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        return 0.0
    year, month, day, hour, minute, second = map(int, parts[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return 0.0
    # `datetime` takes 4 ms to import. Years begin in March here, so that a leap day is the last day of a year.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719_469
    return ((days * 24 + hour) * 60 + minute) * 60 + second + float(f"0.{parts[6]}")


def without_bytes(value: Any) -> Any:
    """The value with the bytes of images and documents replaced by their number."""
    if isinstance(value, list):
        return [without_bytes(one) for one in value]
    if isinstance(value, dict):
        if value.get("type") == "base64" and isinstance(value.get("data"), str):
            return {**value, "data": None, "bytes": _size(value["data"])}
        return {name: without_bytes(one) for name, one in value.items()}
    if isinstance(value, str) and value.startswith("data:"):
        about, found, content = value.partition(";base64,")
        return f"{about}{found}({_size(content)} bytes)" if found and not any(map(str.isspace, about)) else value
    return value


def _size(base64: str) -> int:
    return len(base64) * 3 // 4


def as_text(value: Any) -> str:
    """A value of a tool's input for a person: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_lines(fields: dict[str, Any]) -> str:
    """A tool's input for a person: every field on a line, or the value alone if there is only one."""
    if len(fields) == 1:
        return as_text(next(iter(fields.values())))
    return "\n".join(f"{name}: {as_text(value)}" for name, value in fields.items())
