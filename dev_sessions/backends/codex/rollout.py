"""Reads the rollout, Codex's log file of a thread, as events.

Codex writes it before the app-server reports anything (0.169.0: a turn's end about 10 ms before `turn/completed`), and
also when no client is connected. Lines as of 0.146 to 0.171: `{"timestamp", "type", "payload"}`.
"""

from __future__ import annotations

import json
import os

from ...model import COMPLETED, FAILED, INTERRUPTED, LIMIT, Entry, Fact
from ...system import files
from ...values import NamedTuple, as_number
from .. import entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

# Lines without any of these are skipped: most of a rollout is context and tool output.
_MARKS = tuple(
    f'"{word}"'.encode()
    for word in (
        *("task_started", "task_complete", "turn_aborted", "UserMessage", "AgentMessage", "user_message"),
        *("agent_message", "CommandExecution", "CollabAgentToolCall", "SubAgentActivity", "function_call"),
        *("function_call_output", "custom_tool_call", "custom_tool_call_output", "thread_goal_updated", "rate_limits"),
    )
)
CALLS, OUTPUTS = ("function_call", "custom_tool_call"), ("function_call_output", "custom_tool_call_output")
# The output of a command that goes on, and for which the model has not waited, begins so.
_RUNNING = "\nProcess running with session ID "
# The tool of newer models that runs commands by a script. Commands that it leaves running may not be reported (0.169).
SCRIPT = "exec"
# The error of a turn that has no end and that no process runs. The server may have been another Codex's.
DIED = "the Codex app-server ended in the middle of the turn"


class Call(NamedTuple):
    """A tool call of the model that has no output yet."""

    id: str
    name: str
    given: dict[str, Any]
    at: float


class Event(NamedTuple):
    """A line that matters to turns.

    Attributes:
        kind: "began", "ended", "prompt" or "reply".
        client: our id of the message, in a prompt.
        left: how many commands were running when the turn ended.
        reason, resets_at: see `Fact`.
        root: the turn whose subagent made Codex begin this turn by itself, or else the turn's own id; not in 0.146.
    """

    kind: str
    at: float
    turn: str | None
    text: str = ""
    client: str | None = None
    outcome: str = ""
    error: str | None = None
    left: int = 0
    reason: str | None = None
    resets_at: float | None = None
    root: str | None = None


class Story(NamedTuple):
    """The content of a rollout.

    Attributes:
        events: in their order.
        calls: the calls without an output.
        open: the turn that has not ended.
        size: the byte up to which it was read.
        goal: the last goal of the thread. A rollout does not show that it was cleared (0.169.0).
        left: the number of commands left running, without those of `scripts`. Some may have ended, since a rollout does
            not show that they ended with their server, or at all (0.146): ask `view.Servers.runs_commands`.
        agents: the threads that it has started as its subagents.
        scripts: scripts have run commands.
    """

    events: list[Event]
    calls: list[Call]
    open: str | None
    size: int
    goal: dict[str, Any] | None = None
    left: int = 0
    agents: tuple[str, ...] = ()
    scripts: bool = False

    def clients(self) -> set[str]:
        """Our ids of the messages that Codex has taken."""
        return {event.client for event in self.events if event.client}


class Line(NamedTuple):
    """A line of a rollout. `kind` is "event_msg", "response_item" or another, `type` that of the payload."""

    kind: str
    type: str
    payload: dict[str, Any]
    at: float

    @property
    def item(self) -> dict[str, Any]:
        """The item of an event, or nothing."""
        item = self.payload.get("item")
        return item if isinstance(item, dict) else {}

    @property
    def call(self) -> str:
        """The id of the call that the line is about."""
        return str(self.payload.get("call_id"))


def parse(line: bytes) -> Line | None:
    """A parsed line; None if it does not have the form of one."""
    fields = files.parse_object(line) or {}
    payload = fields.get("payload")
    if not isinstance(payload, dict):
        return None
    at = entries.seconds(fields.get("timestamp"))
    # Codex rounds down to milliseconds; with one added, the time is never too early.
    return Line(str(fields.get("type")), str(payload.get("type")), payload, at and at + 0.001)


def about(path: str) -> dict[str, Any]:
    """The description of the thread in the first line of a rollout; empty if the file no longer exists."""
    try:
        with open(path, "rb") as file:
            first = parse(file.readline())
    except OSError:
        return {}
    return first.payload if first else {}


