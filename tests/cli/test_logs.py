"""`logs` and `inspect` of live and dead sessions, so far and as they go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Commands

ENTRY = {
    *("role", "kind", "text", "turn", "at", "prompt", "via", "tool", "call", "input", "result", "failed", "images"),
}
INSPECTED = {
    *(
        "id",
        "cli",
        "status",
        "mode",
        "permissions",
        "path",
        "host",
        "description",
        "group",
        "parent",
        "depth",
        "model",
        "continue_at_reset",
    ),
    *("capabilities", "created_at", "created_by", "last_used", "error", "turns", "folder", "files", "missing", "pid"),
    *("terminal", "version", "reported", "continue_at_reset", "trust", "left_out"),
}


def line(process: subprocess.Popen[str]) -> str:
    """The next line of a command that is still running."""
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


def upto(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """The next lines, the last of which is the wanted one."""
    found = []
    while not found or found[-1] != wanted:
        assert process.stdout
        read = process.stdout.readline()
        assert read, f"ended before {wanted!r}: {found}"
        found.append(read.rstrip("\n"))
    return found


# logs


def test_logs_label_each_entry_with_its_author_and_turn(run: Commands, idle: str) -> None:
    done = run("logs", idle)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "user (turn 1):\n[[reply: one]]\n\nassistant (turn 1):\none\n\n"
        "user (turn 2):\n[[reply: two]]\n\nassistant (turn 2):\ntwo\n"
    )


@pytest.mark.gateway
def test_logs_for_programs_are_one_array(run: Commands, idle: str) -> None:
    entries = run.json("logs", idle)
    assert all(set(entry) == ENTRY for entry in entries)
    assert [(one["role"], one["kind"], one["text"], one["turn"], one["via"]) for one in entries] == [
        ("user", "message", "[[reply: one]]", 1, "terminal"),
        ("assistant", "message", "one", 1, None),
        ("user", "message", "[[reply: two]]", 2, "terminal"),
        ("assistant", "message", "two", 2, None),
    ]
    assert [one["at"] for one in entries] == sorted(one["at"] for one in entries)


def test_logs_of_an_empty_conversation(run: Commands) -> None:
    id = run.create()
    done = run("logs", id)
    assert (done.code, done.out) == (0, "")
    assert f"dev-sessions send {id}" in done.err
    assert run("logs", id, "--json") == (0, "[]\n", "")


def test_logs_of_a_dead_session(run: Commands, dead: str) -> None:
    assert [entry["text"] for entry in run.json("logs", dead)] == [
        "[[reply: last words]]",
        "last words",
        "[[die: out of memory]]",
    ]


@pytest.mark.gateway
def test_logs_show_the_text_of_a_message_sent_as_a_file(run: Commands) -> None:
    id, text = run.create(), f"{'long ' * 30_000}[[reply: read]]"
    file = run.lab.path / "long.md"
    file.write_text(text)
    run.ok("ask", id, "--file", str(file))
    said, reply = run.json("logs", id)
    assert (said["text"], said["via"], said["turn"]) == (text, "file", 1)
    assert (reply["text"], reply["turn"]) == ("read", 1)


def test_a_persons_prompt_is_not_one_of_our_turns(run: Commands) -> None:
    id = run.create()
    run.ok("ask", id, "[[reply: ours]]")
    run.lab.keys(id, "[[reply: theirs]]", "Enter")
    run.lab.until(lambda: run.ok("last-message", id) == "theirs", "the reply to the person")
    run.ok("ask", id, "[[reply: ours again]]")
    told = [(entry["role"], entry["text"], entry["turn"]) for entry in run.json("logs", id)]
    assert told == [
        ("user", "[[reply: ours]]", 1),
        ("assistant", "ours", 1),
        ("user", "[[reply: theirs]]", None),
        ("assistant", "theirs", None),
        ("user", "[[reply: ours again]]", 2),
        ("assistant", "ours again", 2),
    ]


def test_the_same_text_twice_is_two_turns(run: Commands) -> None:
    id = run.create()
    for _ in range(2):
        run.ok("ask", id, "[[reply: yes]]")
    assert [entry["turn"] for entry in run.json("logs", id)] == [1, 1, 2, 2]


@pytest.mark.gateway
def test_logs_go_on_until_the_agent_ends(run: Commands) -> None:
    id = run.create()
    with run.following("logs", id, "--follow") as process:
        run.ok("ask", id, "[[reply: one]]")
        assert upto(process, "one") == ["user (turn 1):", "[[reply: one]]", "", "assistant (turn 1):", "one"]
        run.ok("send", id, "[[reply: last]][[die]]")
        assert upto(process, "last")[-2:] == ["assistant (turn 2):", "last"]
        assert process.wait(30) == 0


@pytest.mark.gateway
def test_logs_go_on_until_the_session_is_killed(run: Commands) -> None:
    id = run.create()
    run.ok("ask", id, "[[reply: before]]")
    with run.following("logs", id, "--follow", "--json") as process:
        assert [json.loads(line(process))["text"] for _ in range(2)] == ["[[reply: before]]", "before"]
        run.ok("ask", id, "[[reply: after]]")
        entries = [json.loads(line(process)) for _ in range(2)]
        assert [(entry["text"], entry["turn"]) for entry in entries] == [("[[reply: after]]", 2), ("after", 2)]
        run.ok("kill", id)
        assert process.wait(30) == 0


@pytest.mark.gateway
def test_ctrl_c_ends_the_following(run: Commands, idle: str) -> None:
    with run.following("logs", idle, "--follow") as process:
        upto(process, "two")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_following_a_dead_session_ends_at_once(run: Commands, dead: str) -> None:
    done = run("logs", dead, "--follow")
    assert done.code == 0
    assert "last words" in done.out


@pytest.mark.gateway
def test_a_reader_that_closes_the_pipe_is_not_an_error(run: Commands, idle: str) -> None:
    argv = " ".join(run.lab.argv("logs", idle))
    done = subprocess.run(
        ["bash", "-c", f"{argv} | head -n 1; exit ${{PIPESTATUS[0]}}"], env=run.lab.env, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"user (turn 1):\n", b"")


@pytest.mark.gateway
@pytest.mark.parametrize("command", ["logs", "inspect"])
def test_an_unknown_session(run: Commands, command: str) -> None:
    done = run(command, "nobody")
    assert (done.code, done.out) == (3, "")
    assert "nobody" in done.err
    assert "next: dev-sessions list" in done.err
    assert run(command, "nobody", "--json").json["error"]["code"] == "not_found"


# inspect


@pytest.mark.gateway
def test_inspect_for_programs(run: Commands, idle: str) -> None:
    found = run.json("inspect", idle)
    assert set(found) == INSPECTED
    folder = run.lab.folder(idle)
    expected = {"id": idle, "status": "idle", "turns": 2, "folder": str(folder), "pid": run.lab.pid(idle)}
    expected |= {"description": "fix the parser", "group": "shared", "model": "m-1", "missing": [], "error": None}
    assert {name: found[name] for name in expected} == expected
    assert found["files"]["record"] == str(folder / "record.json")
    assert all(Path(path).exists() for path in found["files"].values())
    assert found["terminal"]["session"] == f"dev-{idle}"
    shown = subprocess.run(
        ["tmux", "-S", found["terminal"]["socket"], "has-session", "-t", f"={found['terminal']['session']}"],
        env=run.lab.env,
        capture_output=True,
    )
    assert shown.returncode == 0
    assert found["terminal"]["attach"].endswith(f"attach-session -t =dev-{idle}")


def test_inspect_is_aligned_lines(run: Commands, idle: str) -> None:
    done = run("inspect", idle)
    assert (done.code, done.err) == (0, "")
    shown = {name.rstrip(":"): value for name, _, value in (row.partition(" ") for row in done.out.splitlines())}
    assert shown["id"].strip() == idle
    assert shown["description"].strip() == "fix the parser"
    assert shown["capabilities"].strip() == "attach, interrupt, respond, revive"
    columns = {len(row) - len(row.partition(" ")[2].lstrip()) for row in done.out.splitlines() if " " in row}
    assert len(columns) == 1


def test_inspect_lists_missing_files(run: Commands) -> None:
    id = run.create()
    os.unlink(run.lab.folder(id) / "agent" / "start.sh")
    found = run.json("inspect", id)
    assert "script" in found["missing"]
    assert f"{found['files']['script']} (missing)" in run.ok("inspect", id)


def test_inspect_of_a_dead_session(run: Commands, dead: str) -> None:
    found = run.json("inspect", dead)
    assert (found["status"], found["error"], found["turns"]) == ("exited", "out of memory", 2)


def test_inspect_of_an_agent_without_a_terminal(run: Commands, bare: str) -> None:
    assert "attach" not in run.json("inspect", bare)["terminal"]
