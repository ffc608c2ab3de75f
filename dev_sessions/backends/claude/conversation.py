"""The last replies of a Claude session, and its whole conversation, as entries.

Only the messages that a person or dev-sessions sent are `user`. Claude Code records other things under that role too,
and those are not: results of tools, reminders, notes about an interrupt, the output of local commands, summaries,
notices of background work (as of 2.1.330; lines of an unknown kind are skipped). Messages between subagents are not
part of the conversation.
"""

from __future__ import annotations

import json
import math
from collections import deque

from ...model import COMPLETED, Entry, Fact
from ...system import files
from ...turns import unfinished
from ..entries import EntryMaker, as_lines, without_bytes
from ..tail import Growing
from . import container, hooks, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ..session import Session

# How many of the latest entries are compared with a reported text, to see whether the transcript has it already.
_RECENT = 200
# The file system sets the times of reports, Claude those of the transcript. Seconds.
_SLACK = 2.0
# How long the beginning of a transcript is, in seconds, and how many bytes of it are held at most (see `Ordered`).
_BEGINNING, _HELD = 2.0, 256 * 1024
# Beginnings of the texts that Claude Code itself records in the user's role.
_NOTICES = (
    transcript.INTERRUPT_NOTE,
    "<task-notification>",
    "<command-name>",
    "<command-message>",
    "<local-command",
    "<bash-input>",
    "<bash-stdout>",
    "<bash-stderr>",
)
_REMINDER = "<system-reminder>"


def replies(session: Session, count: int, running: bool) -> list[Entry]:
    """The last assistant texts, oldest first; see `base.Backend.history`."""
    reports = hooks.reports(session)
    facts = hooks.facts(reports)
    path = transcript.find(session, reports)
    if not facts and path:
        facts = list(transcript.facts(transcript.since(path, transcript.first_attempt(session) or 0.0)))
    skip, before = unfinished(facts) if running else (frozenset(), math.inf)
    facts = [fact for fact in facts if fact.kind != "ended" or (fact.prompt not in skip and fact.at < before)]
    found = written_replies(path, count, skip, before) if path else []
    return _with_reported(found, facts, whole=len(found) < count)[-count:]


def written_replies(path: str, count: int, skip: frozenset[str] = frozenset(), before: float = math.inf) -> list[Entry]:
    """The last assistant texts of a transcript: no tool calls, no thinking, no API errors, no texts of subagents.

    Each text block of a model message counts as one text, as in the report of the Stop hook.

    Args:
        count: how many at most.
        skip: prompt ids of turns to leave out (those that are still running).
        before: leave out what was written at or after this time.
    """
    found: list[Entry] = []
    pending: list[Entry] = []  # texts whose prompt is not yet known, newest first
    for line in transcript.reversed_lines(path):
        entry = files.parse_object(line) if b'"assistant"' in line or b'"promptId"' in line else None
        if entry is None or entry.get("isSidechain"):
            continue
        if entry.get("type") == "assistant" and not entry.get("isApiErrorMessage"):
            at = transcript.stamp(entry)
            texts = transcript.assistant_texts(entry) if at < before else []
            pending += [Entry("assistant", text, at) for text in reversed(texts)]
        elif entry.get("type") == "user" and entry.get("promptId"):
            prompt = str(entry["promptId"])
            if prompt not in skip:
                found += [text._replace(prompt=prompt) for text in pending]
            pending = []
            if len(found) >= count:
                break
    else:
        found += pending
    return found[:count][::-1]


def _with_reported(found: list[Entry], facts: list[Fact], whole: bool) -> list[Entry]:
    """Add reported replies that are not in the transcript yet: the Stop hook runs before Claude writes them there.

    The last reply of each run may be missing: it is written a moment later, or never if the agent was killed.

    Args:
        whole: the transcript contains nothing besides `found`.
    """
    last: Fact | None = None
    for fact in (*facts, Fact("alive", math.inf)):
        if fact.kind == "ended":
            last = fact if fact.outcome == COMPLETED and fact.reply else None
        elif fact.kind == "alive" and last is not None:
            begun = max((one.at for one in facts if one.kind == "accepted" and one.at <= last.at), default=0.0)
            if not any(_is_reply(entry, last, begun) for entry in found) and (whole or last.at >= found[0].at):
                reply = Entry("assistant", last.reply or "", last.at, last.prompt)
                found = sorted([*found, reply], key=lambda entry: entry.at)
            last = None
    return found


