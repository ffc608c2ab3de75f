"""A thread that pursues a goal on its own, as `status`, `wait` and `interrupt` show it."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from codex_lab import CodexLab
from lab import is_waiting
from soak import only_in_soak

from dev_sessions.backends.codex.connection import Connection


def ask(lab: CodexLab, id: str, method: str, **params: Any) -> Any:
    """Send a request to the server, as a person's Codex would."""
    socket = lab.codex_home / "app-server-control" / "app-server-control.sock"
    with Connection(str(socket), 10) as connection:
        return connection.call(method, threadId=lab.private(id)["thread"], **params)


def test_a_goal_is_work_over_many_turns(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: ours]]") == "ours"
    ask(codex_lab, id, "thread/goal/set", objective="[[delay: 0.05]][[reply: a step]]")
    turns = lambda: [line for line in codex_lab.rollout(id) if line["payload"].get("type") == "task_started"]  # noqa: E731
    codex_lab.until(lambda: len(turns()) > 4, "turns that nobody asked for")
    assert {codex_lab.ok("status", id) for _ in range(10)} == {"working"}  # also between two turns
    assert codex_lab.ok("interrupt", id) in ("interrupted", "completed", "idle")
    assert codex_lab.ok("status", id) == "idle"
    assert ask(codex_lab, id, "thread/goal/get")["goal"]["status"] == "paused"
    count = len(turns())
    told = json.loads(codex_lab.ok("wait", id, "--json"))
    assert [(turn["turn"], turn["reply"]) for turn in told["turns"]] == [(1, "ours")]
    assert codex_lab.ok("ask", id, "[[reply: ours again]]") == "ours again"
    assert len(turns()) == count + 1  # the goal was not resumed


@only_in_soak
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
    assert codex_lab.ok("goal", id).startswith("paused (")  # showing it does not start it
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


@only_in_soak
def test_a_goal_is_there_after_its_server_is_gone(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    codex_lab.ok("goal", id, "[[hold: step]][[reply: a step]]")
    assert codex_lab.model.wait_until_blocked("step")
    (note,) = codex_lab.state.glob("codex/*/daemon.json")
    os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)
    codex_lab.until(lambda: codex_lab.ok("status", id) == "idle", "the death is seen")
    assert json.loads(codex_lab.ok("goal", id, "--json"))["status"] == "active"
    assert codex_lab.ok("status", id) == "idle"


