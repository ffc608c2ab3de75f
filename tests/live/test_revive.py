"""`revive` of the real agent: the same conversation and environment, and an interrupted turn stays interrupted."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from lab import Lab
from soak import only_in_soak

SLEEP = 'python3 -c "import time; time.sleep(600)"'


def end(lab: Lab, id: str) -> None:
    os.kill(lab.pid(id), signal.SIGKILL)
    lab.until(lambda: lab.ok("status", id) == "exited", "the end of the agent")


def answered(lab: Lab, id: str, text: str) -> None:
    """Run a turn and wait until the transcript has all of it: Claude reports its end a moment earlier."""
    assert lab.ok("ask", id, f"[[reply: {text}]]") == text
    lab.until(lambda: json.dumps(lab.transcript(id)).count('"text": "' + text + '"'), "the reply on the disk")


def claudes(lab: Lab, id: str) -> list[int]:
    """Pids of the agents that run with a session's conversation."""
    uuid = json.loads((lab.folder(id) / "record.json").read_text())["backend"]["uuid"]
    commands = lab.commands().items()
    return [pid for pid, words in commands if words[0].endswith(b"claude") and uuid.encode() in words]


def test_it_goes_on_where_it_was(lab: Lab) -> None:
    """Killed in a tool, with messages queued: the conversation, the interrupted turn and the queue are all there."""
    id = lab.create("--env", "MARK=a 'kept' value\nof two lines", "--model", "claude-opus-5-5")
    answered(lab, id, "the first answer")
    lab.ok("send", id, f"[[bash: {SLEEP}]][[reply: never]]")
    lab.until(lambda: '"tool_use"' in json.dumps(lab.transcript(id)), "the tool in the transcript")
    lab.ok("send", id, "[[bash: echo $MARK]][[replytool]]", "--queue")
    before = lab.run("inspect", id, "--json").json
    end(lab, id)
    assert lab.ok("revive", id, env={"MARK": "of the caller"}) == (
        f"Revived session {id} (interrupted: turn 2) (queued: 1)"
    )
    assert lab.run("wait", id, "--turn", "3")[:2] == (0, "completed\n")
    assert lab.ok("last-message", id) == "a 'kept' value of two lines"
    assert "the first answer" in json.dumps(lab.model.requests[-1].body)
    assert lab.run("wait", id, "--turn", "2")[:2] == (5, "interrupted\n")
    assert lab.run("wait", id, "--turn", "1")[:2] == (0, "completed\n")
    after = lab.run("inspect", id, "--json").json
    same = ("id", "permissions", "path", "model", "group", "created_at", "folder")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["files"]["transcript"] == before["files"]["transcript"]
    lab.until(lambda: len(claudes(lab, id)) == 1, "one agent and no other")
    told = lab.run("logs", id, "--json").json
    said = [(entry["role"], entry["text"], entry["turn"]) for entry in told if entry["kind"] == "message"]
    assert said == [
        ("user", "[[reply: the first answer]]", 1),
        ("assistant", "the first answer", 1),
        ("user", f"[[bash: {SLEEP}]][[reply: never]]", 2),
        ("user", "[[bash: echo $MARK]][[replytool]]", 3),
        ("assistant", "a 'kept' value of two lines", 3),
    ]
    assert lab.run("last-message", id, "-n", "9", "--json").json == ["the first answer", "a 'kept' value of two lines"]


@only_in_soak
def test_two_revives_at_once_start_one_agent(lab: Lab) -> None:
    id = lab.create()
    answered(lab, id, "one")
    end(lab, id)
    done = [lab.finish(one) for one in [lab.start("revive", id, "--json") for _ in range(2)]]
    assert [one.code for one in done] == [0, 0]
    assert sorted(one.json[0]["outcome"] for one in done) == ["alive", "revived"]
    # There are two processes for a moment when Claude starts another program.
    lab.until(lambda: len(claudes(lab, id)) == 1, "one agent and no other")
    assert lab.ok("ask", id, "[[reply: two]]") == "two"


