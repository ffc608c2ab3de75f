"""After a command is killed with -9, no unknown app-server runs, and the same command run again completes the work.

The steps at which a command dies are drawn from a seed, as in `test_crashes.py`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from codex_lab import CodexLab
from mortal import Mortal
from soak import size

pytestmark = pytest.mark.soak
KILLS = size(3, 40)
SEED = os.environ.get("DEV_SESSIONS_SEED", "1")


@pytest.fixture
def mortal(codex_lab: CodexLab) -> Iterator[Mortal]:
    codex_lab.env["DEV_SESSIONS_RECEIPT_TIMEOUT"] = "1"
    made = Mortal(codex_lab.env, str(codex_lab.project))
    yield made
    made.close()


def steps(mortal: Mortal, usual: int) -> Iterator[int]:
    """Steps at which to die, spread over the whole run; hardly any two runs use the same."""
    draw = random.Random(SEED)
    for number in range(KILLS):
        part = usual / KILLS
        yield max(1, round(part * (number + draw.random())))


def test_a_killed_create_leaves_nothing_that_kill_does_not_find(codex_lab: CodexLab, mortal: Mortal) -> None:
    given = {"cli": "codex", "path": str(codex_lab.project)}
    whole = mortal("create", request_id="whole", **given)
    assert whole.code == "ok", whole
    mortal("kill", [whole.value["id"]])
    deaths = 0
    for step in steps(mortal, whole.steps):
        deaths += mortal("create", request_id=f"r-{step}", step=step, **given).code == "killed"
        again = mortal("create", request_id=f"r-{step}", **given)
        assert again.code == "ok", (step, again)
        assert len(codex_lab.servers()) == 1, step
        assert codex_lab.ok("ask", again.value["id"], "[[reply: hi]]") == "hi"
        codex_lab.ok("kill", "--all")
        assert codex_lab.servers() == [], step
        assert codex_lab.ok("list", "--json") == "[]"
    assert deaths >= KILLS // 2


def test_a_killed_send_is_delivered_once(codex_lab: CodexLab, mortal: Mortal) -> None:
    id = codex_lab.create()
    whole = mortal("send", id, "[[reply: whole]]")
    assert whole.code == "ok", whole
    deaths = 0
    for step in steps(mortal, whole.steps):
        text = f"[[reply: {step}]] {os.urandom(4).hex()}"
        deaths += mortal("send", id, text, request_id=f"r-{text}", step=step).code == "killed"
        again = mortal("send", id, text, request_id=f"r-{text}")
        assert again.code == "ok", (step, again)
        done = codex_lab.run("wait", id, "--turn", str(again.value["turn"]), "--json")
        assert (done.code, done.json["outcome"]) == (0, "completed"), step
        assert codex_lab.prompts(id).count(text) == 1, step
    assert deaths >= KILLS // 2


def test_a_killed_kill_is_finished_by_the_next(codex_lab: CodexLab, mortal: Mortal) -> None:
    id = codex_lab.create()
    whole = mortal("kill", [id])
    assert whole.code == "ok", whole
    for step in steps(mortal, whole.steps):
        id = codex_lab.create()
        mortal("kill", [id], step=step)
        codex_lab.ok("kill", "--all")
        assert codex_lab.ok("list", "--json") == "[]"
        assert codex_lab.servers() == [], step
