"""Sessions that share one server (the fake Codex): its end, `revive`, and what an interrupt ends and leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import codex_stand_in

if TYPE_CHECKING:
    from conftest import Commands
    from lab import Lab

DIED = "the Codex app-server ended in the middle of the turn"


@pytest.fixture
def home(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A CODEX_HOME, and so a server, of the test's own."""
    named = codex_stand_in(lab, tmp_path)
    before = dict(lab.env)
    lab.env |= named
    yield Path(named["CODEX_HOME"])
    lab.env.clear()
    lab.env |= before


@pytest.fixture
def cut(run: Commands, home: Path) -> Iterator[str]:
    """A session in the middle of its second turn, whose server has just been killed."""
    id = run.ok("create", "--cli", "codex", "-q")
    run.ok("ask", id, "[[reply: first]]")
    run.ok("send", id, "[[reply: half]][[hold: never]]")
    end(run)
    yield id
    run("kill", "--all")


def servers(run: Commands) -> list[int]:
    return run.lab.running("app-server")


def end(run: Commands) -> None:
    (pid,) = servers(run)
    os.kill(pid, signal.SIGKILL)
    run.lab.until(lambda: not servers(run), "the end of the server")


def test_reads_work_without_a_server_and_report_its_end(run: Commands, cut: str) -> None:
    waited = run("wait", cut)
    assert waited[:2] == (5, "interrupted\n")
    assert DIED in waited.err
    assert run.json("wait", cut)["error"] == DIED
    assert run.ok("status", cut) == "idle"
    assert run.json("last-message", cut) == ["half"]
    assert "half" in run.ok("logs", cut)
    assert '"turn": 2' in run.ok("events", cut)
    assert Path(run.json("inspect", cut)["files"]["rollout"]).exists()
    assert servers(run) == []


def test_revive_restarts_the_server_and_names_the_interrupted_turn(run: Commands, cut: str) -> None:
    done = run("revive", cut)
    assert done[:2] == (0, f"Revived session {cut} (interrupted: turn 2)\n")
    assert "the Codex app-server was restarted" in done.err
    assert len(servers(run)) == 1
    assert run("wait", cut, "--turn", "2")[:2] == (5, "interrupted\n")
    assert run("revive", cut) == (0, f"Session {cut} is alive (idle); nothing was changed\n", "")
    assert run("ask", cut, "[[reply: third]]") == (0, "third\n", "")
    assert run("wait", cut)[:2] == (0, "completed\n")


def test_three_revives_at_once_start_one_server(run: Commands, cut: str) -> None:
    done = [run.lab.finish(one) for one in [run.lab.start("revive", cut, "--json") for _ in range(3)]]
    assert sorted(one.json[0]["outcome"] for one in done) == ["alive", "alive", "revived"]
    assert len(servers(run)) == 1
    assert len(json.loads((run.lab.folder(cut) / "revivals.json").read_text())) == 1


def test_revive_all_after_a_reboot(run: Commands, cut: str, home: Path) -> None:
    """Sessions at rest too; the first one that is revived restarts the server for all."""
    rested = run.ok("create", "--cli", "codex", "-q")
    run.ok("send", cut, "[[hold: never]]")
    run.ok("send", cut, "[[reply: from the queue]]", "--queue")
    for pid in [*run.lab.running("courier", cut), *servers(run)]:  # the courier would start the server again
        os.kill(pid, signal.SIGKILL)
    run.lab.until(lambda: not servers(run) and not run.lab.running("courier", cut), "the end of all")
    shutil.rmtree(home / "app-server-control")
    assert sorted(run.ok("revive", "--all").splitlines()) == sorted(
        [f"Revived session {cut} (interrupted: turn 3) (queued: 1)", f"Revived session {rested}"]
    )
    assert run("wait", cut, "--turn", "4")[:2] == (0, "completed\n")
    assert run.json("last-message", cut) == ["from the queue"]
    assert "no agent has exited" in run("revive", "--all").err


def test_a_server_older_than_the_support_window_is_refused_and_ended(run: Commands, home: Path) -> None:
    program = Path(run.lab.env["DEV_SESSIONS_CODEX"])
    program.write_text(program.read_text().replace("exec", "FAKE_VERSION=0.145.0 exec"))
    refused = run("create", "--cli", "codex", "--json")
    assert refused.code == 1
    error = refused.json["error"]
    assert (error["code"], error["data"]["version"]) == ("launch_failed", "0.145.0")
    assert f"the app-server of {home} is Codex 0.145.0; dev-sessions works with 0.146.0 and newer" in error["message"]
    assert "npm install" in error["data"]["next"]
    assert servers(run) == []
    assert run.json("list") == []


@pytest.mark.gateway
def test_a_goal_is_not_pursued_after_its_server_has_ended(run: Commands, cut: str) -> None:
    run.ok("goal", cut, "[[hold: step]]")
    run.lab.until(lambda: run.ok("status", cut) == "working", "the goal's turn")
    end(run)
    waited = run("wait", cut, "--goal")
    assert waited[:2] == (5, "interrupted\n")
    assert DIED in waited.err


def test_an_interrupt_leaves_the_sessions_that_the_turn_has_created(run: Commands, home: Path) -> None:
    """Their agents, and the tmux server that came with them, were started by a command of the turn."""
    parent = run.ok("create", "--cli", "codex", "-q")
    tool = Path(sys.executable).parent / "dev-sessions"
    creates = "; ".join(f"{tool} create --cli {cli} -q --id {id}" for cli, id in (("fake", "kid"), ("codex", "kod")))
    sleeping = "python3 -c 'import time; time.sleep(600)'"
    run.ok("send", parent, f"[[bash: {creates}; {sleeping}]][[reply: never]]")
    run.lab.until(lambda: {row["id"] for row in run.json("list")} >= {"kid", "kod"}, "the sessions")
    run.lab.until(lambda: run.lab.running("python3", "import time; time.sleep(600)"), "the last command")
    assert run("interrupt", parent) == (0, "interrupted\n", "")
    run.lab.until(lambda: not run.lab.running("python3", "import time; time.sleep(600)"), "the end of the command")
    for id in ("kid", "kod"):
        assert run("ask", id, "[[reply: alive]]") == (0, "alive\n", "")
    run("kill", "--all")