def read(path: str, begin: int = 0) -> Story:
    """The story from the byte `begin` on; no turn may be open there."""
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            content = file.read()
    except FileNotFoundError:
        content = b""
    whole = content.rfind(b"\n") + 1
    return story(content[:whole].split(b"\n"), begin + whole)


def story(lines: Iterable[bytes], size: int = 0) -> Story:
    """The story in these lines."""
    events: list[Event] = []
    calls: dict[str, Call] = {}
    turns = Turns()
    goal: dict[str, Any] | None = None
    left: set[str] = set()
    reset: float | None = None
    agents: dict[str, None] = {}
    scripts = False
    for content in lines:
        line = parse(content) if any(mark in content for mark in _MARKS) else None
        if line is None:
            continue
        payload = line.payload
        if line.kind == "response_item":
            if line.type in OUTPUTS:
                call, text = calls.pop(line.call, None), str(payload.get("output"))
                if call and call.name == "spawn_agent":  # 0.146; newer versions have items for it
                    started = (files.parse_object(text.encode(errors="replace")) or {}).get("agent_id")
                    agents.update({started: None} if isinstance(started, str) else {})
                number = text.partition("\nOutput:\n")[0].partition(_RUNNING)[2].partition("\n")[0]
                if number:
                    left.add(number)
            elif line.type in CALLS:
                calls[line.call] = Call(line.call, str(payload.get("name", "")), given(payload), line.at)
                scripts = scripts or (line.type == "custom_tool_call" and payload.get("name") == SCRIPT)
        elif line.kind == "event_msg":
            item = line.item
            if item.get("type") == "CommandExecution":
                left.discard(str(item.get("process_id")))
            elif item.get("type") == "SubAgentActivity" and item.get("kind") == "started":
                agents[str(item.get("agent_thread_id"))] = None
            elif item.get("type") == "CollabAgentToolCall" and isinstance(item.get("receiver_thread_ids"), list):
                agents.update({str(id): None for id in item["receiver_thread_ids"]})
            elif line.type == "thread_goal_updated":
                goal = payload["goal"] if isinstance(payload.get("goal"), dict) else None
            elif line.type == "token_count":
                reset = _reset(payload.get("rate_limits"))
            elif event := turns.event(line):
                if event.kind == "began":
                    reset = None
                elif event.kind == "ended":
                    calls.clear()
                    event = event._replace(left=len(left), resets_at=reset if event.reason == LIMIT else None)
                events.append(event)
    return Story(events, list(calls.values()), turns.open, size, goal, len(left), tuple(agents), scripts)


class Turns:
    """Reads the lines of a rollout, in their order, as events. `open` is the running turn."""

    def __init__(self) -> None:
        self.open: str | None = None
        self._last: dict[str, Event] = {}

    def event(self, line: Line) -> Event | None:
        """The event in a line; None if it has no event that matters, or the same one as the line before."""
        event = self._read(line)
        if event is None:
            return None
        last = self._last.get(event.kind)
        # Versions that write an item and an older kind of event for the same message write them one after the other.
        same = last is not None and last[2:4] == event[2:4] and abs(last.at - event.at) < 0.5
        if event.kind in ("prompt", "reply") and same and event.client in (None, ""):
            return None
        self._last[event.kind] = event
        self.open = event.turn if event.kind == "began" else None if event.kind == "ended" else self.open
        return event

    def _read(self, line: Line) -> Event | None:
        payload, item, at = line.payload, line.item, line.at
        turn = payload.get("turn_id") or self.open
        match line.type:
            case "task_started":
                return Event("began", at, turn, root=payload.get("root_turn_id"))
            case "task_complete":
                reply, error, reason = payload.get("last_agent_message"), *_failure(payload.get("error"))
                outcome = FAILED if error is not None else COMPLETED
                return Event("ended", at, turn, str(reply or ""), None, outcome, error, reason=reason)
            case "turn_aborted":
                return Event("ended", at, turn, outcome=INTERRUPTED)
            case "item_completed" if item.get("type") in ("UserMessage", "AgentMessage"):
                parts = [part for part in item.get("content") or () if isinstance(part, dict)]
                text = "".join(str(part.get("text", "")) for part in parts)
                ours = item["type"] == "UserMessage"
                return (
                    Event("prompt", at, turn, text, item.get("client_id")) if ours else Event("reply", at, turn, text)
                )
            case "user_message":
                return Event("prompt", at, turn, str(payload.get("message", "")), payload.get("client_id"))
            case "agent_message":
                return Event("reply", at, turn, str(payload.get("message", "")))
        return None


