"""Many sessions that run at once in one tmux server: created, listed by one command, ended by one command.

The agent is the scripted one and polls only once a second; otherwise the test would mostly measure its polling. We
promise 500 sessions, and `make soak` runs that many.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from lab import Lab
from soak import size

from dev_sessions.state.registry import Store

MANY = size(12, 500)
MAKERS = 4


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="many") as made:
        made.env.update(FAKE_TICK="1", DEV_SESSIONS_READY_TIMEOUT="300")
        yield made


# One process creates many sessions: Python's start-up is not under test.
MAKER = f"""
import sys
sys.path[:] = {sys.path!r}
from dev_sessions.app import client
for _ in range(int(sys.argv[1])):
    print(client().create(cli="fake", group="many")["id"], flush=True)
"""


def make(lab: Lab, count: int) -> list[str]:
    """Create that many sessions; returns their ids."""
    shares = [count // MAKERS + (number < count % MAKERS) for number in range(MAKERS)]
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER, str(share)], env=lab.env, cwd=lab.project, stdout=subprocess.PIPE, text=True
        )
        for share in shares
    ]
    ids = [id for maker in makers for id in maker.communicate()[0].split()]
    assert [maker.returncode for maker in makers] == [0] * MAKERS
    return ids


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_many_sessions(lab: Lab) -> None:
    ids = make(lab, MANY)
    assert len(set(ids)) == MANY
    rows = lab.run("list", "--json").json
    assert {row["id"] for row in rows} == set(ids)
    assert {row["status"] for row in rows} == {"idle"}
    table = lab.ok("list", "--group", "many")
    assert all(id in table for id in ids)
    # Each of so many sessions can be used as if it were the only one.
    assert lab.ok("ask", ids[MANY // 2], "[[reply: here]]", "--timeout", "60") == "here"
    done = lab.run("kill", *ids, "--json", timeout=300)
    assert done.code == 0, done
    assert [one["session"] for one in json.loads(done.out)] == ids
    assert lab.run("list", "--json").json == []
    assert Store(str(lab.state)).load() == {}
    assert list((lab.state / "sessions").iterdir()) == []
    assert len(list((lab.state / "archive").iterdir())) == MANY
    assert lab.processes() == []
    assert lab.tmux("list-sessions") == ""
