"""Commands that a Codex session left running, as its rollout shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dev_sessions.backends.codex import rollout

STAMP = "2026-11-23T01:00:00.000Z"


def line(kind: str, **payload: Any) -> bytes:
    return json.dumps({"timestamp": STAMP, "type": kind, "payload": payload}, separators=(",", ":")).encode()


def output(text: str) -> bytes:
    return line("response_item", type="function_call_output", call_id="c", output=text)


def over(number: str) -> bytes:
    item = {"type": "CommandExecution", "id": "c", "process_id": number}
    return line("event_msg", type="item_completed", turn_id="t", item=item)


def running(number: str) -> str:
    return f"Chunk ID: 0807cc\nWall time: 0.2512 seconds\nProcess running with session ID {number}\nOutput:\n"


BEGAN = line("event_msg", type="task_started", turn_id="t", started_at=1)
ENDED = line("event_msg", type="task_complete", turn_id="t", last_agent_message="x", started_at=1)


def counts(*lines: bytes) -> tuple[int, int]:
    """How many there were when the turn ended, and how many there are."""
    found = rollout.story([BEGAN, *lines])
    (fact,) = [fact for fact in rollout.facts(found.events) if fact.kind == "ended"]
    return fact.background, found.left


def test_a_command_is_left_until_its_end_is_written_down() -> None:
    left = [output(running("55292")), output(running("7")), ENDED]
    assert counts(*left) == (2, 2)
    assert counts(*left, over("55292")) == (2, 1)
    assert counts(*left, over("55292"), over("7")) == (2, 0)


def test_a_command_that_was_waited_for_is_not_left() -> None:
    exited = "Chunk ID: 1\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nout\n"
    assert counts(output(exited), over("1"), ENDED) == (0, 0)
    again = [output(running("8")), output(running("8")), over("8")]  # polled, then waited for
    assert counts(*again, ENDED) == (0, 0)


@pytest.mark.parametrize("text", [f"Process exited with code 0\nOutput:\n{running('9')}", "", None, 7, ["x"]])
def test_the_output_of_a_command_is_not_read_as_words_of_codex(text: Any) -> None:
    assert counts(output(text), ENDED) == (0, 0)
