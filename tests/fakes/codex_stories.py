"""Short recorded stories of the real Codex: their rollouts, and the app-server's messages.

    python tests/fakes/codex_stories.py CODEX tests/data/codex-VERSION

makes turns, question, permission, crash and frames; and of a Codex that has subagents, agents (the session's own
rollout) and agent (a subagent's).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from codex_exchange import NOBODY, Line
from codex_lab import OLDER_TOOLS, CodexLab, subagent
from lab import ROOT

ASKED = {"cmd": "touch x", "sandbox_permissions": "require_escalated", "justification": "May I?"}
# What is kept of a line that holds more than matters here.
KEPT = {
    "session_meta": ("id", "timestamp", "cwd", "originator", "cli_version", "source", "model_provider"),
    "task_started": ("type", "turn_id", "root_turn_id", "started_at"),
    "thread/read": ("id", "status", "path", "cwd", "cliVersion"),
}
UNREAD = ("configWarning", "remoteControl", "account/", "thread/tokenUsage", "thread/readState", "thread/started")
CONTEXT = ("AGENTS.md", "<environment_context")
TOLD = ("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output")
HAPPENED = ("task_started", "task_complete", "turn_aborted", "item_completed", "user_message", "agent_message")


def main() -> None:
    with CodexLab(os.path.realpath(sys.argv[1])) as lab:
        _save(lab, "turns", _turns(lab))
        for name, words in (("question", "[[ask: Which?|Red|Blue]]"), ("permission", _escalated())):
            id = lab.create("--permissions", "edit")
            lab.ok("send", id, f"{words}[[reply: x]]")
            assert lab.run("wait", id).code == 6
            _save(lab, name, lab.rollout(id))
            lab.ok("kill", id)
        _agents(lab)
        id = lab.create()
        lab.ok("send", id, "[[hold: c]]")
        assert lab.model.wait_until_blocked("c")
        _kill_server(lab)
        lab.ok("ask", id, "[[reply: back]]")
        _save(lab, "crash", lab.rollout(id))
        _kill_server(lab)
        lab.ok("create", "--cli", "codex", "-q")  # starts another server, in which the thread is not loaded
        _frames(lab, lab.private(id)["thread"])


def _escalated() -> str:
    return f"[[tool: exec_command {json.dumps(ASKED)}]]"


def _turns(lab: CodexLab) -> list[dict[str, Any]]:
    id = lab.create()
    lab.ok("ask", id, "[[reply: hello]]")
    lab.ok("ask", id, "[[reply: first]][[bash: echo out]][[reply: second]]")
    assert lab.run("ask", id, "[[error: 400]]").code == 5
    lab.ok("send", id, "[[hold: a]][[reply: x]]")
    assert lab.model.wait_until_blocked("a")
    lab.ok("interrupt", id)
    lab.ok("send", id, "[[hold: b]][[reply: x]]")
    assert lab.model.wait_until_blocked("b")
    lab.ok("send", id, "[[reply: both]]")
    lab.model.release("b")
    lab.ok("wait", id)
    return lab.rollout(id)


def _agents(lab: CodexLab) -> None:
    """A subagent that ends after the turn of its parent; a message meanwhile; and one that is interrupted."""
    id = lab.create()
    lab.ok("send", id, f"{subagent(OLDER_TOOLS, '[[hold: d]][[reply: of the subagent]]')}[[reply: so far]]")
    assert lab.model.wait_until_blocked("d")
    lab.until(lambda: lab.answered(id) == 1, "the agent's own part is over")
    lab.ok("send", id, "[[reply: meanwhile]]")
    lab.until(lambda: lab.answered(id) == 2, "the answer to the second message")
    lab.model.release("d")
    lab.ok("wait", id)
    lab.ok("send", id, f"{subagent(OLDER_TOOLS, '[[hold: e]]')}[[reply: so far]]")
    assert lab.model.wait_until_blocked("e")
    lab.until(lambda: lab.answered(id) == 3, "the agent's own part is over")
    lab.ok("interrupt", id)
    _save(lab, "agents", lab.rollout(id))
    own = lab.private(id)["thread"]
    first = min(path for path in lab.codex_home.glob("sessions/**/rollout-*.jsonl") if _parent(path) == own)
    _save(lab, "agent", [json.loads(line) for line in first.read_text().splitlines()])
    lab.ok("kill", id)


def _parent(path: Path) -> str | None:
    with path.open() as file:
        source = json.loads(file.readline())["payload"].get("source")
    spawned = source.get("subagent", {}).get("thread_spawn", {}) if isinstance(source, dict) else {}
    return spawned.get("parent_thread_id")


def _kill_server(lab: CodexLab) -> None:
    for pid in lab.servers():
        os.kill(pid, signal.SIGKILL)
    lab.until(lambda: not lab.servers(), "the end of the server")


def _frames(lab: CodexLab, thread: str) -> None:
    with Line(str(lab.codex_home / "app-server-control" / "app-server-control.sock")) as line:
        given = [{"type": "text", "text": "[[ask: Which?|A|B]]"}]
        line.ask("thread/read", threadId=thread)
        more = {"features.default_mode_request_user_input": True}
        line.ask("thread/resume", threadId=thread, excludeTurns=True, config=more)
        line.ask("thread/read", threadId=thread)
        started = line.ask("turn/start", threadId=thread, input=given, clientUserMessageId="c/1")
        turn = started["result"]["turn"]["id"]
        line.notice("item/tool/requestUserInput")
        line.ask("thread/read", threadId=thread)
        line.ask("turn/steer", threadId=thread, expectedTurnId="nope", input=given)
        line.ask("turn/interrupt", threadId=thread, turnId=turn)
        line.notice("turn/completed")
        line.notice("serverRequest/resolved")
        line.ask("thread/nosuch", threadId=thread)
        line.ask("turn/start", threadId=NOBODY, input=given)
        line.ask("thread/resume", threadId=NOBODY, excludeTurns=True)
        unread = (
            "configWarning",
            "remoteControl",
            "account/",
            "thread/tokenUsage",
            "thread/readState",
            "thread/started",
        )
        told = [frame for frame in line.told if not str(frame.get("method", "")).startswith(unread)]
        for frame in told:
            about = (frame.get("result") or {}).get("thread")
            if about:
                frame["result"] = {"thread": {key: about.get(key) for key in KEPT["thread/read"]}}
        _write(lab, "frames", told)


def _save(lab: CodexLab, name: str, lines: list[dict[str, Any]]) -> None:
    kept = []
    for line in lines:
        payload, kind = line["payload"], line["payload"].get("type")
        happened = line["type"] == "event_msg" and kind in HAPPENED
        told = line["type"] == "response_item" and kind in TOLD and payload.get("role") != "developer"
        context = kind == "message" and any(
            mark in json.dumps(payload) for mark in ("AGENTS.md", "<environment_context")
        )
        if line["type"] == "session_meta" or happened or (told and not context):
            names = KEPT.get(kind or line["type"])
            shown = {key: payload[key] for key in names if key in payload} if names else payload
            kept.append({**line, "payload": shown})
    _write(lab, name, kept)


def _write(lab: CodexLab, name: str, rows: list[dict[str, Any]]) -> None:
    """Nothing of this machine."""
    with Path(sys.argv[2], f"{name}.jsonl").open("w") as file:
        for row in rows:
            shown = json.dumps(row, separators=(",", ":"), ensure_ascii=False)
            file.write(shown.replace(str(lab.path), "/lab").replace(str(ROOT), "/checkout") + "\n")


if __name__ == "__main__":
    main()
