"""The rollout file of a thread, line by line as Codex 0.171.0 writes it, and the turns in it."""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

from . import VERSION
from .script import new_id, now_ms, stamp

Fields = dict[str, Any]


class Rollout:
    """Appends to one file, which is there from its first line on."""

    def __init__(self, path: str, thread: str) -> None:
        self.path, self._thread = path, thread
        self._ordinal = Path(path).read_bytes().count(b"\n") if os.path.exists(path) else 0

    def line(self, kind: str, payload: Fields, **more: Any) -> None:
        value = {"timestamp": stamp(), "ordinal": self._ordinal, "type": kind, "payload": payload, **more}
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "ab") as file:
            file.write(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
        self._ordinal += 1

    def begin(self, cwd: str) -> None:
        fields = {"id": self._thread, "timestamp": stamp(), "cwd": cwd, "originator": "dev-sessions"}
        self.line("session_meta", {**fields, "cli_version": VERSION, "source": "vscode", "model_provider": "offline"})

    def event(self, type: str, **fields: Any) -> None:
        self.line("event_msg", {"type": type, **fields})

    def context(self, turn: str, **fields: Any) -> None:
        self.line("turn_context", {"turn_id": turn, **fields})

    def message(self, turn: str, role: str, id: str, text: str) -> None:
        user = role == "user"
        content = [{"type": "input_text" if user else "output_text", "text": text}]
        passed: Fields = {"turn_id": turn}
        if user:
            passed |= {"create_time": time.time(), "content_item_kinds": ["user.text"]}
            passed |= {"content_item_metadata": [{"provenance": {"type": "user"}}]}
        else:
            passed |= {"content_item_kinds": ["unknown"]}
        source = {"message_id": id, "turn_id": turn, "role": role}
        metadata = {**self._metadata(), "user_input_order": 0}
        metadata["retained_source"] = {"id": source, "revision": f"retained_{new_id()}", "complete": True}
        if user:
            metadata["mcp_attribution"] = {"status": "none"}
        self._response("message", metadata, id=id, role=role, content=content, turn=passed)

    def call(self, turn: str, name: str, given: Fields, id: str) -> None:
        metadata = {**self._metadata(), "user_input_order": 0}
        more = {"id": f"fc_{new_id()}", "name": name, "arguments": json.dumps(given), "call_id": id}
        self._response("function_call", metadata, **more, turn={"turn_id": turn})

    def output(self, turn: str, id: str, text: str) -> None:
        metadata = {**self._metadata(), "fallback_token_limit_override": 3000}
        passed = {"turn_id": turn, "create_time": time.time()}
        self._response("function_call_output", metadata, id=f"fco_{new_id()}", call_id=id, output=text, turn=passed)

    def item(self, turn: str, item: Fields, began: int) -> None:
        times = {"started_at_ms": began, "completed_at_ms": now_ms()}
        self.event("item_completed", thread_id=self._thread, turn_id=turn, item=item, **times)

    def _response(self, type: str, metadata: Fields, turn: Fields, **fields: Any) -> None:
        payload = {"type": type, **fields, "internal_chat_message_metadata_passthrough": turn}
        self.line("response_item", payload, metadata=metadata)

    def _metadata(self) -> Fields:
        known = {"history_sequence": self._ordinal, "sampled_through_sequence": 0, "client_authored": False}
        return {**known, "model_search_state": "unused"}


def turns(path: str, running: str | None) -> list[Fields]:
    """The turns of a rollout, oldest first, as `thread/turns/list` shows them; one without an end was interrupted."""
    found: dict[str, Fields] = {}
    with open(path, encoding="utf-8") as file:
        for payload in (json.loads(line)["payload"] for line in file):
            turn = payload.get("turn_id")
            match payload.get("type"):
                case "task_started":
                    status = "inProgress" if turn == running else "interrupted"
                    found[turn] = shown_turn(turn, status, payload["started_at"])
                case "item_completed":
                    times = payload["started_at_ms"], payload["completed_at_ms"]
                    found[turn]["items"].append(shown_item(payload["item"], *times))
                case "task_complete" | "turn_aborted":
                    found[turn] |= _end(payload)
    return list(found.values())


def _end(payload: Fields) -> Fields:
    error, failed = payload.get("error"), payload.get("error") is not None
    status = "interrupted" if payload["type"] == "turn_aborted" else "failed" if failed else "completed"
    end = {"status": status, "completedAt": payload["completed_at"], "durationMs": payload.get("duration_ms", 0)}
    return {**end, "error": shown_error(error["message"]) if error else None}


def shown_turn(id: str, status: str, began: int | None) -> Fields:
    turn: Fields = {"id": id, "rootTurnId": id, "items": [], "itemsView": "notLoaded", "status": status, "error": None}
    return {**turn, "startedAt": began, "completedAt": None, "durationMs": None}


def shown_error(message: str) -> Fields:
    return {"message": message, "codexErrorInfo": "other", "additionalDetails": None, "misalignment": None}


def viewed(turn: Fields, view: str) -> Fields:
    """A turn with as many of its items as were asked for."""
    said = [item for item in turn["items"] if item["type"] == "userMessage"][:1]
    replied = [item for item in turn["items"] if item["type"] == "agentMessage"][-1:]
    items = {"full": turn["items"], "summary": said + replied}.get(view, [])
    return {**turn, "items": items, "itemsView": view}


def shown_item(item: Fields, began: int, ended: int | None) -> Fields:
    """An item as notifications have it: there its names are written in another way than in the rollout."""
    times = {"startedAtMs": began, "completedAtMs": ended}
    match item["type"]:
        case "UserMessage":
            shown = {"type": "userMessage", "clientId": item["client_id"], "content": item["content"]}
        case "AgentMessage":
            text = "".join(part["text"] for part in item["content"])
            shown = {"type": "agentMessage", "moderation": None, "text": text, "phase": None, "memoryCitation": None}
            shown |= {"delivery": None, "questions": None}
        case _:
            shown = {"type": "commandExecution", **_shown_command(item), "pluginId": None, "scriptPath": None}
            shown["durationMs"] = None if ended is None else item.get("exit_code") and ended - began
    return {"id": item["id"], **shown, **times}


def _shown_command(item: Fields) -> Fields:
    last = item["command"][-1]
    return {
        "command": shlex.join(item["command"]),
        "cwd": item["cwd"].removeprefix("file://"),
        "processId": item["process_id"],
        "source": "unifiedExecStartup" if item["process_id"] else "agent",
        "status": "inProgress" if item["status"] == "in_progress" else item["status"],
        "commandActions": [{"type": "unknown", "command": last}],
        "aggregatedOutput": item["aggregated_output"] or None,
        "exitCode": item["exit_code"],
    }
