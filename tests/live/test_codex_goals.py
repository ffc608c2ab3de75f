"""A thread that pursues a goal by itself, as far as it shows in `status`, `wait` and `interrupt`."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from codex_lab import CodexLab

from dev_sessions.backends.codex.connection import Connection


def ask(lab: CodexLab, id: str, method: str, **params: Any) -> Any:
    """What a person's Codex would ask of the server."""
    socket = lab.codex_home / "app-server-control" / "app-server-control.sock"
    with Connection(str(socket), 10) as connection:
        return connection.call(method, threadId=lab.private(id)["thread"], **params)


def test_a_goal_is_work_over_many_turns(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: ours]]") == "ours"
    ask(codex_lab, id, "thread/goal/set", objective="[[delay: 0.05]][[reply: a step]]")
    turns = lambda: [line for line in codex_lab.rollout(id) if line["payload"].get("type") == "task_started"]  # noqa: E731
    codex_lab.until(lambda: len(turns()) > 4, "turns that nobody asked for")
    assert {codex_lab.ok("status", id) for _ in range(10)} == {"working"}  # between two turns, too
    assert codex_lab.ok("interrupt", id) in ("interrupted", "idle")
    assert codex_lab.ok("status", id) == "idle"
    assert ask(codex_lab, id, "thread/goal/get")["goal"]["status"] == "paused"
    count = len(turns())
    told = json.loads(codex_lab.ok("wait", id, "--json"))
    assert [(turn["turn"], turn["reply"]) for turn in told["turns"]] == [(1, "ours")]
    assert codex_lab.ok("ask", id, "[[reply: ours again]]") == "ours again"
    assert len(turns()) == count + 1  # it was not set going again


def test_a_goal_that_is_reached(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    done = json.dumps({"status": "complete"})
    ask(codex_lab, id, "thread/goal/set", objective=f"[[hold: g]][[tool: update_goal {done}]][[reply: reached]]")
    assert codex_lab.model.wait_until_blocked("g")
    assert codex_lab.ok("status", id) == "working"
    codex_lab.model.release("g")
    codex_lab.until(lambda: codex_lab.ok("status", id) == "idle", "the end of the goal")
    assert codex_lab.ok("last-message", id) == "reached"
    assert codex_lab.ok("wait", id) == "idle"


def test_a_goal_is_set_shown_paused_resumed_and_cleared(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    assert codex_lab.ok("goal", id) == "no goal"
    assert codex_lab.ok("goal", id, "--json") == "null"
    assert codex_lab.run("goal", id, "--pause").code == 2
    brief = codex_lab.path / "objective.md"
    brief.write_text("[[hold: step]][[delay: 0.05]][[reply: a step]]")
    set_ = json.loads(codex_lab.ok("goal", id, "--file", str(brief), "--budget", "1000000", "--json"))
    assert (set_["status"], set_["objective"], set_["token_budget"]) == ("active", brief.read_text(), 1000000)
    assert codex_lab.model.wait_until_blocked("step")
    assert codex_lab.ok("status", id) == "working"
    assert codex_lab.ok("goal", id, "--pause").startswith("paused (")
    codex_lab.model.release("step")
    codex_lab.until(lambda: codex_lab.ok("status", id) == "idle", "the end of the turn")
    before = len(codex_lab.model.requests)
    assert codex_lab.ok("goal", id).startswith("paused (")  # looking at it starts nothing
    assert codex_lab.ok("goal", id, "--resume").startswith("active (")
    codex_lab.until(lambda: len(codex_lab.model.requests) > before + 3, "more turns")
    assert codex_lab.ok("goal", id, "--clear") == "no goal"
    codex_lab.until(lambda: codex_lab.ok("status", id) == "idle", "the end of the last turn")
    assert codex_lab.ok("goal", id) == "no goal"


def test_a_budget_ends_a_goal(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    codex_lab.ok("goal", id, "[[delay: 0.05]][[reply: a step]]", "--budget", "150")
    codex_lab.until(lambda: codex_lab.ok("goal", id).startswith("budgetLimited ("), "the end of the budget")
    codex_lab.until(lambda: codex_lab.ok("status", id) == "idle", "the end of the last turn")


def test_a_goal_is_there_after_its_server_is_gone(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    codex_lab.ok("goal", id, "[[hold: step]][[reply: a step]]")
    assert codex_lab.model.wait_until_blocked("step")
    (note,) = codex_lab.state.glob("codex/*/daemon.json")
    os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)
    codex_lab.until(lambda: codex_lab.ok("status", id) == "idle", "the death is seen")
    assert json.loads(codex_lab.ok("goal", id, "--json"))["status"] == "active"
    assert codex_lab.ok("status", id) == "idle"
