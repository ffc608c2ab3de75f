"""Work that outlives what the agent calls the end of its turn: subagents, Stop hooks, commands left running."""

from __future__ import annotations

import json

import pytest
from lab import Lab

SCRIPT = "[[hold: sub]][[bash: touch done]][[reply: made it [[reply: all is done]]]]"
SUBAGENT = f"[[agent: helper|{SCRIPT}]][[reply: started]]"


@pytest.fixture
def at_work(lab: Lab) -> str:
    """A session whose agent rests while its subagent works."""
    id = lab.create()
    lab.ok("send", id, SUBAGENT)
    assert lab.model.wait_until_blocked("sub", 60)
    lab.until(lambda: stops(lab, id) == ["started"], "the end of the agent's own work")
    return id


def stops(lab: Lab, id: str) -> list[str]:
    """What the agent said each time it stopped."""
    reports = [json.loads(path.read_text()) for path in sorted((lab.folder(id) / "facts").glob("[!.]*.json"))]
    ends = [one for one in reports if one.get("hook_event_name") == "Stop"]
    return [one["last_assistant_message"] for one in ends]


def reply(lab: Lab, id: str, turn: int) -> str:
    """The reply to one message, awaited."""
    turns = lab.run("wait", id, "--turn", str(turn), "--json").json["turns"]
    return str(next(one["reply"] for one in turns if one["turn"] == turn))


def test_messages_meanwhile_have_turns_of_their_own_and_queued_ones_wait(lab: Lab, at_work: str) -> None:
    status = lab.run("status", at_work, "--json").json
    assert (status["status"], [one["kind"] for one in status["left"]]) == ("working", ["agent"])
    assert lab.ok("send", at_work, "[[reply: between]]") == "started (turn 2)"
    assert lab.ok("wait", at_work, "--turn", "2", "--timeout", "60") == "completed"
    assert lab.ok("send", at_work, "[[reply: afterwards]]", "--queue").startswith("queued")
    assert lab.run("wait", at_work, "--timeout", "2").code == 124
    assert lab.ok("status", at_work) == "working"
    lab.model.release("sub")
    assert [reply(lab, at_work, turn) for turn in (1, 2, 3)] == ["all is done", "between", "afterwards"]
    assert (lab.project / "done").exists()


def test_an_interrupt_ends_the_subagents_too(lab: Lab, at_work: str) -> None:
    waiting = lab.start("wait", at_work)
    assert lab.ok("interrupt", at_work) == "interrupted"
    assert lab.finish(waiting)[:2] == (5, "interrupted\n")
    assert lab.ok("status", at_work) == "idle"
    lab.model.release("sub")
    assert lab.ok("ask", at_work, "[[reply: goes on]]") == "goes on"
    assert not (lab.project / "done").exists()


def test_a_delegation_is_over_when_its_subagents_are(lab: Lab) -> None:
    delegated = lab.start("sync-delegate", SUBAGENT)
    assert lab.model.wait_until_blocked("sub", 60)
    (row,) = lab.run("list", "--json").json
    lab.until(lambda: stops(lab, row["id"]) == ["started"], "the end of the agent's own work")
    lab.model.release("sub")
    done = lab.finish(delegated)
    assert (done.code, done.out) == (0, "all is done\n")
    assert (lab.project / "done").exists()
    left = lab.run("sync-delegate", "[[bash_bg: sleep 1000]][[reply: serves]]")
    assert (left.code, left.out) == (0, "serves\n")
    assert "still ran there: sleep 1000" in left.err


def test_a_stop_hook_of_the_users_that_makes_claude_go_on(lab: Lab) -> None:
    once = lab.path / "once"
    once.touch()
    block = json.dumps({"decision": "block", "reason": "[[hold: more]][[reply: better]]"})
    command = f"[ -e '{once}' ] && rm '{once}' && echo '{block}'; exit 0"
    settings = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": command}]}]}}
    folder = lab.home / ".claude"
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    id = lab.create()
    lab.ok("send", id, "[[reply: first]]")
    assert lab.model.wait_until_blocked("more", 60)
    assert stops(lab, id) == ["first"]
    assert lab.ok("status", id) == "working"
    assert lab.ok("send", id, "[[reply: afterwards]]", "--queue").startswith("queued")
    assert lab.run("wait", id, "--turn", "1", "--timeout", "1").code == 124
    lab.model.release("more")
    assert [reply(lab, id, turn) for turn in (1, 2)] == ["better", "afterwards"]


def test_a_subagent_that_ends_before_the_agent_does(lab: Lab) -> None:
    """The agent is told of it with the result of its next tool, or, if it uses none, after an end that names none."""
    id = lab.create()
    for word, rest, ends, reply in (("tool", "[[bash: true]]", 1, "both"), ("none", "", 2, "all is done")):
        before, script = len(stops(lab, id)), f"[[hold: sub {word}]][[reply: {word} [[reply: all is done]]]]"
        lab.ok("send", id, f"[[agent: helper|{script}]][[hold: end {word}]]{rest}[[reply: both]]")
        for name in ("sub", "end"):
            assert lab.model.wait_until_blocked(f"{name} {word}", 60)
        known = str(lab.transcript(id)).count("<task-notification>")
        lab.model.release(f"sub {word}")
        lab.until(lambda: str(lab.transcript(id)).count("<task-notification>") > known, "the end of the subagent")  # noqa: B023
        waiting = lab.start("wait", id, "--json")
        lab.until(lambda: lab.is_waiting(waiting.pid), "it waits")  # noqa: B023
        lab.model.release(f"end {word}")
        (turn,) = lab.finish(waiting).json["turns"]
        assert (turn["reply"], len(stops(lab, id)) - before) == (reply, ends)


def test_a_goal_and_a_loop_that_a_person_has_set(lab: Lab) -> None:
    id = lab.create()
    typed(lab, id, "/goal [[reply: not yet]] the goal is reached")
    assert lab.model.wait_until_blocked("goal", 60)
    assert (stops(lab, id), lab.ok("status", id)) == (["not yet"], "working")
    assert lab.ok("interrupt", id) == "interrupted"
    assert lab.ok("status", id) == "idle"
    lab.ok("send", id, "[[reply: on]]")
    assert lab.model.wait_until_blocked("goal", 60)
    assert lab.ok("send", id, "[[reply: afterwards]]", "--queue").startswith("queued")
    assert lab.run("wait", id, "--turn", "1", "--timeout", "1").code == 124
    assert lab.ok("interrupt", id) == "interrupted"
    assert lab.run("wait", id, "--turn", "1").out == "interrupted\n"
    lab.model.release("goal")
    assert reply(lab, id, 2) == "reached"  # the goal is what Claude goes on with after the queued message
    later = {"delaySeconds": 1200, "reason": "a look", "prompt": "/loop look", "noop": False}
    typed(lab, id, f"/loop 5m [[tool: ScheduleWakeup {json.dumps(later)}]][[reply: looked]]")
    lab.until(lambda: "looked" in stops(lab, id) and lab.ok("status", id) == "idle", "the first turn of the loop")
    assert [one["kind"] for one in lab.run("status", id, "--json").json["left"]] == ["schedule"]


def typed(lab: Lab, id: str, text: str) -> None:
    """What a person types and submits; a key pressed too early is part of the text's paste."""
    before = len(lab.model.requests)
    lab.keys(id, "-l", text)
    lab.until(lambda: lab.keys(id, "Enter") or len(lab.model.requests) > before, "it is submitted")
