"""What became of a turn that was interrupted."""

from __future__ import annotations

import pytest

from dev_sessions.model import Fact, Message, Probe
from dev_sessions.service.interruption import outcome as outcome_of_interrupt
from dev_sessions.turns import reduce

BEGUN = [Fact("alive", 1.0), Fact("accepted", 10.0, text="one", prompt="p1")]
HELD = [*BEGUN, Fact("accepted", 11.0, text="two", prompt="p1")]
CUT, DONE = (Fact("ended", 20.0, prompt="p1", outcome=outcome) for outcome in ("interrupted", "completed"))
BUSY, IDLE, GONE = Probe(30.0, True, "busy", 10.1), Probe(30.0, True, "idle", 20.1), Probe(30.0, False)


@pytest.mark.parametrize(
    ("before", "facts", "probe", "outcome"),
    [
        (BEGUN, BEGUN, BUSY, None),
        (BEGUN, BEGUN, IDLE, "interrupted"),
        (BEGUN, [*BEGUN, CUT], IDLE, "interrupted"),
        (BEGUN, [*BEGUN, DONE], IDLE, "completed"),
        (BEGUN, BEGUN, GONE, "exited"),
        # What waited in the agent's queue goes on at once.
        (HELD, HELD, BUSY, None),
        (
            HELD,
            [*HELD, CUT, Fact("started", 20.1, text="two", prompt="p2")],
            Probe(30.0, True, "busy", 20.2),
            "interrupted",
        ),
        # Nothing ran.
        ([*BEGUN, DONE], [*BEGUN, DONE], IDLE, None),
    ],
)
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "a person's"])
def test_what_became_of_it(before, facts, probe, outcome, ours):
    texts = ("one", "two") if ours else ()
    messages = [
        Message(number, text, "terminal", f"r{number}", 9.0 + number, attempted=9.0 + number, receipt="started")
        for number, text in enumerate(texts, 1)
        if any(fact.text == text for fact in before)
    ]
    ran = Probe(30.0, True, "busy", 10.1) if not any(fact.kind == "ended" for fact in before) else IDLE
    assert outcome_of_interrupt(reduce(messages, before, ran), reduce(messages, facts, probe)) == outcome
