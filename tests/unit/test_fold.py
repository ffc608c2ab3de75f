"""Facts that this version does not know."""

from __future__ import annotations

from dev_sessions.model import Fact, Message, Probe
from dev_sessions.turns import reduce


def test_a_fact_of_a_newer_version_changes_nothing() -> None:
    messages = [Message(1, "one", "terminal", "r", 10.0, attempted=10.0, receipt="started")]
    facts = [Fact("alive", 1.0), Fact("accepted", 11.0, text="one", prompt="p")]
    newer = Fact("of a newer version", 12.0, text="one", prompt="p", task="t")  # type: ignore[arg-type]
    for activity in ("busy", "idle"):
        probe = Probe(100.0, True, activity, 10.5)
        assert reduce(messages, [*facts, newer], probe) == reduce(messages, facts, probe)
