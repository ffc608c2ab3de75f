"""Codex's own record of a thread, the rollout file: what was said, and which turns began and ended how.

It is written before the app-server tells anybody (0.169.0: a turn's end some 10 ms before `turn/completed`), goes on
when nobody is connected, and outlives the server. Lines as of 0.139 and 0.169: `{"timestamp", "type", "payload"}`.
"""

from __future__ import annotations

import json
import os

from ...model import COMPLETED, FAILED, INTERRUPTED, LIMIT, Entry, Fact
from ...system import files
from ...values import NamedTuple, as_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import IO, Any

# A line that holds none of these is none that we read: most of a rollout is context and tool output.
_MARKS = (
    b'"task_started"',
    b'"task_complete"',
    b'"turn_aborted"',
    b'"UserMessage"',
    b'"AgentMessage"',
    b'"CommandExecution"',
    b'"CollabAgentToolCall"',
    b'"SubAgentActivity"',
    b'"user_message"',
    b'"agent_message"',
    b'"function_call"',
    b'"function_call_output"',
    b'"custom_tool_call"',
    b'"custom_tool_call_output"',
    b'"thread_goal_updated"',
    b'"rate_limits"',
)

# What a command's output begins with that the model did not wait for, and that goes on.
_LEFT = "\nProcess running with session ID "

# The tool through which newer models run commands, by a script that may tell nobody what it has left running (0.169).
SCRIPT = "exec"

# Codex 0.139 ends a failed turn like any other, and writes the reason nowhere; it has no answer, that is all.
_UNTOLD = "the turn ended without an answer, and this version of Codex keeps no reason (codex --version)"

# Why a turn has no end, if nobody runs it. It was the server of somebody else's Codex, perhaps.
DIED = "the Codex app-server ended in the middle of the turn"


class Call(NamedTuple):
    """A tool call of the model that has no output yet."""

    id: str
    name: str
    given: dict[str, Any]
    at: float


class Event(NamedTuple):
    """One line that matters. `kind` is "began", "ended", "said" (by the user) or "replied".

    `left` is how many commands were running when a turn ended. `reason` and `resets_at` are those of a `Fact`. `root`
    is the turn that one is about which Codex has begun by itself, for a subagent's sake, or its own id (0.139 does not
    tell).
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
    """What a rollout tells: events in their order, calls without an output, the turn that has not ended.

    `goal` is what it last told of the thread's goal; that it was taken away, it does not tell (0.169.0). `left` counts
    the commands that go on by themselves, as far as it tells; those that died with their server, it does not tell, nor
    those that `scripts` have started. `agents` are the threads that it has started as its subagents.
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


def read(path: str, begin: int = 0) -> Story:
    """The story from a byte on, at which no turn may be open."""
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            content = file.read()
    except FileNotFoundError:
        content = b""
    whole = content.rfind(b"\n") + 1
    return tell(content[:whole].split(b"\n"), begin + whole)


def tell(lines: Iterable[bytes], size: int = 0) -> Story:
    """The story that lines tell."""
    events: list[Event] = []
    calls: dict[str, Call] = {}
    running: str | None = None
    goal: dict[str, Any] | None = None
    left: set[str] = set()
    reset: float | None = None
    agents: dict[str, None] = {}
    scripts = False
    for kind, payload, at in _payloads(lines):
        _note_left(left, payload)
        agents.update(dict.fromkeys(_started(payload, calls)))
        if kind == "response_item":
            scripts = scripts or (payload.get("type") == "custom_tool_call" and payload.get("name") == SCRIPT)
            _note_call(calls, payload, at)
            continue
        if payload.get("type") == "thread_goal_updated":
            goal = payload["goal"] if isinstance(payload.get("goal"), dict) else None
            continue
        if payload.get("type") == "token_count":
            reset = _reset(payload.get("rate_limits"))
            continue
        found = event(payload, at, running)
        if found is None or (found.kind in ("said", "replied") and _told_already(events, found)):
            continue
        if found.kind == "began":
            running, reset = found.turn, None
        elif found.kind == "ended":
            running = None
            calls.clear()
            found = found._replace(left=len(left), resets_at=reset if found.reason == LIMIT else None)
        events.append(found)
    return Story(events, list(calls.values()), running, size, goal, len(left), tuple(agents), scripts)


