"""A Claude session's conversation from its beginning, in little memory: each line of its transcripts, as entries.

What a person or we have said is `user`. All else that Claude Code files under that role is not: results of tools,
reminders, notes of an interrupt, the output of local commands, summaries, notices of background work (as of 2.1.330;
lines of an unknown kind are skipped). What sub-agents say among themselves is no part of the conversation.
"""

from __future__ import annotations

import json
import math
from collections import deque

from ...model import Entry
from ...system import files
from ..tail import Growing
from . import container_files, hooks, observe, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ..base import Session

# How many entries back a report may be that stands in the transcript already.
_RECENT = 200
# Reports are stamped by the file system, the transcript by Claude. Seconds.
_SLACK = 2.0
# How long the beginning of a transcript is, in seconds, and how much of it is held at most, in bytes (see `Ordered`).
_BEGINNING, _HELD = 2.0, 256 * 1024
# Beginnings of what Claude Code itself says in the user's place.
_NOTICES = (
    "[Request interrupted",
    "<task-notification>",
    "<command-name>",
    "<command-message>",
    "<local-command",
    "<bash-input>",
    "<bash-stdout>",
    "<bash-stderr>",
)
_REMINDER = "<system-reminder>"


class ClaudeConversation:
    """See `base.Conversation`. A session has several transcripts if a person has said /clear."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._files: dict[str, Ordered] = {}
        self._reader = Reader()
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._newest = 0.0
        self._looked = 0.0
        self._starts: list[float] = []  # of the program, those that the entries have not come to
        self._started = 0.0

    def new(self) -> Iterator[Entry]:
        self._find()
        for file in self._files.values():
            yield from self._entries(file.lines())

    def rest(self) -> Iterator[Entry]:
        since = max(0.0, self._newest - _SLACK)
        held = [entry for file in self._files.values() for entry in self._entries(file.rest())]
        yield from sorted([*held, *self._reported(since)], key=lambda entry: entry.at)

    def _entries(self, lines: Iterable[bytes]) -> Iterator[Entry]:
        for line in lines:
            for entry in self._reader.read(line):
                while self._starts and self._starts[0] < entry.at:
                    yield from self._lost(self._starts.pop(0))
                self._recent.append(_print_of(entry))
                self._newest = max(self._newest, entry.at)
                yield entry

    def _lost(self, started: float) -> Iterator[Entry]:
        """What was reported right before the agent's end, and never written."""
        for entry in self._reported(max(0.0, self._newest - _SLACK), started):
            self._recent.append(_print_of(entry))
            yield entry

    def _reported(self, since: float, until: float = math.inf) -> Iterator[Entry]:
        """What stands in reports alone."""
        for payload in self._session.folder.facts(since):
            if payload.at > until:
                return
            fact = hooks.fact(payload, hooks.parse(payload))
            if fact is None or fact.text.startswith(_NOTICES):
                continue
            if fact.kind == "accepted":
                yield from self._unwritten(Entry("user", fact.text, fact.at, fact.prompt))
            elif fact.kind == "ended" and fact.reply:
                yield from self._unwritten(Entry("assistant", fact.reply, fact.at, fact.prompt))

    def paths(self) -> tuple[str, ...]:
        return tuple(self._files)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _unwritten(self, entry: Entry) -> Iterator[Entry]:
        if _print_of(entry) not in self._recent:
            yield entry

    def _find(self) -> None:
        """Open the transcripts that were reported since the last look, or what stands where it should be."""
        for payload, fields in observe.reports(self._session, self._looked):
            self._looked = max(self._looked, payload.at - _SLACK)
            if fields.get("source") in ("startup", "resume") and payload.at > self._started:
                if self._started:  # before the first start nothing can have been lost, though its report may be late
                    self._starts.append(payload.at)
                self._started = payload.at
            path = observe.told_transcript(self._session, fields)
            if path and path not in self._files:
                self._files[path] = Ordered(path)
        if not self._files and (found := observe.transcript_path(self._session, [])):
            self._files[found] = Ordered(found)


