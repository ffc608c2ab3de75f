"""Reads a Codex session's conversation from its rollout, line by line, as entries.

Messages from a person or from dev-sessions have the role `user`. Text that Codex adds itself (the folder's
instructions, a description of the environment) is not part of the conversation. Lines of unknown kinds are skipped.
"""

from __future__ import annotations

from ...model import INTERRUPTED
from ..entries import EntryMaker, as_lines, as_text, without_bytes
from ..tail import Growing
from . import paths, rollout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...model import Entry
    from ..base import Session

# Codex puts this around a command's output, to tell the model how long the command took and how it ended.
_OUTPUT, _EXITED, _SUCCEEDED = "\nOutput:\n", "Process exited with code ", "Process exited with code 0"


class CodexConversation:
    """See `base.Conversation`."""

    def __init__(self, session: Session) -> None:
        path = paths.record_path(session)
        self._file = Growing(path) if path else None
        self._paths = (path,) if path else ()
        self._reader = Reader()

    def new(self) -> Iterator[Entry]:
        for line in self._file.lines() if self._file else ():
            yield from self._reader.read(line)

    def rest(self) -> Iterator[Entry]:
        return iter(())  # Codex writes everything to the rollout before it reports it

    def paths(self) -> tuple[str, ...]:
        return self._paths

    def close(self) -> None:
        if self._file:
            self._file.close()


class Reader:
    """Turns the lines of a rollout into entries, one after the other."""

    def __init__(self) -> None:
        self._make = EntryMaker()
        self._turns = rollout.Turns()
        self._failed: set[str] = set()  # calls that have not returned yet

    def read(self, content: bytes) -> Iterator[Entry]:
        line = rollout.parse(content)
        if line is None:
            return
        self._make.at = line.at or self._make.at
        if line.kind == "event_msg":
            yield from self._event(line)
        elif line.kind == "response_item":
            yield from self._call_or_output(line)
        elif line.kind == "compacted":
            yield self._make.entry("tool", "the conversation so far was summarized for the model", kind="notice")

    def _event(self, line: rollout.Line) -> Iterator[Entry]:
        item, make = line.item, self._make
        if item.get("status") in ("failed", "declined") or item.get("exit_code"):
            self._failed.add(str(item.get("id")))
        thought = line.payload.get("text") if line.type == "agent_reasoning" else None
        if item.get("type") == "Reasoning" and isinstance(item.get("summary_text"), list):
            thought = "\n".join(map(str, item["summary_text"]))
        if thought and isinstance(thought, str):
            yield make.entry("assistant", thought, kind="thinking")
        event = self._turns.event(line)
        if event is None:
            return
        make.turn = event.turn or make.turn
        if event.kind == "prompt" and event.text.strip():
            yield make.entry("user", event.text, images=_images(item or line.payload))
        elif event.kind == "reply" and event.text.strip():
            yield make.entry("assistant", event.text)
        elif event.kind == "ended" and event.error:
            yield make.entry("tool", event.error, kind="error")
        elif event.kind == "ended" and event.outcome == INTERRUPTED:
            yield make.entry("tool", "the turn was interrupted", kind="notice")

    def _call_or_output(self, line: rollout.Line) -> Iterator[Entry]:
        if line.type in rollout.CALLS:
            given = rollout.given(line.payload)
            yield self._make.call(line.call, str(line.payload.get("name")), given, _shown_input(given))
        elif line.type in rollout.OUTPUTS:
            output = line.payload.get("output")
            around, found, inside = _shown_output(output).partition(_OUTPUT)
            exited = bool(found) and _EXITED in around and _SUCCEEDED not in around.split("\n")
            yield self._make.result(
                line.call,
                output,
                inside.removesuffix("\n") if found else around,
                failed=line.call in self._failed or exited,
                images=sum(map(_is_image, _parts(output))),
            )
            self._failed.discard(line.call)
        elif line.type.endswith("_call"):  # a tool of the model's server, such as a web search; its result is not here
            action, tool = line.payload.get("action"), line.type.removesuffix("_call")
            yield self._make.entry("tool", _shown_input(action), kind="call", tool=tool, given=action)


def _images(source: dict[str, Any]) -> int:
    lists = (source.get("content"), source.get("images"), source.get("local_images"))
    return sum(_is_image(part) or isinstance(part, str) for found in lists for part in _parts(found))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = value.get("content_items") or value.get("content")
    return value if isinstance(value, list) else []


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and "image" in str(part.get("type"))


def _shown_output(output: Any) -> str:
    """A tool's output for a person."""
    content = output.get("content") if isinstance(output, dict) else output
    if isinstance(content, str):
        return content
    texts = []
    for part in _parts(output):
        text = part.get("text") if isinstance(part, dict) else None
        shown = text if isinstance(text, str) else "[image]" if _is_image(part) else without_bytes(part)
        texts.append(as_text(shown))
    return "\n".join(texts)


def _shown_input(given: Any) -> str:
    """A tool's input for a person: the command, or every field on a line."""
    if not isinstance(given, dict):
        return as_text(given)
    command = given.get("cmd", given.get("command", given.get("input")))
    if isinstance(command, list):
        command = " ".join(map(str, command))
    return command if isinstance(command, str) else as_lines(given)