def test_what_a_dead_agent_left_running_is_ended(shared: Lab, talker: str) -> None:
    """Otherwise a command of the interrupted turn would continue beside an agent that knows nothing about it."""
    lab, id = shared, talker
    lab.ok("send", id, f"[[bash: setsid {SLEEP}]][[reply: never]]")

    def left() -> list[int]:
        return [pid for pid in lab.processes() if b"time.sleep(600)" in command(pid)]

    lab.until(left, "the command")
    end(lab, id)
    lab.ok("revive", id)
    assert not left()


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("prompted", [pytest.param(False, marks=only_in_soak), True])
def test_of_a_conversation_that_had_not_begun_there_is_nothing_to_resume(lab: Lab, prompted: bool) -> None:
    """Claude writes nothing before the first prompt, and writes that one a moment after it has accepted it."""
    id = lab.create()
    if prompted:
        lab.ok("send", id, "[[hold: never]]")
    os.kill(lab.pid(id), signal.SIGKILL)
    lab.ok("revive", id)
    assert lab.ok("ask", id, "[[reply: hello]]") == "hello"
    if prompted:
        assert lab.run("wait", id, "--turn", "1")[:2] == (5, "interrupted\n")


@only_in_soak
def test_half_a_line_at_the_end_of_the_transcript_does_no_harm(lab: Lab) -> None:
    id = lab.create()
    answered(lab, id, "one")
    path = Path(lab.run("inspect", id, "--json").json["files"]["transcript"])
    end(lab, id)
    with path.open("a") as file:
        file.write('{"type":"user","message":{"role":"us')
    lab.ok("revive", id)
    assert lab.ok("ask", id, "[[reply: two]]") == "two"
    assert lab.run("last-message", id, "-n", "2", "--json").json == ["one", "two"]


def test_a_reply_that_was_reported_and_not_written_is_not_lost(shared: Lab, talker: str) -> None:
    """The agent is stopped as soon as it has reported: what it had not written by then is only in its report."""
    lab, id = shared, talker
    for text in ("one", "two"):
        assert lab.ok("ask", id, f"[[reply: {text}]]") == text
        os.kill(lab.pid(id), signal.SIGKILL)
        lab.ok("revive", id)
    assert lab.run("last-message", id, "-n", "2", "--json").json == ["one", "two"]
    told = lab.run("logs", id, "--json").json
    assert [entry["text"] for entry in told if entry["role"] == "assistant"][-2:] == ["one", "two"]


def test_a_transcript_that_is_gone_is_an_error_and_no_empty_conversation(shared: Lab, talker: str) -> None:
    lab, id = shared, talker
    answered(lab, id, "before it is gone")
    path = Path(lab.run("inspect", id, "--json").json["files"]["transcript"])
    end(lab, id)
    path.rename(f"{path}.away")
    for report in (lab.folder(id) / "facts").iterdir():
        if '"Stop"' in report.read_text():
            os.utime(report, (time.time() - 3600,) * 2)  # a recent reply may not have been written yet
    done = lab.run("revive", id)
    assert done.code == 1
    assert str(path) in done.err
    assert lab.ok("status", id) == "exited"
    assert claudes(lab, id) == []
    Path(f"{path}.away").rename(path)
    lab.ok("revive", id)
    assert lab.ok("ask", id, "[[reply: two]]") == "two"


@only_in_soak
def test_a_claude_that_does_not_start_leaves_all_as_it_was(lab: Lab) -> None:
    id = lab.create()
    answered(lab, id, "one")
    end(lab, id)
    broken = lab.path / "broken"
    broken.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec echo '2.1.330 (Claude Code)'\necho no licence; exit 3\n"
    )
    broken.chmod(0o700)
    done = lab.run("revive", id, env={"DEV_SESSIONS_CLAUDE": str(broken)})
    assert done.code == 1
    assert "no licence" in done.err
    assert lab.ok("status", id) == "exited"
    assert lab.run("wait", id)[:2] == (0, "completed\n")
    assert f"dev-{id}" not in lab.tmux("list-sessions")
    lab.ok("revive", id)
    assert lab.ok("ask", id, "[[reply: two]]") == "two"


def test_after_a_clear_it_is_the_new_conversation(shared: Lab, talker: str) -> None:
    lab, id = shared, talker
    answered(lab, id, "old")
    lab.keys(id, "/clear")
    lab.until(lambda: "/clear" in lab.screen(id), "the command on the screen")
    lab.keys(id, "Enter")
    lab.until(lambda: '"clear"' in "".join(path.read_text() for path in (lab.folder(id) / "facts").iterdir()), "clear")
    lab.ok("ask", id, "[[reply: new]]")
    path = Path(lab.run("inspect", id, "--json").json["files"]["transcript"])
    lab.until(lambda: '"new"' in path.read_text(), "the reply on the disk")
    end(lab, id)
    lab.ok("revive", id)
    lab.ok("ask", id, "[[reply: newer]]")
    assert "[[reply: old]]" not in json.dumps(lab.model.requests[-1].body)
    assert lab.run("last-message", id, "-n", "2", "--json").json == ["new", "newer"]
