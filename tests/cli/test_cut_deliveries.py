"""A failed delivery leaves no turn that a `wait` would wait for forever.

`status`, `wait` and a retry by the same request id agree on it: the agent has the message, or it has not.
"""

from __future__ import annotations

from typing import Any

import pytest
from lab import Lab

from dev_sessions.turns import START_GRACE

KINDS = {"tmux": 1, "gone": 1, "disk": 1, "refused": 1, "asks": 6, "odd": 1, "interrupt": 130, "kill": -9}
SHORT = {"DEV_SESSIONS_RECEIPT_TIMEOUT": "1"}


@pytest.fixture(scope="module")
def taker(run: Any) -> str:
    """A session whose agent is at rest between the tests."""
    return str(run.create())


def test_a_delivery_interrupted_before_the_agent_could_take_it(lab: Lab, run: Any, taker: str) -> None:
    def words(kind: str) -> tuple[str, ...]:
        return ("send", taker, "--request-id", f"{kind}-before", f"[[cut: {kind} before]][[reply: never]]")

    assert {kind: lab.run(*words(kind)).code for kind in KINDS} == KINDS
    waited = run("wait", taker, "--json", "--timeout", str(6 * START_GRACE))
    assert (waited.code, {turn["outcome"] for turn in waited.json["turns"]}) == (5, {"failed"})
    assert run("status", taker).out.startswith("idle")
    for kind in KINDS:
        again = run(*words(kind), "--json", env=SHORT)
        assert (kind, again.json["error"]["code"]) == (kind, "delivery_unknown")
    assert run("ask", taker, "[[reply: on]]").out == "on\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_delivery_interrupted_after_the_agent_could_take_it(lab: Lab, run: Any, taker: str, kind: str) -> None:
    words = ("send", taker, "--request-id", f"{kind}-after", f"[[cut: {kind} after]][[reply: {kind}]]")
    assert lab.run(*words).code == KINDS[kind]
    assert run.ok("wait", taker, "--timeout", str(6 * START_GRACE)) == "completed"
    assert run.ok("last-message", taker) == kind
    assert run.json(*words)["receipt"] == "started"
    assert run.ok("wait", taker) == "completed"