def test_waiting_until_a_goal_is_reached(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    done = codex_lab.run("wait", id, "--goal", "--json")
    assert (done.code, done.json["error"]["message"]) == (2, f"{id} has no goal")
    codex_lab.ok("goal", id, f"[[hold: g]][[tool: update_goal {json.dumps({'status': 'complete'})}]][[reply: reached]]")
    assert codex_lab.model.wait_until_blocked("g")
    done = codex_lab.run("wait", id, "--goal", "--timeout", "0.2")
    assert done[:2] == (124, "working\n")
    waiting = codex_lab.start("wait", id, "--goal", "--json")
    codex_lab.model.release("g")
    told = codex_lab.finish(waiting).json
    assert (told["outcome"], told["error"], told["goal"]["status"]) == ("complete", None, "complete")
    assert codex_lab.ok("last-message", id) == "reached"  # its turn has ended too, not only the goal
    assert codex_lab.ok("wait", id, "--goal") == "complete"


def test_waiting_for_a_goal_that_is_not_reached(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    codex_lab.ok("goal", id, "[[delay: 0.05]][[reply: a step]]")
    waiting = codex_lab.start("wait", id, "--goal")
    codex_lab.until(lambda: len(codex_lab.model.requests) > 2, "some turns")
    assert waiting.poll() is None  # turns end, and the goal continues
    codex_lab.ok("goal", id, "--pause")
    done = codex_lab.finish(waiting)
    assert (done.code, done.out) == (5, "paused\n")
    assert f"dev-sessions goal {id} --resume" in done.err
    before = len(codex_lab.model.requests)
    assert codex_lab.run("wait", id, "--goal")[:2] == (5, "paused\n")
    assert len(codex_lab.model.requests) == before  # waiting does not start the goal
    codex_lab.ok("goal", id, "--budget", "150")  # a step takes 110 tokens
    assert codex_lab.run("wait", id, "--goal")[:2] == (5, "budgetLimited\n")
    codex_lab.ok("goal", id, "--clear")
    codex_lab.ok("goal", id, "[[error: 400]]")
    done = codex_lab.run("wait", id, "--goal")
    assert done[:2] == (5, "blocked\n")
    assert "scripted error 400" in done.err
    codex_lab.ok("goal", id, "[[hold: last]][[reply: a step]]")
    assert codex_lab.model.wait_until_blocked("last")
    waiting = codex_lab.start("wait", id, "--goal")
    codex_lab.ok("goal", id, "--clear")
    codex_lab.model.release("last")
    assert codex_lab.finish(waiting)[:2] in ((5, "cleared\n"), (2, ""))  # the wait began before or after it


def test_a_goal_that_nobody_pursues_is_not_waited_for(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    codex_lab.ok("goal", id, "[[hold: step]][[reply: a step]]")
    assert codex_lab.model.wait_until_blocked("step")
    (note,) = codex_lab.state.glob("codex/*/daemon.json")
    os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)
    done = codex_lab.run("wait", id, "--goal")
    assert done[:2] == (5, "interrupted\n")
    assert "the agent has stopped pursuing the goal (the Codex app-server ended in the middle of the turn)" in done.err
    assert f"resume it with: dev-sessions goal {id} --resume" in done.err
    codex_lab.ok("goal", id, "--resume")
    assert codex_lab.model.wait_until_blocked("step")
    assert codex_lab.ok("status", id) == "working"


def test_the_next_turn_is_one_of_a_goal_or_of_a_person(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: ours]]") == "ours"
    waiting = codex_lab.start("wait", id, "--next-turn", "--json")
    codex_lab.ok("goal", id, "[[delay: 0.3]][[reply: a step]]")
    told = codex_lab.finish(waiting).json
    assert (told["outcome"], told["turn"]) == ("completed", None)
    assert [(turn["turn"], turn["reply"]) for turn in told["turns"]] == [(None, "a step")]
    told = json.loads(codex_lab.ok("wait", id, "--next-turn", "--json"))
    assert [turn["reply"] for turn in told["turns"]] == ["a step"]
    codex_lab.ok("goal", id, "--clear")
    codex_lab.until(lambda: codex_lab.ok("status", id) == "idle", "the end of the last step")
    assert codex_lab.run("wait", id, "--next-turn", "--timeout", "0.2").code == 124
    waiting = codex_lab.start("wait", id, "--next-turn", "--json")
    codex_lab.until(lambda: codex_lab.ok("ask", id, "[[reply: more]]") and waiting.poll() is not None, "its end")
    told = codex_lab.finish(waiting).json
    assert [(turn["turn"], turn["reply"]) for turn in told["turns"]] == [(told["turn"], "more")]


def test_an_objective_from_standard_input(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    text = "[[hold: step]][[reply: a step]] \u00fc " + "x" * 3000
    shown = codex_lab.run("goal", id, "--file", "-", "--json", stdin=text).json
    assert (shown["objective"], shown["status"]) == (text, "active")
    assert codex_lab.model.wait_until_blocked("step")
    for words in (["--pause", "--clear"], ["other", "--pause"], ["", "--json"], ["--budget", "0"]):
        assert codex_lab.run("goal", id, *words).code == 2
    assert json.loads(codex_lab.ok("goal", id, "--json"))["objective"] == text


def test_a_person_at_the_terminal_types_and_stops_the_goal(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    codex_lab.ok("ask", id, "hello")
    codex_lab.sit_down(id)
    waiting = codex_lab.start("wait", id, "--next-turn", "--json")
    codex_lab.until(lambda: is_waiting(waiting.pid), "the wait to begin")
    codex_lab.type(id, "[[hold: a]][[reply: theirs]]")
    assert codex_lab.model.wait_until_blocked("a")
    assert waiting.poll() is None
    codex_lab.model.release("a")
    assert [(turn["turn"], turn["reply"]) for turn in codex_lab.finish(waiting).json["turns"]] == [(None, "theirs")]
    codex_lab.ok("goal", id, "[[hold: g]][[reply: a step]]")
    assert codex_lab.model.wait_until_blocked("g")
    waiting = codex_lab.start("wait", id, "--goal")
    codex_lab.until(lambda: "esc to" in codex_lab.screen(id), "the goal in the terminal")
    codex_lab.keys(id, "Escape")
    assert codex_lab.finish(waiting)[:2] == (5, "paused\n")  # Codex's terminal pauses the goal on Escape
    assert codex_lab.ok("status", id) == "idle"


def test_a_goal_that_needs_a_permission_ends_the_wait(codex_lab: CodexLab) -> None:
    id = codex_lab.create("--permissions", "ask")
    codex_lab.ok("goal", id, "[[bash: touch made]][[reply: a step]]")
    done = codex_lab.run("wait", id, "--goal")
    assert done[:2] == (6, "waiting_for_input\n")
    assert "touch made" in done.err
    assert codex_lab.run("wait", id, "--next-turn")[:2] == (6, "waiting_for_input\n")
    codex_lab.ok("interrupt", id)
    assert codex_lab.run("wait", id, "--goal")[:2] == (5, "paused\n")


@pytest.mark.parametrize(
    ("permissions", "first"),
    [
        ("ask", "a goal"),
        ("full", "a turn of another server"),
        pytest.param("full", "a goal", marks=only_in_soak),
        pytest.param("ask", "a turn of another server", marks=only_in_soak),
    ],
)
def test_permissions_and_model_hold_from_the_first_turn_on(codex_lab: CodexLab, permissions: str, first: str) -> None:
    id = codex_lab.create("--permissions", permissions, "--model", "gpt-5-mini")
    if first == "a goal":
        codex_lab.ok("goal", id, "[[error: 400]]")
        assert codex_lab.run("wait", id, "--goal").code == 5
    else:
        (note,) = codex_lab.state.glob("codex/*/daemon.json")
        os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)
        codex_lab.ok("ask", id, "[[reply: hello]]")
    terms = [line["payload"] for line in codex_lab.rollout(id) if line["type"] == "turn_context"]
    policy, sandbox = {"full": ("never", "danger-full-access"), "ask": ("untrusted", "read-only")}[permissions]
    assert terms
    for one in terms:
        assert (one["approval_policy"], one["sandbox_policy"]["type"], one["model"]) == (policy, sandbox, "gpt-5-mini")
