"""Claude Code's transcript, read without Claude: one JSON object a line (as of 2.1.330; unknown entries are skipped).

Pure but for `Tail`, which reads a file of any size from its end. A line that is not finished yet is never looked at.
The transcript lags behind the hooks by some 0.1 s; it tells what no hook tells (an interrupt, what became of a prompt
that was taken while a turn ran), and everything where hooks are switched off.
"""

from __future__ import annotations

import os

from ...model import COMPLETED, FAILED, INTERRUPTED, Entry, Fact
from ...system import files
from ...values import as_number
from . import container_files, hooks
from .hooks import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ...model import Kind

_FIRST_BLOCK, _BLOCK = 64 * 1024, 256 * 1024
# Lines reach the disk some 0.1 s after the status file changes, later under load. Seconds.
LAG = 1.5
# Entries that stand in the order of their times; an attachment may be older than the line before it.
_IN_ORDER = ("user", "assistant", "system", "queue-operation")
_INTERRUPTED = "[Request interrupted"
# Prompts that are Claude's own bookkeeping of a command typed by a person; no turn follows them.
_LOCAL = ("<command-name>", "<local-command", "<bash-input>", "<bash-stdout>")


class Tail:
    """The lines of a file, last one first.

    Args:
        path: the transcript; a missing one has no lines.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def lines(self) -> Iterator[bytes]:
        try:
            file = container_files.opened(self._path)  # closed below, with the generator
        except (OSError, ValueError):  # a path from a report may be no path at all
            return
        with file:
            position = file.seek(0, os.SEEK_END)
            size = _FIRST_BLOCK
            rest: list[bytes] = []  # pieces of the line whose beginning is not read yet, last piece first
            ended = False  # what stands behind the last line feed is not finished yet
            while position > 0:
                begin = max(0, position - size)
                file.seek(begin)
                block = file.read(position - begin)
                position, size = begin, _BLOCK
                head, *others = block.split(b"\n")
                if not others:
                    rest.append(head)
                    continue
                last = b"".join([others.pop(), *reversed(rest)])
                if ended and last:
                    yield last
                ended = True
                yield from (line for line in reversed(others) if line)
                rest = [head]
            if ended and (line := b"".join(reversed(rest))):
                yield line


def since(path: str, when: float) -> list[dict[str, Any]]:
    """The entries written from `when` on, in the order of their times. Entries without a time are left out."""
    found: list[tuple[float, dict[str, Any]]] = []
    for line in Tail(path).lines():
        if b'"timestamp":' not in line:
            continue
        entry = files.parse_object(line)
        if entry is None:
            continue
        at = stamp(entry)
        if at >= when:
            found.append((at, entry))
        elif at and entry.get("type") in _IN_ORDER:
            break
    found.reverse()
    return _in_time(found)


def _in_time(stamped: list[tuple[float, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What 2.1.197 and older write within a session's first second stands in the file in any order.

    An attachment may bear an older time than that of its writing: it stays behind what it was written behind.
    """
    now = 0.0
    keyed = []
    for at, entry in stamped:
        now = max(now, at)
        keyed.append((at if entry.get("type") in _IN_ORDER else now, entry))
    return [entry for _, entry in sorted(keyed, key=lambda one: one[0])]


def has_begun(path: str) -> bool:
    """True if anything was said in that transcript: Claude resumes no other."""
    for line in Tail(path).lines():
        entry = files.parse_object(line) if b'"user"' in line or b'"assistant"' in line else None
        if entry is not None and entry.get("type") in ("user", "assistant") and not entry.get("isSidechain"):
            return True
    return False


