"""`revive`: restarts an agent that has exited, with its conversation."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Commands

FIELDS = {"session", "outcome", "status", "interrupted", "queued"}


def end(run: Commands, id: str) -> None:
    """Kill the agent and wait until its session has exited."""
    os.kill(run.lab.pid(id), signal.SIGKILL)
    run.lab.until(lambda: run.ok("status", id) == "exited", "the end of the agent")


def agents(run: Commands, id: str) -> int:
    """How many agents run in the folder of a session."""
    return len(run.lab.running("dev_sessions_fake.program", str(run.lab.folder(id))))


def spoil(run: Commands, id: str, start: str) -> None:
    """Make the agent fail at its next start."""
    script = run.lab.folder(id) / "agent" / "start.sh"
    script.write_text(f"export FAKE_START={shlex.quote(start)}\n{script.read_text()}")


def mend(run: Commands, id: str) -> None:
    script = run.lab.folder(id) / "agent" / "start.sh"
    script.write_text(script.read_text().partition("\n")[2])


@pytest.fixture
def cut(run: Commands) -> str:
    """A session whose agent was killed in the middle of its second turn."""
    id = run.create("--env", "MARK=a 'kept' value", "--group", "cut", "--permissions", "edit")
    run.ok("ask", id, "[[reply: first]]")
    run.ok("send", id, "[[reply: half]][[hold: never]]")
    said = run.lab.folder(id) / "agent" / "conversation.jsonl"
    run.lab.until(lambda: "half" in said.read_text(), "its first words")
    end(run, id)
    return id


def test_the_open_turn_is_interrupted_and_the_next_one_works(run: Commands, cut: str) -> None:
    assert run("wait", cut)[:2] == (5, "exited\n")
    assert run("revive", cut) == (0, f"Revived session {cut} (interrupted: turn 2)\n", "")
    assert run.ok("status", cut) == "idle"
    assert run("wait", cut)[:2] == (5, "interrupted\n")
    assert run("wait", cut, "--turn", "1")[:2] == (0, "completed\n")
    assert run("ask", cut, "[[reply: third]]") == (0, "third\n", "")
    assert run("wait", cut)[:2] == (0, "completed\n")
    assert run.json("last-message", cut) == ["third"]
    assert "first" in run.ok("logs", cut)


@pytest.mark.gateway
def test_json_has_the_outcome(run: Commands, cut: str) -> None:
    (done,) = run.json("revive", cut)
    assert set(done) == FIELDS
    assert done == {"session": cut, "outcome": "revived", "status": "idle", "interrupted": [2], "queued": []}
    (again,) = run.json("revive", cut)
    assert again == {"session": cut, "outcome": "alive", "status": "idle", "interrupted": [], "queued": []}


@pytest.mark.gateway
def test_it_is_the_same_session_with_the_same_environment(run: Commands, cut: str) -> None:
    before = {**run.json("inspect", cut)}
    run.ok("revive", cut, env={"MARK": "another value"})
    after = run.json("inspect", cut)
    same = ("id", "cli", "permissions", "path", "group", "parent", "depth", "created_at", "folder", "capabilities")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["pid"] != before["pid"]
    environ = Path(f"/proc/{after['pid']}/environ").read_bytes().split(b"\0")
    assert b"MARK=a 'kept' value" in environ
    assert f"DEV_SESSIONS_ID={cut}".encode() in environ
    assert run("ask", cut, "[[bash: echo $MARK]][[replytool]]").out == "a 'kept' value\n"


def test_a_running_agent_is_not_touched(run: Commands, busy: str) -> None:
    before = run.json("inspect", busy)["pid"]
    assert run("revive", busy) == (0, f"Session {busy} is alive (working); nothing was changed\n", "")
    assert run.json("inspect", busy)["pid"] == before
    assert not (run.lab.folder(busy) / "revivals.json").exists()
    assert run.ok("status", busy) == "working"


@pytest.mark.gateway
def test_two_revives_at_once_start_one_agent(run: Commands, cut: str) -> None:
    done = [run.lab.finish(one) for one in [run.lab.start("revive", cut, "--json") for _ in range(3)]]
    assert [one.code for one in done] == [0, 0, 0]
    assert sorted(one.json[0]["outcome"] for one in done) == ["alive", "alive", "revived"]
    assert agents(run, cut) == 1
    assert run("ask", cut, "[[reply: one voice]]").out == "one voice\n"


def test_queued_messages_are_delivered(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: never]]")
    for text in ("second", "third"):
        run.ok("send", id, f"[[reply: {text}]]", "--queue")
    end(run, id)
    assert "2 queued message(s) were not delivered" in run("status", id).err
    assert run.ok("revive", id) == f"Revived session {id} (interrupted: turn 1) (queued: 2)"
    assert run("wait", id, "--turn", "3")[:2] == (0, "completed\n")
    assert run.json("last-message", id) == ["third"]
    outcomes = {turn["turn"]: turn["outcome"] for turn in run.json("wait", id)["turns"]}
    assert outcomes == {1: "interrupted", 2: "completed", 3: "completed"}


def test_an_unconfirmed_message_has_failed_and_is_never_delivered_later(run: Commands) -> None:
    id = run.create(env={"DEV_SESSIONS_RECEIPT_TIMEOUT": "0.2"})
    words = ("send", id, "[[late: a]][[reply: late]]", "--request-id", "r1")
    assert (
        run(
            *words,
            env={"DEV_SESSIONS_RECEIPT_TIMEOUT": "0.2"},
        ).code
        == 1
    )
    end(run, id)
    run.ok("revive", id)
    assert run("wait", id)[:2] == (5, "failed\n")
    again = run(*words)
    assert again.code == 1
    assert "before it took message 1" in again.err
    assert run("ask", id, "[[reply: on]]").out == "on\n"
    assert run.json("last-message", id) == ["on"]


def test_a_question_is_closed_when_its_agent_ends(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[ask: Which one?|this|that]]")
    assert run("wait", id).code == 6
    end(run, id)
    run.ok("revive", id)
    state = run.json("status", id)
    assert (state["status"], state["question"]) == ("idle", None)
    assert run("wait", id)[:2] == (5, "interrupted\n")


def test_it_can_be_revived_again(run: Commands, cut: str) -> None:
    for turn in (3, 4):
        run.ok("revive", cut)
        run.ok("send", cut, "[[hold: never]]")
        end(run, cut)
        assert run("wait", cut, "--turn", str(turn))[:2] == (5, "exited\n")
    run.ok("revive", cut)
    words = [run("wait", cut, "--turn", str(turn)).out.strip() for turn in (1, 2, 3, 4)]
    assert words == ["completed", "interrupted", "interrupted", "interrupted"]
    events = [event["event"] for event in map(eval_json, run.ok("events", cut).splitlines())]
    assert events.count("revived") == 3


def eval_json(line: str) -> dict[str, object]:
    import json

    found: dict[str, object] = json.loads(line)
    return found


# What cannot be.


def test_an_agent_that_dies_at_its_start_changes_nothing(run: Commands, cut: str) -> None:
    before = run.json("wait", cut)
    spoil(run, cut, "die: no licence")
    done = run("revive", cut)
    assert done.code == 1
    assert "no licence" in done.err
    assert "next: " in done.err
    assert run.ok("status", cut) == "exited"
    assert run.json("wait", cut) == before
    assert agents(run, cut) == 0
    assert cut not in run.lab.tmux("list-sessions")
    assert run.json("last-message", cut) == ["half"]
    mend(run, cut)
    assert run("revive", cut).code == 0


def test_an_agent_that_asks_at_its_start_waits_for_input(run: Commands, cut: str) -> None:
    spoil(run, cut, "dialog: Is that so?")
    done = run("revive", cut)
    assert done.code == 6
    assert "Is that so?" in done.err
    assert run.ok("status", cut) == "waiting_for_input"
    assert run("revive", cut) == (0, f"Session {cut} is alive (waiting_for_input); nothing was changed\n", "")
    (run.lab.folder(cut) / "agent" / "answers" / "start").write_text("yes")
    run.lab.until(lambda: run.ok("status", cut) == "idle", "the answer")
    assert run("ask", cut, "[[reply: on]]").out == "on\n"


def test_a_session_killed_during_its_revive_is_gone(run: Commands, cut: str) -> None:
    spoil(run, cut, "mute")
    before = run.lab.pid(cut)
    with run.following("revive", cut) as reviving:
        run.lab.until(lambda: run.lab.pid(cut) != before, "the new agent")
        run.ok("kill", cut)
        done = run.lab.finish(reviving)
    assert (done.code, done.out) == (1, "")
    assert agents(run, cut) == 0
    assert run("status", cut).code == 3


def test_a_missing_folder_is_named(run: Commands, tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    id = run.create("-p", str(place))
    end(run, id)
    place.rmdir()
    done = run("revive", id)
    assert done.code == 2
    assert str(place) in done.err
    assert run.ok("status", id) == "exited"


def test_a_killed_session_is_not_revived_and_the_error_says_where_it_is(run: Commands) -> None:
    id = run.create()
    folder = run.lab.folder(id)
    run.ok("kill", id)
    done = run("revive", id)
    assert done.code == 3
    assert f"{id} was killed" in done.err
    assert str(run.lab.state / "archive" / folder.name) in done.err
    done = run("revive", "nobody")
    assert done.code == 3
    assert "no session called 'nobody'" in done.err


def test_an_agent_that_cannot_be_revived(run: Commands) -> None:
    id = run.ok("create", "--cli", "fake-bare", "-q")
    end(run, id)
    done = run("revive", id)
    assert done.code == 4
    assert "fake-bare cannot be revived" in done.err
    assert "dev-sessions revive" not in run("send", id, "x").err
    run.ok("kill", id)


@pytest.mark.parametrize("words", [[], ["some-id", "--all"]])
def test_ids_or_all(run: Commands, words: list[str]) -> None:
    done = run("revive", *words)
    assert (done.code, done.out) == (2, "")
    assert "dev-sessions revive" in done.err


def test_a_failed_revive_does_not_stop_the_others(run: Commands, cut: str) -> None:
    other = run.create()
    end(run, other)
    spoil(run, cut, "die: no licence")
    done = run("revive", cut, other)
    assert (done.code, done.out) == (1, f"Revived session {other}\n")
    assert f"1 of 2 sessions could not be revived: {cut}: " in done.err
    assert run.ok("status", other) == "idle"
    error = run.json("revive", cut, other)["error"]
    assert [one["session"] for one in error["data"]["failed"]] == [cut]
    assert [one["outcome"] for one in error["data"]["revived"]] == ["alive"]


@pytest.mark.gateway
def test_all_means_exited_agents(run: Commands, cut: str, busy: str) -> None:
    other = run.create()
    end(run, other)
    bare = run.ok("create", "--cli", "fake-bare", "-q")
    end(run, bare)
    for row in run.json("list", "--status", "exited"):
        if row["id"] not in (cut, other, bare):
            run.ok("kill", row["id"])
    assert {one["session"] for one in run.json("revive", "--all")} == {cut, other}
    assert run.ok("status", busy) == "working"
    done = run("revive", "--all")
    assert (done.code, done.out) == (0, "")
    assert "no agent has exited" in done.err
    run.ok("kill", bare)


# The end of an agent.


def test_send_to_an_exited_agent_names_revive(run: Commands, cut: str) -> None:
    done = run("send", cut, "x")
    assert done.code == 5
    (line,) = [line for line in done.err.splitlines() if line.startswith("next: ")]
    assert f"dev-sessions revive {cut}" in line
    assert run.json("last-message", cut) == ["half"]
    assert "first" in run.ok("logs", cut)


def test_a_process_from_before_the_boot_is_not_ours(run: Commands) -> None:
    """After a boot another process may have the same pid and start time, which counts from the boot."""
    id = run.create()
    run.ok("ask", id, "[[reply: before the boot]]")
    path = run.lab.folder(id) / "process"
    alive = path.read_text()
    path.write_text(f"{alive.rstrip()}\n01234567-89ab-cdef-0123-456789abcdef\n")
    assert run.ok("status", id) == "exited"
    assert run.json("last-message", id) == ["before the boot"]
    assert run("send", id, "x").code == 5
    own = Path("/proc/sys/kernel/random/boot_id").read_text()
    path.write_text(f"{alive.rstrip()}\n{own}")
    assert run.ok("status", id) == "idle"