def _failure(error: Any) -> tuple[str | None, str | None]:
    """The error of a turn, in the words of the model's server if known, and its `reason`.

    The model's server reports a limit of a plan or an API key with the status 429 (0.171.0).
    """
    if not error:
        return None, None
    fields = error if isinstance(error, dict) else {}
    text = str(fields.get("message") or error)
    inner = (files.parse_object(text.encode(errors="replace")) or {}).get("error")
    message = inner.get("message") if isinstance(inner, dict) else inner
    kind = fields.get("codex_error_info")
    details = next(iter(kind.values()), None) if isinstance(kind, dict) else None
    limited = isinstance(details, dict) and details.get("http_status_code") == 429
    known = kind in ("usage_limit_exceeded", "rate_limit_exceeded")
    return str(message) if message else text, LIMIT if limited or known else None


def _reset(limits: Any) -> float | None:
    """When an account can be used again: the end of the last full window in the service's report."""
    windows = [limits.get(name) for name in ("primary", "secondary")] if isinstance(limits, dict) else []
    full = [one for one in windows if isinstance(one, dict) and as_number(one.get("used_percent")) >= 100]
    return max((as_number(one.get("resets_at")) for one in full), default=0.0) or None


def output(path: str, call: str, begin: int = 0) -> str | None:
    """The output of a call of the model, as text; None if it has none yet."""
    mark = json.dumps(call).encode()
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            found = [parse(line) for line in file if mark in line]
    except FileNotFoundError:
        return None  # it has been archived
    outputs = [line.payload.get("output") for line in found if line and line.type in OUTPUTS and line.call == call]
    return entries.as_text(outputs[0]) if outputs else None


def given(payload: dict[str, Any]) -> dict[str, Any]:
    """The input of a tool call."""
    text = payload.get("arguments") or payload.get("input") or "{}"
    fields = files.parse_object(text.encode(errors="replace")) if isinstance(text, str) else None
    return {"input": text} if fields is None else fields


def facts(events: Iterable[Event]) -> list[Fact]:
    """The events as facts.

    A turn is accepted when it begins, since the turns of a goal have no prompt. A prompt within a turn joins it.
    """
    found: list[Fact] = []
    for event in events:
        if event.kind == "began":
            found.append(Fact("accepted", event.at, prompt=event.turn))
        elif event.kind == "prompt":
            found += joined(event.at, event.text, event.turn)
        elif event.kind == "ended":
            ended = Fact("ended", event.at, prompt=event.turn, outcome=event.outcome, error=event.error)
            ended = ended._replace(reply=event.text or None, background=event.left)
            found.append(ended._replace(reason=event.reason, resets_at=event.resets_at))
    return found


def joined(at: float, text: str, turn: str | None) -> list[Fact]:
    """A prompt that has become part of a turn."""
    return [Fact("accepted", at, text=text, prompt=turn, held=True), Fact("joined", at, text=text)]


def newest(path: str, count: int, unfinished: Collection[str | None] | None, span: int = 1 << 16) -> list[Entry]:
    """The last assistant texts, like `replies`, read from the end of the file.

    Args:
        unfinished: the turns of Codex that have not ended, whose texts are omitted; None: omit nothing.
        span: how many bytes are read at first.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        while True:
            begin = file.seek(max(0, size - span))
            found = story(file.read(size - begin).split(b"\n")[1 if begin else 0 : -1])
            # Events before the first beginning may belong to any turn.
            first = next((i for i, event in enumerate(found.events) if event.kind == "began"), len(found.events))
            without = () if unfinished is None else (*unfinished, found.open)
            texts = replies(found.events[first if begin else 0 :], without, count)
            if begin == 0 or len(texts) >= count:
                return texts
            span *= 4


def replies(events: Iterable[Event], without: Collection[str | None], count: int) -> list[Entry]:
    """The last assistant texts, without those of some turns."""
    found = [
        Entry("assistant", event.text, event.at, event.turn)
        for event in events
        if event.kind == "reply" and event.text and (event.turn is None or event.turn not in without)
    ]
    return found[-count:]
