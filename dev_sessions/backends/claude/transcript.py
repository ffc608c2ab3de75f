"""Claude Code's transcript: its lines, what they mean, and the facts that they state.

One JSON object a line, as of 2.1.221 to 2.1.332; unknown entries are skipped, and so is a line that is not finished
yet. The transcript lags behind the hooks by some 0.1 s. It alone records an interrupt, and what became of a prompt that
was taken during a turn; where hooks are switched off, it is the only source.
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
# Lines reach the disk some 0.1 s after the status file changes, later under load. Seconds.
LAG = 1.5
# Entries that are in the order of their times; an attachment may be older than the line before it.
_IN_ORDER = ("user", "assistant", "system", "queue-operation")
# How Claude's note of an interrupt begins.
INTERRUPT_NOTE = "[Request interrupted"
# Prompts that record a command typed by a person; no turn follows them.
_LOCAL = ("<command-name>", "<local-command", "<bash-input>", "<bash-stdout>")


def find(session: Session, reports: list[tuple[Payload, dict[str, Any]]]) -> str | None:
    """The path of the transcript: the last one reported, else by the session's uuid in the projects folder."""
    for _, fields in reversed(reports):
        if path := named(session, fields):
            return path
    projects = os.path.join(paths.config_folder(session), "projects")
    name = f"{session.private.get('uuid')}.jsonl"
    folders = container.listed(projects)
    return next((path for folder in folders if os.path.exists(path := os.path.join(projects, folder, name))), None)


def named(session: Session, fields: dict[str, Any]) -> str | None:
    """The transcript that a report names, absolute.

    If CLAUDE_CONFIG_DIR is relative, so is the name: to the folder that Claude was started in (2.1.332).
    """
    path = hooks.text_of(fields, "transcript_path")
    return os.path.join(str(session.record.get("path") or ""), path) if path and "\0" not in path else None


def config_of(path: str | None) -> str | None:
    """The configuration folder of a transcript: `<config>/projects/<project>/<session id>.jsonl`."""
    projects = os.path.dirname(os.path.dirname(path or ""))
    return os.path.dirname(projects) if os.path.basename(projects) == "projects" else None


def first_attempt(session: Session) -> float | None:
    """When our first message may have reached Claude: without hooks, the transcript is read from there on."""
    attempts = [message.attempted for message in session.folder.messages() if message.attempted is not None]
    return min(attempts) if attempts else None


def reversed_lines(path: str) -> Iterator[bytes]:
    """The finished lines of a file of any size, the last one first; none if it cannot be read."""
    try:
        file = container.opened(path)
    except (OSError, ValueError):  # a path from a report may be invalid
        return
    with file:
        position = file.seek(0, os.SEEK_END)
        size = _FIRST_BLOCK
        rest: list[bytes] = []  # pieces of the line whose beginning is not read yet, last piece first
        ended = False  # a line feed was found; the text behind the last one is not finished yet
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
    for line in reversed_lines(path):
        entry = files.parse_object(line) if b'"timestamp":' in line else None
        if entry is None:
            continue
        at = stamp(entry)
        if at >= when:
            found.append((at, entry))
        elif at and entry.get("type") in _IN_ORDER:
            break
    # 2.1.221 may write the lines of a session's first second in any order. An attachment, whose time may be older
    # than the time of its writing, stays behind the line before it.
    newest, timed = 0.0, []
    for at, entry in reversed(found):
        newest = max(newest, at)
        timed.append((at if entry.get("type") in _IN_ORDER else newest, entry))
    return [entry for _, entry in sorted(timed, key=lambda one: one[0])]


def stamp(entry: dict[str, Any]) -> float:
    """When an entry was written, 0.0 if it does not say."""
    return seconds(entry.get("timestamp"))


def blocks(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of an entry's message."""
    message = entry.get("message")
    return as_blocks(message.get("content")) if isinstance(message, dict) else []


def as_blocks(content: Any) -> list[dict[str, Any]]:
    """Content as blocks: it is a list of them, or a text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def attachment(entry: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The attachment of that kind that an entry is about."""
    attached = entry.get("attachment")
    return attached if isinstance(attached, dict) and attached.get("type") == kind else None


def prompt_text(entry: dict[str, Any]) -> str | None:
    """The text of a message in the user's role (a prompt, a note of an interrupt); None for a tool's result."""
    found = blocks(entry)
    if not found or any(block.get("type") == "tool_result" for block in found):
        return None
    return "\n".join(str(block.get("text", "")) for block in found if block.get("type") == "text")


def assistant_texts(entry: dict[str, Any]) -> list[str]:
    """The texts of a message in the assistant's role, without those that Claude Code made up."""
    if is_filler(entry):
        return []
    texts = [str(block.get("text", "")) for block in blocks(entry) if block.get("type") == "text"]
    return [text for text in texts if text.strip()]


def is_filler(entry: dict[str, Any]) -> bool:
    """True for an answer that Claude Code adds to a prompt without one, when a session is resumed."""
    message = entry.get("message")
    model = message.get("model") if isinstance(message, dict) else None
    return model == "<synthetic>" and not entry.get("isApiErrorMessage")


def has_begun(path: str) -> bool:
    """True if the transcript holds a message: Claude does not resume one without."""
    for line in reversed_lines(path):
        entry = files.parse_object(line) if b'"user"' in line or b'"assistant"' in line else None
        if entry is not None and entry.get("type") in ("user", "assistant") and not entry.get("isSidechain"):
            return True
    return False


def facts(entries: Iterable[dict[str, Any]]) -> Iterator[Fact]:
    """The facts that a stretch of the transcript states."""
    reader = _FactReader()
    found = (reader.read(entry) for entry in entries if not entry.get("isSidechain"))
    return (fact for fact in found if fact is not None)


class _FactReader:
    def __init__(self) -> None:
        self._prompt: str | None = None
        self._reply: str | None = None
        self._running = False
        self._queue: list[str] = []  # prompts in the agent's queue, as far as this stretch says
        self._subagents: dict[str, None] = {}  # those that run, as far as this stretch says

    def read(self, entry: dict[str, Any]) -> Fact | None:
        at = stamp(entry)
        match entry.get("type"), entry.get("subtype"):
            case "user", _:
                return self._user(entry, at)
            case "assistant", _:
                texts = assistant_texts(entry)
                if texts and entry.get("isApiErrorMessage"):
                    # Nothing else marks the end of a turn that failed (2.1.330); in 2.1.221 another line follows.
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
    """True if the last of these entries from `when` on that says so is the end of a turn."""
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
    """True for the prompt with which Claude goes on by itself when a limit has reset (2.1.332)."""
    origin = entry.get("origin")
    return isinstance(origin, dict) and origin.get("kind") == "auto-continuation"


def reset(entry: dict[str, Any]) -> float | None:
    """When the limit that an API error is about resets, if it says."""
    limits = entry.get("quotaLimits")
    return as_number(limits.get("resetsAt")) or None if isinstance(limits, dict) else None


class ToolEvent(NamedTuple):
    """Something about a tool call. `kind` is "tool_use" (the call itself), "tool_result" or "hook_permission_decision".

    `id` is that of the call, `fields` those of the block or attachment.
    """

    kind: str
    id: str
    at: float
    fields: dict[str, Any]
    entry: dict[str, Any]


def tool_events(entries: Iterable[dict[str, Any]]) -> Iterator[ToolEvent]:
    """Each tool call, each result, and each decision of a hook on a call."""
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
    """The plan that the model wrote to a file, which the transcript names; empty if there is none (2.1.330)."""
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
