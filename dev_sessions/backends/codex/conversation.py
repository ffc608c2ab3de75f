"""A Codex session's conversation from its beginning, in little memory: each line of its rollout, as entries.

What a person or we have said is `user`. What Codex itself puts into that place (the folder's instructions, what it
knows of its surroundings) is no part of the conversation; lines of an unknown kind are skipped.
"""

from __future__ import annotations

import json

from ...model import INTERRUPTED, Entry
from ...system import files
from ..tail import Growing
from . import observe, rollout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..base import Session

# Around the output of a command, for the model: how long it took, how it ended.
_OUTPUT, _EXITED, _WELL = "\nOutput:\n", "Process exited with code ", "Process exited with code 0"
_INTERRUPTED, _COMPACTED = "the turn was interrupted", "what was said before was summed up for the model"


class CodexConversation:
    """See `base.Conversation`."""

    def __init__(self, session: Session) -> None:
        path = observe.record_path(session)
        self._file = Growing(path) if path else None
        self._paths = (path,) if path else ()
        self._reader = Reader()

    def new(self) -> Iterator[Entry]:
        for line in self._file.lines() if self._file else ():
            yield from self._reader.read(line)

    def rest(self) -> Iterator[Entry]:
        return iter(())  # Codex tells nobody anything before it has written it down

    def paths(self) -> tuple[str, ...]:
        return self._paths

    def close(self) -> None:
        if self._file:
            self._file.close()


class Reader:
    """Turns the lines of a rollout into entries, one after the other."""

    def __init__(self) -> None:
        self._turn: str | None = None
        self._at = 0.0
        self._calls: dict[str, str] = {}  # names of the tools that have not returned yet, by id
        self._failed: set[str] = set()
        self._told: dict[str, rollout.Event] = {}

    def read(self, line: bytes) -> Iterator[Entry]:
        fields = files.parse_object(line) or {}
        payload = fields.get("payload")
        if not isinstance(payload, dict):
            return
        self._at = rollout.seconds(fields.get("timestamp")) or self._at
        if fields.get("type") == "event_msg":
            yield from self._event(payload)
        elif fields.get("type") == "response_item":
            yield from self._item(payload)
        elif fields.get("type") == "compacted":
            yield self._entry("tool", _COMPACTED, kind="notice")

    def _event(self, payload: dict[str, Any]) -> Iterator[Entry]:
        item = payload.get("item")
        if isinstance(item, dict):
            self._note_failure(item)
        thought = _thought(payload.get("text") if payload.get("type") == "agent_reasoning" else item)
        if thought:
            yield self._entry("assistant", thought, kind="thinking")
        event = rollout.event(payload, self._at, self._turn)
        if event is not None and not self._told_already(event):
            yield from self._said(event, item if isinstance(item, dict) else payload)

    def _said(self, event: rollout.Event, source: dict[str, Any]) -> Iterator[Entry]:
        self._turn = event.turn or self._turn
        if event.kind == "said" and event.text.strip():
            yield self._entry("user", event.text, images=_images(source))
        elif event.kind == "replied" and event.text.strip():
            yield self._entry("assistant", event.text)
        elif event.kind == "ended" and event.error:
            yield self._entry("tool", event.error, kind="error")
        elif event.kind == "ended" and event.outcome == INTERRUPTED:
            yield self._entry("tool", _INTERRUPTED, kind="notice")

    def _told_already(self, event: rollout.Event) -> bool:
        last = self._told.get(event.kind)
        self._told[event.kind] = event
        return event.kind in ("said", "replied") and last is not None and rollout.is_echo(last, event)

    def _note_failure(self, item: dict[str, Any]) -> None:
        if item.get("status") in ("failed", "declined") or item.get("exit_code"):
            self._failed.add(str(item.get("id")))

    def _item(self, payload: dict[str, Any]) -> Iterator[Entry]:
        kind = str(payload.get("type"))
        if kind in ("function_call", "custom_tool_call"):
            yield self._call(payload)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            yield self._result(payload)
        elif kind.endswith("_call"):  # tools of the model's own server, which tell no result: a search of the web
            given = payload.get("action")
            yield self._entry("tool", _readable(given), kind="call", tool=kind.removesuffix("_call"), given=given)

    def _call(self, payload: dict[str, Any]) -> Entry:
        name, call = str(payload.get("name")), str(payload.get("call_id"))
        self._calls[call] = name
        given = rollout.given(payload)
        return self._entry("tool", _readable(given), kind="call", tool=name, call=call, given=given)

    def _result(self, payload: dict[str, Any]) -> Entry:
        call, output = str(payload.get("call_id")), payload.get("output")
        around, found, inside = _shown(output).partition(_OUTPUT)
        failed = call in self._failed or bool(found and _EXITED in around and not around.split("\n").count(_WELL))
        self._failed.discard(call)
        return self._entry(
            "tool",
            inside.removesuffix("\n") if found else around,
            kind="result",
            tool=self._calls.pop(call, None),
            call=call,
            result=_without_bytes(output),
            failed=failed,
            images=sum(_is_image(part) for part in _parts(output)),
        )

    def _entry(self, role: str, text: str, **more: Any) -> Entry:
        return Entry(role, text, self._at, self._turn, **more)


def _thought(value: Any) -> str:
    """What the model lets others see of its thinking."""
    if isinstance(value, dict):
        parts = value.get("summary_text") if value.get("type") == "Reasoning" else None
        return "\n".join(str(part) for part in parts) if isinstance(parts, list) else ""
    return value if isinstance(value, str) else ""


def _images(source: dict[str, Any]) -> int:
    lists = (source.get("content"), source.get("images"), source.get("local_images"))
    return sum(_is_image(part) or isinstance(part, str) for found in lists for part in _parts(found))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = value.get("content_items") or value.get("content")
    return value if isinstance(value, list) else []


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and "image" in str(part.get("type"))


def _shown(output: Any) -> str:
    """A tool's output as a person reads it."""
    if isinstance(output, str):
        return output
    content = output.get("content") if isinstance(output, dict) else None
    if isinstance(content, str):
        return content
    return "\n".join(_shown_part(part) for part in _parts(output))


def _shown_part(part: Any) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    return "[image]" if _is_image(part) else json.dumps(_without_bytes(part), ensure_ascii=False)


def _without_bytes(value: Any) -> Any:
    """The same without the bytes of images, which are counted instead."""
    if isinstance(value, list):
        return [_without_bytes(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_bytes(one) for name, one in value.items()}
    if isinstance(value, str) and value.startswith("data:"):
        about, _, content = value.partition(",")
        return f"{about},({len(content) * 3 // 4} bytes)"
    return value


def _readable(given: Any) -> str:
    """A tool's input for a person: the command, or every field on a line."""
    if not isinstance(given, dict):
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    command = given.get("cmd", given.get("command", given.get("input")))
    if isinstance(command, list):
        command = " ".join(map(str, command))
    if isinstance(command, str):
        return command
    words = [
        (name, one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)) for name, one in given.items()
    ]
    return words[0][1] if len(words) == 1 else "\n".join(f"{name}: {word}" for name, word in words)
