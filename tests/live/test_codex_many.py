"""Commands on a long Codex thread cost as much as on a short one, and many busy threads are reported correctly.

The tests do not measure time. They count what a command opens, reads and receives from the server
(`tests/fakes/meter.py`). We promise 200 turns, and `make soak` runs that many: their whole rollout is larger than all
that a command may read.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from codex_lab import CodexLab
from lab import ROOT
from soak import size

from dev_sessions.app import client

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
TURNS = size(60, 200)
THREADS = size(4, 10)
# How many more bytes a command may read on a long thread: the newest part of its rollout, and our notes about the rest.
# `wait` reads both twice (to find what to watch, and to get the state), `send` about five times. The whole rollout of
# the promised turns is larger than that.
MORE = {"wait": 600_000, "send": 1_200_000}
MORE_ELSE = 400_000
# How many more files it may open: the messages that are not compacted yet.
OPENS = 100
# How many more frames it may receive: the server's messages before its acknowledgement vary between runs.
FRAMES = 20


class Cost(NamedTuple):
    """What a command cost, and what it printed."""

    opens: int
    connections: int
    frames: int
    bytes: int
    out: str


def cost(lab: CodexLab, *args: str) -> Cost:
    counts = lab.path / "counts.json"
    argv = [sys.executable, str(ROOT / "tests" / "fakes" / "meter.py"), str(counts), *args]
    done = subprocess.run(argv, env=lab.env, cwd=lab.project, capture_output=True, text=True, check=True, timeout=60)
    return Cost(**json.loads(counts.read_text()), out=done.stdout)


def talk(lab: CodexLab, id: str, turns: int) -> None:
    """Run that many turns, each sent and waited for, in one process: Python's start-up is not under test."""
    ours = client(lab.env)
    for number in range(turns):
        answer = ours.ask(id, f"[[reply: answer {number}]] {'x' * 3000}")
        assert answer["reply"] == f"answer {number}"


COMMANDS = (("status",), ("last-message",), ("wait",), ("send", "[[reply: again]]"))


def test_a_thread_of_many_turns_costs_what_a_short_one_costs(codex_lab: CodexLab) -> None:
    short, long = codex_lab.create(), codex_lab.create()
    talk(codex_lab, short, 2)
    talk(codex_lab, long, TURNS)
    assert Path(codex_lab.private(long)["rollout"]).stat().st_size > TURNS * 10_000
    for command, *text in COMMANDS:
        few, many = (cost(codex_lab, command, id, *text) for id in (short, long))
        assert many.connections == few.connections, command
        assert many.frames <= few.frames + FRAMES, command
        assert many.opens <= few.opens + OPENS, command
        assert many.bytes <= few.bytes + MORE.get(command, MORE_ELSE), command
    assert codex_lab.ok("wait", long) == "completed"
    assert codex_lab.ok("last-message", long) == "again"
    told = json.loads(codex_lab.ok("wait", long, "--turn", str(TURNS // 2), "--json"))
    assert told["turns"][0]["reply"] == f"answer {TURNS // 2 - 1}"  # a turn from long ago is still known


def test_many_threads_at_work_at_once(codex_lab: CodexLab) -> None:
    ours = client(codex_lab.env)
    ids = [ours.create(cli="codex", path=str(codex_lab.project), group="many")["id"] for _ in range(THREADS)]
    for number, id in enumerate(ids):
        assert ours.send(id, f"[[hold: go]][[reply: I am {number}]]")["receipt"] == "started"
    codex_lab.until(lambda: len(codex_lab.model.requests) >= THREADS, "every thread is with its model")
    rows = json.loads(codex_lab.ok("list", "--group", "many", "--json"))
    assert sorted((row["id"], row["status"]) for row in rows) == sorted((id, "working") for id in ids)
    waits = [codex_lab.start("wait", id, "--json") for id in ids[:3]]
    all_of_them = codex_lab.start("wait", *ids, "--json")
    codex_lab.model.release("go")
    told = codex_lab.finish(all_of_them).json
    assert [(one["session"], one["outcome"]) for one in told] == [(id, "completed") for id in ids]
    assert [one["turns"][0]["reply"] for one in told] == [f"I am {number}" for number in range(THREADS)]
    assert [codex_lab.finish(wait).json for wait in waits] == told[:3]
    assert [ours.last_message(id) for id in ids] == [[f"I am {number}"] for number in range(THREADS)]
    assert {row["status"] for row in json.loads(codex_lab.ok("list", "--json"))} == {"idle"}
    codex_lab.ok("kill", "--group", "many")
    assert codex_lab.processes() == []