def _payloads(lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any], float]]:
    for line in lines:
        if any(mark in line for mark in _MARKS):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            payload = value.get("payload") if isinstance(value, dict) else None
            if isinstance(payload, dict) and value.get("type") in ("event_msg", "response_item"):
                yield value["type"], payload, seconds(value.get("timestamp"))


def seconds(stamp: Any) -> float:
    """A time as Codex writes it (2026-11-23T00:45:43.393Z, cut to milliseconds), since the epoch."""
    text = str(stamp)
    try:
        if text[10:11] != "T" or text[-1:] != "Z":
            return 0.0
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        hours, minutes, rest = int(text[11:13]), int(text[14:16]), float(text[17:-1])
    except ValueError:
        return 0.0
    if not 0 <= rest < 61:
        return 0.0
    # By hand, since `datetime` takes 4 ms to import. Years begin in March here, so that February ends them.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
    # Half of what was cut off: never before the moment that it stands for, as far as we can tell.
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest + 0.001


def event(payload: dict[str, Any], at: float, running: str | None) -> Event | None:
    """What an event of Codex's tells in words of ours; None of one that tells nothing that matters."""
    turn = payload.get("turn_id") or running
    match payload.get("type"):
        case "task_started":
            return Event("began", at, turn, root=payload.get("root_turn_id"))
        case "task_complete":
            error = _words(payload.get("error"))
            if error is None and payload.get("last_agent_message") is None and "started_at" not in payload:
                error = _UNTOLD
            outcome = FAILED if error is not None else COMPLETED
            reply, reason = str(payload.get("last_agent_message") or ""), _reason(payload.get("error"))
            return Event("ended", at, turn, reply, None, outcome, error, reason=reason)
        case "turn_aborted":
            return Event("ended", at, turn, outcome=INTERRUPTED)
        case "item_completed":
            return _item(payload.get("item"), at, turn)
        case "user_message":
            return Event("said", at, turn, str(payload.get("message", "")), payload.get("client_id"))
        case "agent_message":
            return Event("replied", at, turn, str(payload.get("message", "")))
    return None


def _item(item: Any, at: float, turn: str | None) -> Event | None:
    if not isinstance(item, dict) or item.get("type") not in ("UserMessage", "AgentMessage"):
        return None
    parts = [part for part in item.get("content") or () if isinstance(part, dict)]
    text = "".join(str(part.get("text", "")) for part in parts)
    if item["type"] == "AgentMessage":
        return Event("replied", at, turn, text)
    return Event("said", at, turn, text, item.get("client_id"))


def _told_already(events: list[Event], event: Event) -> bool:
    last = next((one for one in reversed(events) if one.kind == event.kind), None)
    return last is not None and is_echo(last, event)


def is_echo(last: Event, event: Event) -> bool:
    """Versions that write an item and an older kind of event for the same message write them one after the other."""
    return last[2:4] == event[2:4] and abs(last.at - event.at) < 0.5 and event.client in (None, "")


def _words(error: Any) -> str | None:
    """The error of a turn, in the words of the model's server where there are any."""
    if not error:
        return None
    text = str(error.get("message") or error) if isinstance(error, dict) else str(error)
    try:
        inner = json.loads(text)
    except ValueError:
        return text
    said = inner.get("error") if isinstance(inner, dict) else None
    message = said.get("message") if isinstance(said, dict) else said
    return str(message) if message else text


def _reason(error: Any) -> str | None:
    """Why a turn failed, by Codex's own kinds of errors (0.169.0, 0.171.0): a limit is what the model's service answers
    with the status 429, of a plan or of an API key.
    """
    kind = error.get("codex_error_info") if isinstance(error, dict) else None
    if isinstance(kind, dict):
        details = next(iter(kind.values()), None)
        return LIMIT if isinstance(details, dict) and details.get("http_status_code") == 429 else None
    return LIMIT if kind in ("usage_limit_exceeded", "rate_limit_exceeded") else None


def _reset(limits: Any) -> float | None:
    """When an account can be used again, by what the service said last: once no window of it is used up any more."""
    windows = [limits.get(name) for name in ("primary", "secondary")] if isinstance(limits, dict) else []
    full = [one for one in windows if isinstance(one, dict) and as_number(one.get("used_percent")) >= 100]
    return max((as_number(one.get("resets_at")) for one in full), default=0.0) or None


