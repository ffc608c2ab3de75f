"""`interrupt`: the turn and its commands end, every waiter is notified, and the next message contains no leftovers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Lab
from soak import size

# An interval so long that only an event can end a wait while the test runs.
SELDOM = ("-i", "600")


def runs(lab: Lab, words: str) -> Callable[[], bool]:
    def found() -> bool:
        return any(words.encode() in command(pid) for pid in lab.processes())

    return found


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def sleep(seconds: int) -> str:
    return f'python3 -c "import time; time.sleep({seconds})"'


@pytest.mark.parametrize("turn", ["[[hold: never]]", f"[[reply: half]][[bash: {sleep(601)}]]"], ids=["think", "tool"])
def test_all_who_wait_are_told_and_the_next_turn_is_clean(shared: Lab, talker: str, turn: str) -> None:
    lab, id = shared, talker
    lab.ok("ask", id, "[[reply: before]]")
    number = lab.run("send", id, f"{turn}[[reply: never]]", "--json").json["turn"]
    if "bash" in turn:
        lab.until(runs(lab, "sleep(601)"), "the command")
    waiting = [lab.start("wait", id, *more, *SELDOM) for more in ((), ("--turn", str(number)), ("--any",))]
    assert lab.ok("interrupt", id) == "interrupted"
    for one in waiting:
        done = lab.finish(one)
        assert (done.code, done.out) == (5, "interrupted\n")
    assert not runs(lab, "sleep(601)")()
    assert lab.ok("status", id) == "idle"
    assert lab.ok("ask", id, "[[reply: after]]") == "after"
    lab.until(lambda: lab.prompts(id)[-1] == "[[reply: after]]", "the prompt, unchanged, on the disk")
    assert lab.run("wait", id, "--turn", str(number))[:2] == (5, "interrupted\n")


@pytest.mark.parametrize(
    "words",
    [f"{sleep(602)} & {sleep(603)}", f"trap '' TERM HUP INT; setsid {sleep(602)}"],
    ids=["beside it", "away from it"],
)
def test_commands_of_the_turn_end_however_they_were_started(shared: Lab, talker: str, words: str) -> None:
    """Claude ends the whole process tree of a command; processes that ignore SIGTERM end some seconds later."""
    lab, id = shared, talker
    lab.ok("send", id, f"[[bash: {words}]][[reply: never]]")
    lab.until(runs(lab, "sleep(602)"), "the command")
    lab.ok("interrupt", id)
    lab.until(lambda: not runs(lab, "time.sleep(60")(), "the end of the commands")
    assert lab.ok("ask", id, "[[reply: after]]") == "after"


def test_what_the_agent_has_put_into_the_background_goes_on_and_is_told(shared: Lab) -> None:
    lab, id = shared, shared.create()
    lab.ok("send", id, f"[[bash_bg: {sleep(604)}]][[bash: {sleep(605)}]][[reply: never]]")
    lab.until(runs(lab, "sleep(605)"), "the command")
    lab.ok("interrupt", id)
    assert not runs(lab, "sleep(605)")()
    assert runs(lab, "sleep(604)")()
    assert lab.run("status", id, "--json").json["background"] == 1
    lab.ok("kill", id)
    assert not runs(lab, "sleep(604)")()


@pytest.mark.soak
def test_wherever_claude_keeps_its_state(lab: Lab, claude: str) -> None:
    """A wrapper chooses the folder, or runs Claude as its child; no status file can be written; the locale is C."""
    lab.env |= {"LANG": "", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    full = lab.path / "full"
    for folder in (lab.project / "own", lab.path / "größer", full):
        folder.mkdir()
        shutil.copy(lab.home / ".claude.json", folder)
    (full / "sessions").touch()
    wrappers = {
        "no-status": f'CLAUDE_CONFIG_DIR="{full}" {claude} "$@"; exit $?',
        "child": f'CLAUDE_CONFIG_DIR="{lab.path}/größer" {claude} "$@"; exit $?',
        "relative": f'CLAUDE_CONFIG_DIR=own exec {claude} "$@"',
    }
    for id, line in list(wrappers.items())[: size(1, 3)]:
        path = lab.path / id
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        lab.create("--id", id, "-d", "größer", env={"DEV_SESSIONS_CLAUDE": str(path)})
        # If there was no output, Claude gives the prompt back, and nothing else shows the end of the turn.
        lab.ok("send", id, f"[[hold: {id}]][[reply: never]]")
        assert lab.model.wait_until_blocked(id)
        assert lab.ok("interrupt", id) == "interrupted"
        lab.ok("send", id, f"[[bash: {sleep(606)}]][[reply: never]]")
        lab.until(runs(lab, "sleep(606)"), "the command")
        waiting = lab.start("wait", id)
        lab.until(lambda pid=waiting.pid: lab.is_waiting(pid), "the wait to rest")  # type: ignore[misc]
        lab.keys(id, "Escape")  # pressed by a person
        assert lab.finish(waiting)[:2] == (5, "interrupted\n")
        assert not runs(lab, "sleep(606)")()
        assert lab.ok("ask", id, "[[reply: größer]]") == "größer"
    assert lab.ok("interrupt", id) == "idle"
    lab.ok("send", id, f"[[bash: {sleep(606)}]][[reply: never]]")
    lab.until(runs(lab, "sleep(606)"), "the command")
    assert lab.ok("ask", id, "[[reply: after]]", "--interrupt") == "after"
    assert not runs(lab, "sleep(606)")()
    assert "größer" in lab.ok("list")
