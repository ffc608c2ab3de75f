"""Claude Code's transcript: its lines, their meaning, and the facts that they state.

Each line is one JSON object, as of 2.1.221 to 2.1.332; unknown entries and an incomplete last line are skipped. The
transcript lags behind the hooks by about 0.1 s. Only the transcript records an interrupt, and what happened to a prompt
that Claude accepted during a turn; if hooks are switched off, it is the only source.
"""

from __future__ import annotations

import os

from ...model import COMPLETED, FAILED, INTERRUPTED, Fact
from ...system import files
from ...values import NamedTuple, as_number
from ..entries import seconds
from . import container, hooks, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ...model import Kind
    from ...state.folder import Payload
    from ..session import Session

_FIRST_BLOCK, _BLOCK = 64 * 1024, 256 * 1024
# Lines reach the disk about 0.1 s after the status file changes, later under load. Seconds.
LAG = 1.5
# Entries that are ordered by time; an attachment may be older than the line before it.
_IN_ORDER = ("user", "assistant", "system", "queue-operation")
# The beginning of Claude's note about an interrupt.
INTERRUPT_NOTE = "[Request interrupted"
# Prompts that record a command typed by a person; they do not start a turn.
_LOCAL = ("<command-name>", "<local-command", "<bash-input>", "<bash-stdout>")


def find(session: Session, reports: list[tuple[Payload, dict[str, Any]]]) -> str | None:
    """The path of the transcript: the last one reported, else found in the projects folder by the session's uuid."""
    for _, fields in reversed(reports):
        if path := named(session, fields):
            return path
    projects = os.path.join(paths.config_folder(session), "projects")
    name = f"{session.private.get('uuid')}.jsonl"
    folders = container.listed(projects)
    return next((path for folder in folders if os.path.exists(path := os.path.join(projects, folder, name))), None)


def named(session: Session, fields: dict[str, Any]) -> str | None:
    """The absolute path of the transcript that a report names.

    If CLAUDE_CONFIG_DIR is relative, the reported path is relative to the folder in which Claude was started (2.1.332).
    """
    path = hooks.text_of(fields, "transcript_path")
    return os.path.join(str(session.record.get("path") or ""), path) if path and "\0" not in path else None


def config_of(path: str | None) -> str | None:
    """The configuration folder of a transcript: `<config>/projects/<project>/<session id>.jsonl`."""
    projects = os.path.dirname(os.path.dirname(path or ""))
    return os.path.dirname(projects) if os.path.basename(projects) == "projects" else None


def first_attempt(session: Session) -> float | None:
    """When our first message may have reached Claude; without hooks, the transcript is read from that time on."""
    attempts = [message.attempted for message in session.folder.messages() if message.attempted is not None]
    return min(attempts) if attempts else None


def reversed_lines(path: str) -> Iterator[bytes]:
    """The complete lines of a file of any size, the last one first; nothing if it cannot be read."""
    try:
        file = container.opened(path)
    except (OSError, ValueError):  # a path from a report may be invalid
        return
    with file:
        position = file.seek(0, os.SEEK_END)
        size = _FIRST_BLOCK
        rest: list[bytes] = []  # pieces of the line whose beginning has not been read yet, last piece first
        ended = False  # a line feed was found; the text after the last one is incomplete
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
    """The entries written from `when` on, ordered by time. Entries without a time are left out."""
    found: list[tuple[float, dict[str, Any]]] = []
    for line in reversed_lines(path):
        entry = files.parse_object(line) if b'"timestamp":' in line else None
        if entry is None:
            continue
        at = stamp(entry)
        if at >= when:
            found.append((at, entry))
        elif at and entry.get("type") in _IN_ORDER:
            break
    # 2.1.221 may write the lines of a session's first second in any order. An attachment may have an older time than
    # its line was written: it stays after the line before it.
    newest, timed = 0.0, []
    for at, entry in reversed(found):
        newest = max(newest, at)
        timed.append((at if entry.get("type") in _IN_ORDER else newest, entry))
    return [entry for _, entry in sorted(timed, key=lambda one: one[0])]


def stamp(entry: dict[str, Any]) -> float:
    """The time at which an entry was written, or 0.0 if it has none."""
    return seconds(entry.get("timestamp"))


