"""`wait`: its output, its exit codes, and what makes it return."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev_sessions import config
from dev_sessions.service import Service
from dev_sessions.wire import Request

if TYPE_CHECKING:
    import subprocess

    from conftest import Commands
    from lab import Done


def blocked(run: Commands, process: subprocess.Popen[str]) -> None:
    """Return when a `wait` has had its first look."""
    run.lab.until(lambda: process.poll() is not None or run.lab.is_waiting(process.pid), "the wait to begin")
    assert process.poll() is None, run.lab.finish(process)


@pytest.mark.gateway
def test_the_outcome_and_the_exit_code(run: Commands, idle: str, asking: str, failed: str, dead: str) -> None:
    new = run.create()
    for id, code, word, note in (
        (new, 0, "idle", ""),
        (idle, 0, "completed", ""),
        (failed, 5, "failed", "no credit"),
        (dead, 5, "exited", "out of memory"),
        (asking, 6, "waiting_for_input", "Which one?"),
    ):
        done = run("wait", id)
        assert done[:2] == (code, f"{word}\n")
        assert note in done.err
        assert bool(note) == bool(done.err)
        done = run("wait", id, "--json")
        assert (done.code, done.err, done.json["outcome"]) == (code, "", word)
    run.ok("kill", new)


@pytest.mark.gateway
def test_a_timeout_is_exit_124_and_prints_working(run: Commands, busy: str) -> None:
    done = run("wait", busy, "--timeout", "0")
    assert done[:2] == (124, "working\n")
    assert "the agent goes on" in done.err
    assert run("wait", busy, "-t", "0.01", "--json").json["outcome"] == "timeout"
    assert run.ok("status", busy) == "working"


@pytest.mark.gateway
def test_several_sessions_have_a_line_each_and_the_worst_code(
    run: Commands, idle: str, failed: str, asking: str
) -> None:
    done = run("wait", idle, failed)
    assert (done.code, sorted(done.out.splitlines())) == (5, sorted([f"{idle} completed", f"{failed} failed"]))
    assert run("wait", idle, asking).code == 6
    assert run("wait", asking, failed, idle).code == 5
    assert isinstance(run("wait", idle, failed, "--json").json, list)


def test_several_with_one_that_times_out(run: Commands, idle: str, busy: str, asking: str) -> None:
    done = run("wait", busy, idle, "--timeout", "0")
    assert (done.code, done.out) == (124, f"{idle} completed\n{busy} working\n")
    assert run("wait", busy, asking, "--timeout", "0").code == 6


def test_the_same_id_twice_is_one(run: Commands, idle: str) -> None:
    assert run("wait", idle, idle) == (0, "completed\n", "")
    assert isinstance(run("wait", idle, idle, "--json").json, dict)


@pytest.mark.gateway
def test_any_is_the_first_that_ends(run: Commands, idle: str, busy: str) -> None:
    assert run("wait", busy, idle, "--any") == (0, f"{idle} completed\n", "")
    assert run.json("wait", busy, idle, "--any")["session"] == idle


def test_any_when_none_ends_in_time(run: Commands, busy: str, bare: str) -> None:
    done = run("wait", busy, bare, "--any", "--timeout", "0.01")
    assert done.code == 124
    assert "completed" not in done.out


def test_a_turn(run: Commands, idle: str) -> None:
    outcome = run.json("wait", idle, "--turn", "1")
    assert (outcome["turn"], [turn["reply"] for turn in outcome["turns"]]) == (1, ["one"])
    assert run("wait", idle, "--turn", "2") == (0, "completed\n", "")
    assert run("wait", idle, "--turn", "3").code == 2


@pytest.mark.parametrize("turn", ["0", "-1"])
def test_an_invalid_turn(run: Commands, idle: str, turn: str) -> None:
    done = run("wait", idle, "--turn", turn)
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize("interval", [1e-9, 5e-324])
def test_an_interval_has_a_floor(run: Commands, busy: str, interval: float) -> None:
    """Nobody can make it check more often, in Python or through a gateway."""
    assert run("wait", busy, "--interval", str(interval)).code == 2
    asked = Request("wait", {"ids": [busy], "interval": interval, "timeout": 0.3}, "r")
    frames = [frame.kind for frame in Service(config.load(run.lab.env)).handle(asked)]
    assert (frames[-1], frames.count("alive") < 20) == ("result", True)


def test_a_turn_while_the_next_one_runs(run: Commands) -> None:
    id = run.create()
    run.ok("ask", id, "[[reply: one]]")
    run.ok("send", id, "[[hold: a]]")
    assert run("wait", id, "--turn", "1", "--timeout", "0")[:2] == (0, "completed\n")
    assert run("wait", id, "--turn", "2", "--timeout", "0").code == 124
    run.ok("kill", id)


@pytest.mark.gateway
def test_the_next_turn_is_one_that_ends_from_now_on(run: Commands) -> None:
    id = run.create()
    run.ok("ask", id, "[[reply: old]]")
    assert run("wait", id, "--next-turn", "--timeout", "0").code == 124
    waiting = run.lab.start("wait", id, "--next-turn", "--interval", "600", "--json")
    run.lab.until(lambda: run.ok("ask", id, "[[reply: new]]") and waiting.poll() is not None, "its end")
    outcome = run.lab.finish(waiting).json
    (turn,) = outcome["turns"]
    assert (outcome["outcome"], turn["reply"], outcome["turn"] > 1) == ("completed", "new", True)
    run.ok("kill", id)


def test_the_next_turn_fails_or_asks_or_the_agent_dies(run: Commands, dead: str, asking: str) -> None:
    id = run.create()
    waiting = run.lab.start("wait", id, "--next-turn", "--json")
    run.lab.until(lambda: run("ask", id, "[[error: no credit]]").code and waiting.poll() is not None, "its end")
    done = run.lab.finish(waiting)
    assert (done.code, done.json["outcome"], done.json["error"]) == (5, "failed", "no credit")
    assert run("wait", dead, "--next-turn")[:2] == (5, "exited\n")
    assert run("wait", asking, "--next-turn")[:2] == (6, "waiting_for_input\n")
    run.ok("kill", id)


@pytest.mark.parametrize("words", [["--goal", "--next-turn"], ["--turn", "1", "--goal"], ["--settled", "--next-turn"]])
def test_conditions_exclude_each_other(run: Commands, idle: str, words: list[str]) -> None:
    done = run("wait", idle, *words)
    assert done.code == 2
    assert "exclude each other" in done.err


@pytest.mark.gateway
def test_goal_needs_an_agent_with_goals(run: Commands, idle: str) -> None:
    done = run("wait", idle, "--goal", "--json")
    assert (done.code, done.json["error"]["code"], done.json["error"]["data"]["capability"]) == (
        4,
        "unsupported",
        "goal",
    )


@pytest.mark.gateway
def test_settled_waits_for_the_background(run: Commands, tmp_path: Path) -> None:
    id, gate = run.create(), tmp_path / "gate"
    os.mkfifo(gate)
    run.ok("ask", id, f"[[bash_bg: cat '{gate}']][[reply: left it]]")
    assert run("wait", id) == (0, "completed\n", "")
    assert run.json("status", id)["background"] == 1
    assert run("wait", id, "--settled", "--timeout", "0.01").code == 124
    waiting = run.lab.start("wait", id, "--settled", "--interval", "600")
    blocked(run, waiting)
    gate.write_text("over")
    assert run.lab.finish(waiting) == (0, "completed\n", "")
    run.ok("kill", id)


def waited(run: Commands, id: str, *words: str, act: object = None) -> Done:
    """The output of a blocked `wait` after an act; its interval is too long to help."""
    waiting = run.lab.start("wait", id, "--interval", "600", *words)
    blocked(run, waiting)
    assert callable(act)
    act()
    return run.lab.finish(waiting)


@pytest.mark.gateway
def test_it_returns_when_the_turn_ends(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: a]]")
    assert waited(run, id, act=lambda: run.release(id)) == (0, "completed\n", "")
    run.ok("kill", id)


def test_it_returns_however_long_the_interval_is(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: a]]")
    waiting = run.lab.start("wait", id, "--interval", "9e8", "--timeout", "9e8")
    blocked(run, waiting)
    run.release(id)
    assert run.lab.finish(waiting) == (0, "completed\n", "")
    run.ok("kill", id)


def test_it_returns_when_the_turn_is_interrupted(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: never]]")
    assert waited(run, id, act=lambda: run.ok("interrupt", id))[:2] == (5, "interrupted\n")
    run.ok("kill", id)


def test_it_returns_when_the_agent_dies(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: never]]")
    assert waited(run, id, act=lambda: os.kill(run.lab.pid(id), signal.SIGKILL))[:2] == (5, "exited\n")
    run.ok("kill", id)


@pytest.mark.gateway
def test_it_returns_when_the_session_is_killed(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: never]]")
    done = waited(run, id, act=lambda: run.ok("kill", id))
    assert done[:2] == (5, "exited\n")
    assert "Traceback" not in done.err


@pytest.mark.gateway
def test_one_of_several_is_killed_during_the_wait(run: Commands) -> None:
    first, second = run.create(), run.create()
    for id in (first, second):
        run.ok("send", id, "[[hold: a]]")
    waiting = run.lab.start("wait", first, second, "--interval", "600")
    blocked(run, waiting)
    run.ok("kill", first)
    run.release(second)
    done = run.lab.finish(waiting)
    assert (done.code, done.out) == (5, f"{first} exited\n{second} completed\n")
    run.ok("kill", second)


@pytest.mark.gateway
def test_a_line_is_printed_as_each_one_ends(run: Commands) -> None:
    first, second = run.create(), run.create()
    for id in (first, second):
        run.ok("send", id, "[[hold: a]]")
    waiting = run.lab.start("wait", first, second, "--interval", "600")
    blocked(run, waiting)
    run.release(second)
    assert waiting.stdout is not None
    os.set_blocking(waiting.stdout.fileno(), False)
    seen = run.lab.until(waiting.stdout.readline, "the line of the session that ended first", timeout=5)
    assert seen == f"{second} completed\n"
    assert waiting.poll() is None
    os.set_blocking(waiting.stdout.fileno(), True)
    run.release(first)
    assert run.lab.finish(waiting)[:2] == (0, f"{first} completed\n")
    run.ok("kill", first, second)


@pytest.mark.gateway
def test_ctrl_c_is_exit_130_and_the_agent_goes_on(run: Commands, busy: str) -> None:
    for words in (["wait", busy], ["wait", busy, "--interval", "600"], ["ask", busy, "x"]):
        process = run.lab.start(*words)
        blocked(run, process)
        process.send_signal(signal.SIGINT)
        done = run.lab.finish(process)
        assert (done.code, done.out) == (130, ""), words
        assert "Traceback" not in done.err
        assert done.err.count("\n") == 1
    assert run.ok("status", busy) == "working"