def stamp(entry: dict[str, Any]) -> float:
    """When an entry was made (`timestamp` is ISO 8601 in UTC with milliseconds), 0.0 if it does not say."""
    text = entry.get("timestamp")
    if not isinstance(text, str) or len(text) < 20:
        return 0.0
    # By hand: `strptime` and its imports take longer than all the rest of a `wait` that ends.
    words = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    part = text[20:].removesuffix("Z") if text[19] == "." else "0"
    if not all(word.isascii() and word.isdecimal() for word in (*words, part)):
        return 0.0
    year, month, day, hours, minutes, seconds = map(int, words)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return 0.0
    fraction = float(f"0.{part[:9]}")
    return _days(year, month, day) * 86_400.0 + hours * 3_600 + minutes * 60 + seconds + fraction


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar."""
    # Years that begin in March have their leap day at the end.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719_469


def facts(entries: Iterable[dict[str, Any]]) -> Iterator[Fact]:
    """What a stretch of transcript tells, in the words of `model.Fact`."""
    reader = _Reader()
    for entry in entries:
        fact = reader.read(entry)
        if fact is not None:
            yield fact


class _Reader:
    """Turns entries into facts, one after the other."""

    def __init__(self) -> None:
        self._prompt: str | None = None
        self._reply: str | None = None
        self._running = False
        self._waiting: list[str] = []  # what stands in the agent's queue, as far as this stretch tells
        self._taken = 0  # prompts out of the queue whose texts come later
        self._subagents: dict[str, None] = {}  # those that run, as far as this stretch tells
        self._now = 0.0

    def read(self, entry: dict[str, Any]) -> Fact | None:
        if entry.get("isSidechain"):
            return None
        kind = entry.get("type")
        self._now = max(self._now, stamp(entry))
        if kind == "user":
            return self._user(entry)
        if kind == "assistant":
            return self._assistant(entry)
        if kind == "queue-operation":
            return self._queue(entry)
        if kind == "attachment":
            return self._attachment(entry)
        if kind == "system":
            return self._system(entry)
        return None

    def _system(self, entry: dict[str, Any]) -> Fact | None:
        if entry.get("subtype") == "agents_killed":
            self._subagents.clear()
            return Fact("stopped", stamp(entry))
        return self._end(entry, COMPLETED, reply=self._reply) if entry.get("subtype") == "turn_duration" else None

    def _user(self, entry: dict[str, Any]) -> Fact | None:
        subagent = hooks.launched(entry.get("toolUseResult"))
        if subagent is not None:
            self._subagents[subagent] = None
            return Fact("launched", stamp(entry), prompt=hooks.words(entry, "promptId"), task=subagent)
        text = _prompt_text(entry)
        if text is None or (entry.get("isMeta") and not goes_on(entry)):
            return None
        at, prompt = stamp(entry), hooks.words(entry, "promptId")
        if text.startswith(_INTERRUPTED):
            self._running = False
            return Fact("ended", at, prompt=prompt or self._prompt, outcome=INTERRUPTED)
        if text.startswith(_LOCAL):
            return None
        self._prompt, self._reply, self._running = prompt, None, True
        text = plain(text)
        followed = text in self._waiting
        if followed:
            self._waiting.remove(text)
        kind: Kind = "started" if followed or entry.get("promptSource") == "queued" else "accepted"
        return Fact(kind, at, text=text, prompt=prompt, task=hooks.task_of(text))

    def _assistant(self, entry: dict[str, Any]) -> Fact | None:
        texts = _assistant_texts(entry)
        if texts and entry.get("isApiErrorMessage"):
            # Nothing marks the end of a turn that failed (2.1.330); an older version's mark finds it ended.
            return self._end(entry, FAILED, error=texts[-1], reason=hooks.reason(entry), resets_at=reset(entry))
        self._reply = texts[-1] if texts else self._reply
        return None

    def _queue(self, entry: dict[str, Any]) -> Fact | None:
        text, operation = entry.get("content"), str(entry.get("operation"))
        if not isinstance(text, str):
            self._taken += operation == "remove"
            return None
        if (task := hooks.task_of(text)) is not None:
            self._subagents.pop(task, None)
            return None
        if operation == "enqueue":
            self._waiting.append(plain(text))
            return Fact("accepted", stamp(entry), text=plain(text), held=True)
        if operation.startswith(("pop", "remove")):
            return self._out_of_queue("joined" if operation == "remove" else "returned", text, stamp(entry))
        return None

    def _attachment(self, entry: dict[str, Any]) -> Fact | None:
        """What 2.1.197 and older take out of the queue into the running turn is named only here, later on.

        The time that it bears may be that of its coming into the queue.
        """
        attached = entry.get("attachment")
        if not self._taken or not isinstance(attached, dict) or attached.get("type") != "queued_command":
            return None
        self._taken -= 1
        text = attached.get("prompt")
        return self._out_of_queue("joined", text, self._now) if isinstance(text, str) else None

    def _out_of_queue(self, kind: Kind, text: str, at: float) -> Fact:
        text = plain(text)
        if text in self._waiting:
            self._waiting.remove(text)
        return Fact(kind, at, text=text)

    def _end(self, entry: dict[str, Any], outcome: str, **told: Any) -> Fact | None:
        if not self._running:
            return None  # the second of the two entries that end a turn
        self._running = False
        left = tuple(self._subagents)
        return Fact(*("ended", stamp(entry), "", self._prompt, outcome), background=len(left), subagents=left, **told)


def has_ended(entries: Iterable[dict[str, Any]], when: float) -> bool:
    """True if the last thing that these entries tell from `when` on is the end of a turn."""
    ended = False
    for entry in entries:
        if stamp(entry) < when or entry.get("isSidechain"):
            continue
        kind = entry.get("type")
        if kind in ("user", "assistant"):
            ended = (_prompt_text(entry) or "").startswith(_INTERRUPTED) or bool(entry.get("isApiErrorMessage"))
        elif kind == "system" and entry.get("subtype") == "turn_duration":
            ended = True
    return ended


def goes_on(entry: dict[str, Any]) -> bool:
    """True of the prompt with which Claude goes on by itself when a limit has reset (2.1.332)."""
    origin = entry.get("origin")
    return isinstance(origin, dict) and origin.get("kind") == "auto-continuation"


def reset(entry: dict[str, Any]) -> float | None:
    """When the limit that an API error speaks of resets, if it says."""
    limits = entry.get("quotaLimits")
    return as_number(limits.get("resetsAt")) or None if isinstance(limits, dict) else None


def replies(path: str, count: int, skip: frozenset[str] = frozenset(), before: float = float("inf")) -> list[Entry]:
    """The last assistant texts, oldest first: no tool calls, no thinking, no API errors, nothing of sub-agents.

    Each text block of a model message counts as a text, as it does in what the Stop hook reports.

    Args:
        count: how many at most.
        skip: prompt ids of turns to leave out (those that still run).
        before: leave out what was said from then on.
    """
    found: list[Entry] = []
    pending: list[Entry] = []  # texts whose prompt is not known yet, newest first
    for line in Tail(path).lines():
        if b'"assistant"' not in line and b'"promptId"' not in line:
            continue
        entry = files.parse_object(line)
        if entry is None or entry.get("isSidechain"):
            continue
        if entry.get("type") == "assistant" and not entry.get("isApiErrorMessage"):
            at = stamp(entry)
            texts = _assistant_texts(entry) if at < before else []
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
    return list(reversed(found[:count]))


def open_tool_call(entries: Iterable[dict[str, Any]]) -> tuple[str, dict[str, Any], float] | None:
    """Name, input and time of the last tool call that has no result yet."""
    calls: dict[str, tuple[str, dict[str, Any], float]] = {}
    for entry in entries:
        for block in blocks(entry):
            if block.get("type") == "tool_use":
                given = block.get("input")
                call = (str(block.get("name")), given if isinstance(given, dict) else {}, stamp(entry))
                calls[str(block.get("id"))] = call
            elif block.get("type") == "tool_result":
                calls.pop(str(block.get("tool_use_id")), None)
    return list(calls.values())[-1] if calls else None


def blocks(entry: dict[str, Any]) -> list[dict[str, Any]]:
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _prompt_text(entry: dict[str, Any]) -> str | None:
    """What a person (or we) said, or Claude's note of an interrupt; None for the result of a tool."""
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    found = blocks(entry)
    if not found or any(block.get("type") == "tool_result" for block in found):
        return None
    return "\n".join(str(block.get("text", "")) for block in found if block.get("type") == "text")


def is_filler(entry: dict[str, Any]) -> bool:
    """True of an answer that Claude Code itself puts behind a prompt that got none, when a session is resumed."""
    message = entry.get("message")
    model = message.get("model") if isinstance(message, dict) else None
    return model == "<synthetic>" and not entry.get("isApiErrorMessage")


def _assistant_texts(entry: dict[str, Any]) -> list[str]:
    if is_filler(entry):
        return []
    texts = [str(block.get("text", "")) for block in blocks(entry) if block.get("type") == "text"]
    return [text for text in texts if text.strip()]