def blocks(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of an entry's message."""
    message = entry.get("message")
    return as_blocks(message.get("content")) if isinstance(message, dict) else []


def as_blocks(content: Any) -> list[dict[str, Any]]:
    """Content as a list of blocks; it may be such a list already, or a text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def attachment(entry: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """An entry's attachment, if it is of that kind."""
    attached = entry.get("attachment")
    return attached if isinstance(attached, dict) and attached.get("type") == kind else None


def prompt_text(entry: dict[str, Any]) -> str | None:
    """The text of a message in the user's role (a prompt, a note about an interrupt); None for a tool's result."""
    found = blocks(entry)
    if not found or any(block.get("type") == "tool_result" for block in found):
        return None
    return "\n".join(str(block.get("text", "")) for block in found if block.get("type") == "text")


def assistant_texts(entry: dict[str, Any]) -> list[str]:
    """The texts of a message in the assistant's role, without those that Claude Code created itself."""
    if is_filler(entry):
        return []
    texts = [str(block.get("text", "")) for block in blocks(entry) if block.get("type") == "text"]
    return [text for text in texts if text.strip()]


def is_filler(entry: dict[str, Any]) -> bool:
    """True for an answer that Claude Code adds to an unanswered prompt when a session is resumed."""
    message = entry.get("message")
    model = message.get("model") if isinstance(message, dict) else None
    return model == "<synthetic>" and not entry.get("isApiErrorMessage")


def has_begun(path: str) -> bool:
    """True if the transcript contains a message: Claude cannot resume a transcript without one."""
    for line in reversed_lines(path):
        entry = files.parse_object(line) if b'"user"' in line or b'"assistant"' in line else None
        if entry is not None and entry.get("type") in ("user", "assistant") and not entry.get("isSidechain"):
            return True
    return False


def facts(entries: Iterable[dict[str, Any]]) -> Iterator[Fact]:
    """The facts that these entries of the transcript state."""
    reader = _FactReader()
    found = (reader.read(entry) for entry in entries if not entry.get("isSidechain"))
    return (fact for fact in found if fact is not None)


class _FactReader:
    def __init__(self) -> None:
        self._prompt: str | None = None
        self._reply: str | None = None
        self._running = False
        self._queue: list[str] = []  # prompts in the agent's queue, as far as these entries show
        self._subagents: dict[str, None] = {}  # the subagents that are running, as far as these entries show

    def read(self, entry: dict[str, Any]) -> Fact | None:
        at = stamp(entry)
        match entry.get("type"), entry.get("subtype"):
            case "user", _:
                return self._user(entry, at)
            case "assistant", _:
                texts = assistant_texts(entry)
                if texts and entry.get("isApiErrorMessage"):
                    # Nothing else marks the end of a failed turn (2.1.330); in 2.1.221 another line follows.
                    error = {"error": texts[-1], "reason": hooks.reason(entry), "resets_at": reset(entry)}
                    return self._end(at, FAILED, **error)
                self._reply = texts[-1] if texts else self._reply
            case "queue-operation", _:
                return self._queued(entry, at)
            case "system", "agents_killed":
                self._subagents.clear()
                return Fact("stopped", at)
            case "system", "turn_duration":
                return self._end(at, COMPLETED, reply=self._reply)
        return None

    def _user(self, entry: dict[str, Any], at: float) -> Fact | None:
        prompt = hooks.text_of(entry, "promptId")
        subagent = hooks.launched(entry.get("toolUseResult"))
        if subagent is not None:
            self._subagents[subagent] = None
            return Fact("launched", at, prompt=prompt, task=subagent)
        text = prompt_text(entry)
        if text is None or text.startswith(_LOCAL) or (entry.get("isMeta") and not goes_on(entry)):
            return None
        if text.startswith(INTERRUPT_NOTE):
            self._running = False
            return Fact("ended", at, prompt=prompt or self._prompt, outcome=INTERRUPTED)
        self._prompt, self._reply, self._running = prompt, None, True
        text = hooks.plain(text)
        followed = text in self._queue
        if followed:
            self._queue.remove(text)
        kind: Kind = "started" if followed or entry.get("promptSource") == "queued" else "accepted"
        return Fact(kind, at, text=text, prompt=prompt, task=hooks.task_of(text))

    def _queued(self, entry: dict[str, Any], at: float) -> Fact | None:
        content, operation = entry.get("content"), str(entry.get("operation"))
        if not isinstance(content, str):
            return None
        if (task := hooks.task_of(content)) is not None:
            self._subagents.pop(task, None)
            return None
        text = hooks.plain(content)
        if operation == "enqueue":
            self._queue.append(text)
            return Fact("accepted", at, text=text, held=True)
        if operation.startswith(("pop", "remove")):
            if text in self._queue:
                self._queue.remove(text)
            return Fact("joined" if operation == "remove" else "returned", at, text=text)
        return None

    def _end(self, at: float, outcome: str, **more: Any) -> Fact | None:
        if not self._running:
            return None  # the second of the two entries that end a turn
        self._running = False
        left = tuple(self._subagents)
        ended = Fact("ended", at, prompt=self._prompt, outcome=outcome, background=len(left), subagents=left)
        return ended._replace(**more)


def has_ended(entries: Iterable[dict[str, Any]], when: float) -> bool:
    """True if, of these entries from `when` on, the last one that starts or ends a turn ends it."""
    ended = False
    for entry in entries:
        if stamp(entry) < when or entry.get("isSidechain"):
            continue
        kind = entry.get("type")
        if kind in ("user", "assistant"):
            ended = (prompt_text(entry) or "").startswith(INTERRUPT_NOTE) or bool(entry.get("isApiErrorMessage"))
        elif kind == "system" and entry.get("subtype") == "turn_duration":
            ended = True
    return ended


def goes_on(entry: dict[str, Any]) -> bool:
    """True for the prompt with which Claude continues automatically when a limit has reset (2.1.332)."""
    origin = entry.get("origin")
    return isinstance(origin, dict) and origin.get("kind") == "auto-continuation"


def reset(entry: dict[str, Any]) -> float | None:
    """The time at which the limit in an API error resets, if the error contains it."""
    limits = entry.get("quotaLimits")
    return as_number(limits.get("resetsAt")) or None if isinstance(limits, dict) else None


class ToolEvent(NamedTuple):
    """An event of a tool call. `kind` is "tool_use" (the call itself), "tool_result" or "hook_permission_decision".

    `id` is the call's id, `fields` are those of the block or attachment.
    """

    kind: str
    id: str
    at: float
    fields: dict[str, Any]
    entry: dict[str, Any]


def tool_events(entries: Iterable[dict[str, Any]]) -> Iterator[ToolEvent]:
    """Each tool call, each result, and each decision of a hook about a call."""
    for entry in entries:
        at = stamp(entry)
        if decision := attachment(entry, "hook_permission_decision"):
            yield ToolEvent("hook_permission_decision", str(decision.get("toolUseID")), at, decision, entry)
        for block in blocks(entry):
            if block.get("type") == "tool_use":
                yield ToolEvent("tool_use", str(block.get("id")), at, block, entry)
            elif block.get("type") == "tool_result":
                yield ToolEvent("tool_result", str(block.get("tool_use_id")), at, block, entry)


def open_tool_call(entries: Iterable[dict[str, Any]]) -> tuple[str, dict[str, Any], float] | None:
    """Name, input and time of the last tool call that has no result yet."""
    calls: dict[str, ToolEvent] = {}
    for event in tool_events(entries):
        if event.kind == "tool_use":
            calls[event.id] = event
        elif event.kind == "tool_result":
            calls.pop(event.id, None)
    if not calls:
        return None
    last = list(calls.values())[-1]
    given = last.fields.get("input")
    return str(last.fields.get("name")), given if isinstance(given, dict) else {}, last.at


def plan(path: str) -> str:
    """The plan that the model wrote to a file named in the transcript; empty if there is none (2.1.330)."""
    found = None
    try:
        with container.opened(path) as file:
            for line in file:
                entry = files.parse_object(line) if b'"planFilePath"' in line else None
                attached = (entry or {}).get("attachment")
                named = hooks.text_of(attached, "planFilePath") if isinstance(attached, dict) else None
                found = named if named and "\0" not in named else found
    except OSError:
        return ""
    content = container.read(found) if found and container.may_read(found, path) else None
    return (content or b"").decode(errors="replace").strip()