def _print_of(entry: Entry) -> int:
    """What tells an entry from others, in little memory."""
    return hash((entry.role, entry.text.strip()))


class Ordered:
    """The lines of a transcript as they come, but those of its beginning in the order of their times.

    What Claude Code 2.1.197 and older write within a session's first second stands in any order: the answer may come
    before the prompt. So nothing is given before the first prompt is there (or much was held, or nothing more comes).
    """

    def __init__(self, path: str) -> None:
        self._file = Growing(path, container_files.opened)
        self._beginning: _Beginning | None = _Beginning()

    def lines(self) -> Iterator[bytes]:
        """The lines since the last call."""
        for line in self._file.lines():
            if self._beginning is None:
                yield line
            elif self._beginning.hold(line):
                yield from self.rest()
        if self._beginning is not None and self._beginning.prompted:
            yield from self.rest()

    def rest(self) -> Iterator[bytes]:
        """What is still held."""
        beginning, self._beginning = self._beginning, None
        return iter(beginning.lines() if beginning else ())

    def close(self) -> None:
        self._file.close()


class _Beginning:
    """The first lines of a transcript. `prompted`: one of them is a prompt."""

    def __init__(self) -> None:
        self.prompted = False
        self._held: list[tuple[float, bytes]] = []
        self._bytes = 0
        self._first, self._last = float("inf"), 0.0

    def hold(self, line: bytes) -> bool:
        """Take one more line; True if no earlier one can follow, or too much is held."""
        fields = files.parse_object(line) or {}
        at = transcript.stamp(fields)
        self._first, self._last = min(self._first, at or self._first), max(self._last, at)
        # An attachment may bear an older time than that of its writing: it stays behind what it was written behind.
        keeps_its_place = not at or fields.get("type") == "attachment"
        self._held.append((self._last if keeps_its_place else at, line))
        self._bytes += len(line)
        self.prompted = self.prompted or _is_prompt(fields)
        return self._bytes > _HELD or (self.prompted and self._last > self._first + _BEGINNING)

    def lines(self) -> list[bytes]:
        return [line for _, line in sorted(self._held, key=lambda one: one[0])]


class Reader:
    """Turns the lines of a transcript into entries, one after the other."""

    def __init__(self) -> None:
        self._prompt: str | None = None
        self._at = 0.0
        self._calls: dict[str, str] = {}  # names of the tools that have not returned yet, by id

    def read(self, line: bytes) -> Iterator[Entry]:
        fields = files.parse_object(line) or {}
        if fields.get("isSidechain"):
            return
        rule = {"user": self._user, "assistant": self._assistant, "attachment": self._attachment}.get(
            str(fields.get("type")), self._other
        )
        self._at = transcript.stamp(fields) or self._at
        yield from rule(fields)

    def _user(self, fields: dict[str, Any]) -> Iterator[Entry]:
        self._prompt = _text(fields.get("promptId")) or self._prompt
        blocks = _blocks(fields)
        yield from (self._result(block) for block in blocks if _is(block, "tool_result"))
        said = [block for block in blocks if not _is(block, "tool_result")]
        if not fields.get("isMeta"):
            yield from self._said(said, fields)

    def _said(self, blocks: list[dict[str, Any]], fields: dict[str, Any]) -> Iterator[Entry]:
        """What stands in the user's place: his own words, or Claude Code's."""
        blocks = [block for block in blocks if not str(block.get("text", "")).startswith(_REMINDER)]
        text, images = _shown(blocks), sum(_is(block, "image") for block in blocks)
        if not text.strip():
            return
        if fields.get("isCompactSummary") or _told_by_itself(fields) or text.startswith(_NOTICES):
            yield self._entry("tool", text, kind="notice")
        else:
            yield self._entry("user", hooks.plain(text), images=images)

    def _assistant(self, fields: dict[str, Any]) -> Iterator[Entry]:
        for block in _blocks(fields):
            kind = str(block.get("type"))
            if kind == "text" and str(block.get("text", "")).strip():
                text = str(block["text"])
                if fields.get("isApiErrorMessage"):
                    yield self._entry("tool", text, kind="error")
                else:
                    filler = transcript.is_filler(fields)
                    yield self._entry("tool", text, kind="notice") if filler else self._entry("assistant", text)
            elif kind.endswith("thinking"):
                yield self._entry("assistant", str(block.get("thinking", "")), kind="thinking")
            elif kind.endswith("tool_use"):
                yield self._call(block)
            elif kind.endswith("tool_result"):
                yield self._result(block)

    def _attachment(self, fields: dict[str, Any]) -> Iterator[Entry]:
        """A message that was given to the agent while its turn was running."""
        attached = fields.get("attachment")
        if isinstance(attached, dict) and attached.get("type") == "queued_command":
            yield from self._said(_as_blocks(attached.get("prompt")), attached)

    def _other(self, fields: dict[str, Any]) -> Iterator[Entry]:
        if fields.get("type") == "system" and fields.get("subtype") in ("compact_boundary", "local_command"):
            yield self._entry("tool", str(fields.get("content", "")), kind="notice")

    def _call(self, block: dict[str, Any]) -> Entry:
        name, call, given = str(block.get("name")), str(block.get("id")), block.get("input")
        self._calls[call] = name
        return self._entry("tool", _readable(given), kind="call", tool=name, call=call, given=given)

    def _result(self, block: dict[str, Any]) -> Entry:
        call, content = str(block.get("tool_use_id")), _as_blocks(block.get("content"))
        return self._entry(
            "tool",
            _shown(content),
            kind="result",
            tool=self._calls.pop(call, None),
            call=call,
            result=_without_bytes(block.get("content")),
            failed=bool(block.get("is_error")),
            images=sum(_is(part, "image") for part in content),
        )

    def _entry(self, role: str, text: str, **more: Any) -> Entry:
        return Entry(role, text, self._at, self._prompt, **more)


