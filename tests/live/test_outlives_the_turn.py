"""Work that continues after the agent reports the end of its turn: subagents, Stop hooks, background commands."""

from __future__ import annotations

import json
import time

from lab import Lab


def subagent(name: str) -> str:
    """A message that starts a subagent and leaves the agent idle; held at this name, it then makes this file."""
    script = f"[[hold: {name}]][[bash: touch {name}]][[reply: made it [[reply: all is done]]]]"
    return f"[[agent: helper|{script}]][[reply: started {name}]]"


def at_work(lab: Lab, id: str, name: str) -> int:
    """Send such a message, and wait until the agent is idle; return its turn."""
    turn = lab.run("send", id, subagent(name), "--json").json["turn"]
    assert lab.model.wait_until_blocked(name, 60)
    lab.until(lambda: stops(lab, id)[-1:] == [f"started {name}"], "the end of the agent's own work")
    return int(turn)


def stops(lab: Lab, id: str) -> list[str]:
    """What the agent reported each time it stopped."""
    return [words for words, _ in stops_and_times(lab, id)]


def stops_and_times(lab: Lab, id: str) -> list[tuple[str, float]]:
    found = []
    for path in sorted((lab.folder(id) / "facts").glob("[!.]*.json"), key=lambda path: path.stat().st_mtime_ns):
        report = json.loads(path.read_text())
        if report.get("hook_event_name") == "Stop":
            found.append((report["last_assistant_message"], path.stat().st_mtime))
    return found


def reply(lab: Lab, id: str, turn: int) -> str:
    """Wait for the reply to one message."""
    turns = lab.run("wait", id, "--turn", str(turn), "--json").json["turns"]
    return str(next(one["reply"] for one in turns if one["turn"] == turn))


def test_messages_meanwhile_have_turns_of_their_own_and_queued_ones_wait(shared: Lab, talker: str) -> None:
    lab, id = shared, talker
    first = at_work(lab, id, "meanwhile")
    status = lab.run("status", id, "--json").json
    assert (status["status"], [one["kind"] for one in status["left"]]) == ("working", ["agent"])
    assert lab.ok("send", id, "[[reply: between]]") == f"started (turn {first + 1})"
    assert lab.ok("wait", id, "--turn", str(first + 1), "--timeout", "60") == "completed"
    assert lab.ok("send", id, "[[reply: afterwards]]", "--queue").startswith("queued")
    assert lab.run("wait", id, "--timeout", "2").code == 124
    assert lab.ok("status", id) == "working"
    lab.model.release("meanwhile")
    replies = [reply(lab, id, turn) for turn in range(first, first + 3)]
    assert replies == ["all is done", "between", "afterwards"]
    assert (lab.project / "meanwhile").exists()


def test_an_interrupt_ends_the_subagents_too(shared: Lab, talker: str) -> None:
    lab, id = shared, talker
    at_work(lab, id, "interrupted")
    waiting = lab.start("wait", id)
    assert lab.ok("interrupt", id) == "interrupted"
    assert lab.finish(waiting)[:2] == (5, "interrupted\n")
    assert lab.ok("status", id) == "idle"
    lab.model.release("interrupted")
    assert lab.ok("ask", id, "[[reply: goes on]]") == "goes on"
    assert not (lab.project / "interrupted").exists()


def test_a_delegation_is_over_when_its_subagents_are_and_tells_what_still_ran(lab: Lab) -> None:
    delegated = lab.start("sync-delegate", f"[[bash_bg: sleep 1000]]{subagent('delegated')}")
    assert lab.model.wait_until_blocked("delegated", 60)
    (row,) = lab.run("list", "--json").json
    lab.until(lambda: stops(lab, row["id"]) == ["started delegated"], "the end of the agent's own work")
    lab.model.release("delegated")
    done = lab.finish(delegated)
    assert (done.code, done.out) == (0, "all is done\n")
    assert "had left running: sleep 1000" in done.err
    assert (lab.project / "delegated").exists()


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


def test_a_subagent_that_ends_before_the_agent_does(shared: Lab, talker: str) -> None:
    """The agent learns of it from its next tool's result, or, if it uses none, after an end that names no subagent."""
    lab, id = shared, talker
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
    # Claude is idle at most 0.3 s after a stop. An interrupt within that time would look like that stop.
    lab.until(lambda: time.time() - stops_and_times(lab, id)[-1][1] > 0.5, "it has continued for longer than that")
    assert lab.ok("interrupt", id) == "interrupted"
    assert lab.ok("status", id) == "idle"
    lab.ok("send", id, "[[reply: on]]")
    assert lab.model.wait_until_blocked("goal", 60)
    assert lab.ok("send", id, "[[reply: afterwards]]", "--queue").startswith("queued")
    assert lab.run("wait", id, "--turn", "1", "--timeout", "1").code == 124
    assert lab.ok("interrupt", id) == "interrupted"
    assert lab.run("wait", id, "--turn", "1").out == "interrupted\n"
    lab.model.release("goal")
    assert reply(lab, id, 2) == "reached"  # after the queued message, Claude continues with the goal
    later = {"delaySeconds": 1200, "reason": "a look", "prompt": "/loop look", "noop": False}
    typed(lab, id, f"/loop 5m [[tool: ScheduleWakeup {json.dumps(later)}]][[reply: looked]]")
    lab.until(lambda: "looked" in stops(lab, id) and lab.ok("status", id) == "idle", "the first turn of the loop")
    assert [one["kind"] for one in lab.run("status", id, "--json").json["left"]] == ["schedule"]


def typed(lab: Lab, id: str, text: str) -> None:
    """Type and submit a text as a person does; Claude treats a key pressed too early as part of the paste."""
    before = len(lab.model.requests)
    lab.keys(id, "-l", text)
    lab.until(lambda: lab.keys(id, "Enter") or len(lab.model.requests) > before, "it is submitted")