def _note_call(calls: dict[str, Call], payload: dict[str, Any], at: float) -> None:
    kind, id = str(payload.get("type")), str(payload.get("call_id"))
    if kind.endswith("_output"):
        calls.pop(id, None)
    elif kind in ("function_call", "custom_tool_call"):
        calls[id] = Call(id, str(payload.get("name", "")), given(payload), at)


def output(path: str, call: str, begin: int = 0) -> str | None:
    """What a call of the model has returned, as text; None if it has not yet."""
    mark = json.dumps(call).encode()
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            lines = [line for line in file if mark in line]
    except FileNotFoundError:
        return None  # archived meanwhile
    for _, payload, _ in _payloads(lines):
        if str(payload.get("type")).endswith("_output") and payload.get("call_id") == call:
            told = payload.get("output")
            return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
    return None


def _note_left(left: set[str], payload: dict[str, Any]) -> None:
    """Note a command that was left running, or its end; of versions that write down its end (0.139 does not)."""
    item = payload.get("item")
    if isinstance(item, dict) and item.get("type") == "CommandExecution":
        left.discard(str(item.get("process_id")))
    elif payload.get("type") == "function_call_output" and "internal_chat_message_metadata_passthrough" in payload:
        head = str(payload.get("output")).partition("\nOutput:\n")[0]
        number = head.partition(_LEFT)[2].partition("\n")[0]
        if number:
            left.add(number)


def _started(payload: dict[str, Any], calls: dict[str, Call]) -> list[str]:
    """The threads of subagents that were started here: there are two kinds of these, and 0.139 has its own words."""
    item = payload.get("item")
    if isinstance(item, dict):
        if item.get("type") == "SubAgentActivity" and item.get("kind") == "started":
            return [str(item.get("agent_thread_id"))]
        receivers = item.get("receiver_thread_ids") if item.get("type") == "CollabAgentToolCall" else None
        return [str(one) for one in receivers] if isinstance(receivers, list) else []
    call = calls.get(str(payload.get("call_id")))
    if payload.get("type") != "function_call_output" or call is None or call.name != "spawn_agent":
        return []
    id = files.parse_object(str(payload.get("output")).encode(errors="replace")) or {}
    return [id["agent_id"]] if isinstance(id.get("agent_id"), str) else []


def given(payload: dict[str, Any]) -> dict[str, Any]:
    """The input of a tool call."""
    text = payload.get("arguments") or payload.get("input") or "{}"
    try:
        value = json.loads(text)
    except (ValueError, TypeError):
        value = None
    return value if isinstance(value, dict) else {"input": text}


def facts(events: Iterable[Event]) -> list[Fact]:
    """What the events say in words that all agents share.

    A turn is taken when it begins: some (of a goal) have no prompt of anybody's. What is said in a turn joins it.
    """
    found: list[Fact] = []
    for event in events:
        if event.kind == "began":
            found.append(Fact("accepted", event.at, prompt=event.turn))
        elif event.kind == "said":
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
    """The last assistant texts, as `replies`, of as little of the file's end as holds them.

    Args:
        unfinished: None, or these turns are one that has not ended; what they have said is left out.
        span: how many bytes are read at first.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        while True:
            begin = max(0, size - span)
            found = tell(_lines(file, begin, size))
            # The rest of a turn whose beginning is not read may be anybody's.
            first = next((i for i, event in enumerate(found.events) if event.kind == "began"), len(found.events))
            without = () if unfinished is None else (*unfinished, found.open)
            texts = replies(found.events[first if begin else 0 :], without, count)
            if begin == 0 or len(texts) >= count:
                return texts
            span *= 4


def _lines(file: IO[bytes], begin: int, end: int) -> list[bytes]:
    """The whole lines of that part of a file."""
    file.seek(begin)
    lines = file.read(end - begin).split(b"\n")
    return lines[1 if begin else 0 : -1]


def replies(events: Iterable[Event], without: Collection[str | None], count: int) -> list[Entry]:
    """The last assistant texts, but for those of some turns."""
    found = [
        Entry("assistant", event.text, event.at, event.turn)
        for event in events
        if event.kind == "replied" and event.text and (event.turn is None or event.turn not in without)
    ]
    return found[-count:]