def _told_by_itself(fields: dict[str, Any]) -> bool:
    """True if no person (and not we) said it: the agent woke itself, say."""
    origin = fields.get("origin")
    kind = origin.get("kind") if isinstance(origin, dict) else None
    return kind == "task-notification" or fields.get("commandMode") == "task-notification"


def _is_prompt(fields: dict[str, Any]) -> bool:
    """True of what a person, or we, or the agent's program said in the user's place to begin a turn."""
    if fields.get("type") != "user" or fields.get("isMeta") or fields.get("isSidechain"):
        return False
    blocks = _blocks(fields)
    return bool(blocks) and not any(_is(block, "tool_result") for block in blocks)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _is(block: dict[str, Any], kind: str) -> bool:
    return block.get("type") == kind


def _blocks(fields: dict[str, Any]) -> list[dict[str, Any]]:
    message = fields.get("message")
    return _as_blocks(message.get("content")) if isinstance(message, dict) else []


def _as_blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _shown(blocks: list[dict[str, Any]]) -> str:
    """What a person reads of these blocks."""
    return "\n".join(_shown_block(block) for block in blocks)


def _shown_block(block: dict[str, Any]) -> str:
    if _is(block, "text"):
        return str(block.get("text", ""))
    short = _without_bytes(block)
    source = short.get("source")
    if isinstance(source, dict):
        return f"[{block.get('type')}: {source.get('media_type') or source.get('url') or 'no details'}]"
    return json.dumps(short, ensure_ascii=False)


def _without_bytes(value: Any) -> Any:
    """The same without the bytes of images and documents, which are counted instead."""
    if isinstance(value, list):
        return [_without_bytes(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "base64" and isinstance(value.get("data"), str):
        return {**value, "data": None, "bytes": len(value["data"]) * 3 // 4}
    return {name: _without_bytes(one) for name, one in value.items()}


def _readable(given: Any) -> str:
    """A tool's input for a person: the command, the path, or every field on a line."""
    if not isinstance(given, dict):
        return json.dumps(given, ensure_ascii=False)
    fields = {name: value for name, value in given.items() if name != "description" or "command" not in given}
    words = [
        (name, one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)) for name, one in fields.items()
    ]
    return words[0][1] if len(words) == 1 else "\n".join(f"{name}: {word}" for name, word in words)