def _is_reply(entry: Entry, end: Fact, begun: float) -> bool:
    # Before the agent's first input since its start, a report has no prompt id, and the transcript may have none.
    same_turn = entry.prompt == end.prompt if entry.prompt and end.prompt else entry.at >= begun
    return same_turn and entry.text.strip() == (end.reply or "").strip()


class ClaudeConversation:
    """See `base.Conversation`. A session has several transcripts if a person has used /clear."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._files: dict[str, Ordered] = {}
        self._reader = Reader()
        self._recent: deque[int] = deque(maxlen=_RECENT)  # hashes of the entries, which take little memory
        self._newest = 0.0
        self._looked = 0.0
        self._starts: list[float] = []  # of the program: the starts that the entries have not reached yet
        self._started = 0.0

    def new(self) -> Iterator[Entry]:
        self._find()
        for file in self._files.values():
            yield from self._entries(file.lines())

    def rest(self) -> Iterator[Entry]:
        since = max(0.0, self._newest - _SLACK)
        held = [entry for file in self._files.values() for entry in self._entries(file.rest())]
        yield from sorted([*held, *self._reported(since)], key=lambda entry: entry.at)

    def paths(self) -> tuple[str, ...]:
        return tuple(self._files)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _entries(self, lines: Iterable[bytes]) -> Iterator[Entry]:
        for line in lines:
            for entry in self._reader.read(line):
                while self._starts and self._starts[0] < entry.at:
                    # What was reported just before the agent ended may never have been written.
                    for lost in self._reported(max(0.0, self._newest - _SLACK), self._starts.pop(0)):
                        self._recent.append(_hash(lost))
                        yield lost
                self._recent.append(_hash(entry))
                self._newest = max(self._newest, entry.at)
                yield entry

    def _reported(self, since: float, until: float = math.inf) -> Iterator[Entry]:
        """The entries that are only in reports."""
        for payload in self._session.folder.facts(since):
            if payload.at > until:
                return
            fact = hooks.fact(payload, hooks.parse(payload))
            if fact is None or fact.text.startswith(_NOTICES):
                continue
            if fact.kind == "accepted":
                entry = Entry("user", fact.text, fact.at, fact.prompt)
            elif fact.kind == "ended" and fact.reply:
                entry = Entry("assistant", fact.reply, fact.at, fact.prompt)
            else:
                continue
            if _hash(entry) not in self._recent:
                yield entry

    def _find(self) -> None:
        """Open the transcripts reported since the last call; if none was reported, the one in the usual place."""
        for payload, fields in hooks.reports(self._session, self._looked):
            self._looked = max(self._looked, payload.at - _SLACK)
            if fields.get("source") in ("startup", "resume") and payload.at > self._started:
                if self._started:  # nothing can be lost before the first start, though its report may be late
                    self._starts.append(payload.at)
                self._started = payload.at
            path = transcript.named(self._session, fields)
            if path and path not in self._files:
                self._files[path] = Ordered(path)
        if not self._files and (found := transcript.find(self._session, [])):
            self._files[found] = Ordered(found)


def _hash(entry: Entry) -> int:
    return hash((entry.role, entry.text.strip()))


class Ordered:
    """The lines of a transcript in file order, except that those of its beginning are sorted by time.

    2.1.221 may write the lines of a session's first second in any order: the answer may come before the prompt. So no
    line is returned until the first prompt is there, or too much is held, or no more lines come.
    """

    def __init__(self, path: str) -> None:
        self._file = Growing(path, container.opened)
        self._held: list[tuple[float, bytes]] | None = []
        self._bytes = 0
        self._prompted = False
        self._first, self._last = math.inf, 0.0

    def lines(self) -> Iterator[bytes]:
        """The lines since the last call."""
        for line in self._file.lines():
            if self._held is None:
                yield line
                continue
            self._held.append((self._place(line), line))
            self._bytes += len(line)
            if self._bytes > _HELD or (self._prompted and self._last > self._first + _BEGINNING):
                yield from self.rest()
        if self._prompted:
            yield from self.rest()

    def _place(self, line: bytes) -> float:
        fields = files.parse_object(line) or {}
        is_message = fields.get("type") == "user" and not fields.get("isMeta") and not fields.get("isSidechain")
        self._prompted = self._prompted or (is_message and transcript.prompt_text(fields) is not None)
        at = transcript.stamp(fields)
        self._first, self._last = min(self._first, at or self._first), max(self._last, at)
        # An attachment may have an older time than its line was written: it stays after the line before it.
        return self._last if not at or fields.get("type") == "attachment" else at

    def rest(self) -> Iterator[bytes]:
        """The lines that are still being held."""
        held, self._held = self._held or [], None
        return iter([line for _, line in sorted(held, key=lambda one: one[0])])

    def close(self) -> None:
        self._file.close()


class Reader(EntryMaker):
    """Turns the lines of a transcript into entries, one at a time."""

    def read(self, line: bytes) -> Iterator[Entry]:
        fields = files.parse_object(line) or {}
        if fields.get("isSidechain"):
            return
        self.at = transcript.stamp(fields) or self.at
        match fields.get("type"):
            case "user":
                self.turn = hooks.text_of(fields, "promptId") or self.turn
                said = []
                for block in transcript.blocks(fields):
                    if block.get("type") == "tool_result":
                        yield self._result(block)
                    else:
                        said.append(block)
                if not fields.get("isMeta"):
                    yield from self._said(said, fields)
            case "assistant":
                for block in transcript.blocks(fields):
                    yield from self._assistant(block, fields)
            case "attachment":
                # A message that the agent received while its turn was running.
                attached = transcript.attachment(fields, "queued_command")
                if attached is not None:
                    yield from self._said(transcript.as_blocks(attached.get("prompt")), attached)
            case "system" if fields.get("subtype") in ("compact_boundary", "local_command"):
                yield self.entry("tool", str(fields.get("content", "")), kind="notice")

    def _said(self, blocks: list[dict[str, Any]], fields: dict[str, Any]) -> Iterator[Entry]:
        """The entry of a message in the user's role: the user's own words, or a notice from Claude Code."""
        blocks = [block for block in blocks if not str(block.get("text", "")).startswith(_REMINDER)]
        text, origin = _shown(blocks), fields.get("origin")
        if not text.strip():
            return
        kinds = (origin.get("kind") if isinstance(origin, dict) else None, fields.get("commandMode"))
        if fields.get("isCompactSummary") or "task-notification" in kinds or text.startswith(_NOTICES):
            yield self.entry("tool", text, kind="notice")
        else:
            yield self.entry("user", hooks.plain(text), images=_images(blocks))

    def _assistant(self, block: dict[str, Any], fields: dict[str, Any]) -> Iterator[Entry]:
        kind, text = str(block.get("type")), str(block.get("text", ""))
        if kind == "text" and text.strip():
            if fields.get("isApiErrorMessage"):
                yield self.entry("tool", text, kind="error")
            elif transcript.is_filler(fields):
                yield self.entry("tool", text, kind="notice")
            else:
                yield self.entry("assistant", text)
        elif kind.endswith("thinking"):
            yield self.entry("assistant", str(block.get("thinking", "")), kind="thinking")
        elif kind.endswith("tool_use"):
            given = block.get("input")
            if isinstance(given, dict):
                # The command, the path, or every field on a line.
                hidden = ("description",) if "command" in given else ()
                text = as_lines({name: value for name, value in given.items() if name not in hidden})
            else:
                text = json.dumps(given, ensure_ascii=False)
            yield self.call(str(block.get("id")), str(block.get("name")), given, text)
        elif kind.endswith("tool_result"):
            yield self._result(block)

    def _result(self, block: dict[str, Any]) -> Entry:
        call, content = str(block.get("tool_use_id")), block.get("content")
        parts = transcript.as_blocks(content)
        failed = bool(block.get("is_error"))
        return self.result(call, content, _shown(parts), failed=failed, images=_images(parts))


def _images(blocks: list[dict[str, Any]]) -> int:
    return sum(block.get("type") == "image" for block in blocks)


def _shown(blocks: list[dict[str, Any]]) -> str:
    """The text of these blocks for a person."""
    return "\n".join(map(_shown_block, blocks))


def _shown_block(block: dict[str, Any]) -> str:
    if block.get("type") == "text":
        return str(block.get("text", ""))
    short = without_bytes(block)
    source = short.get("source")
    if isinstance(source, dict):
        return f"[{block.get('type')}: {source.get('media_type') or source.get('url') or 'no details'}]"
    return json.dumps(short, ensure_ascii=False)
