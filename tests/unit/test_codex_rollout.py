"""Rollouts, recorded per version of Codex, read as facts; and the state that follows from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dev_sessions.backends.codex import questions, rollout
from dev_sessions.model import Fact, Message, Probe
from dev_sessions.turns import reduce

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(path.name for path in DATA.glob("codex-*"))


def lines(version: str, name: str) -> list[bytes]:
    return (DATA / version / name).read_bytes().split(b"\n")[:-1]


def story(version: str, name: str) -> rollout.Story:
    return rollout.read(str(DATA / version / name))


def messages(found: rollout.Story) -> list[Message]:
    """Our messages, as they must have been for this story."""
    texts = [event for event in found.events if event.kind == "prompt"]
    return [
        Message(number, event.text, "rpc", str(number), event.at - 0.1, attempted=event.at - 0.05, receipt="started")
        for number, event in enumerate(texts, 1)
    ]


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_turns_end_as_they_ended(version: str) -> None:
    found = story(version, "turns.jsonl")
    state = reduce(messages(found), rollout.facts(found.events), Probe(found.events[-1].at, True, "idle"))
    assert state.status == "idle"
    assert [(turn.state, turn.reply) for turn in state.turns] == [
        ("completed", "hello"),
        ("completed", "second"),
        ("failed", None),
        ("interrupted", None),
        ("completed", "both"),
        ("completed", "both"),
    ]
    assert state.turns[2].error
    assert all(turn.ended is not None and turn.ended >= turn.began for turn in state.turns)


def test_a_failure_has_its_reason_where_codex_writes_it_down() -> None:
    ended = [event for event in story("codex-0.171.0", "turns.jsonl").events if event.kind == "ended"]
    assert ended[2].error == "scripted error 400"


def ending(error: object, *windows: dict[str, float | None] | None) -> rollout.Event:
    """The end of a turn that failed by `error`, after Codex has received these windows (0.171.0)."""
    limits = dict(zip(("primary", "secondary"), windows, strict=False))
    found = [
        {"type": "task_started", "turn_id": "t"},
        {"type": "token_count", "info": None, "rate_limits": limits or None},
        {"type": "task_complete", "turn_id": "t", "last_agent_message": None, "error": error, "started_at": 1},
    ]
    lines = [{"timestamp": "2026-11-28T01:09:16.263Z", "type": "event_msg", "payload": one} for one in found]
    return rollout.story([json.dumps(line).encode() for line in lines]).events[-1]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("usage_limit_exceeded", "limit"),
        ("rate_limit_exceeded", "limit"),
        ({"response_too_many_failed_attempts": {"http_status_code": 429}}, "limit"),
        ({"response_too_many_failed_attempts": {"http_status_code": 500}}, None),
        ("server_overloaded", None),
        (None, None),
    ],
)
def test_a_limit_is_known_by_its_kind(kind: object, reason: str | None) -> None:
    assert ending({"message": "no", "codex_error_info": kind}).reason == reason


def test_a_limit_resets_when_no_window_is_used_up_any_more() -> None:
    error = {"message": "no", "codex_error_info": "usage_limit_exceeded"}
    used, late, left = ({"used_percent": n, "resets_at": at} for n, at in ((100.0, 50), (101, 70), (99.0, 90)))
    assert [ending(error, *windows).resets_at for windows in ((used, late), (used, left), (left, None), ())] == [
        70,
        50,
        None,
        None,
    ]
    assert ending(error, {"used_percent": 100.0, "resets_at": None}).resets_at is None
    assert ending({"message": "no", "codex_error_info": "other"}, used).resets_at is None
    (_, fact) = rollout.facts([rollout.Event("began", 1.0, "t"), ending(error, used)])
    assert (fact.outcome, fact.reason, fact.resets_at) == ("failed", "limit", 50)


def test_any_first_part_of_a_rollout_can_be_read(version: str) -> None:
    """A reader sees a part while Codex writes: a turn that runs is `working` until its end is there."""
    every = lines(version, "turns.jsonl")
    whole = rollout.story(every)
    for count in range(len(every)):
        part = rollout.story(every[:count])
        assert part.events == whole.events[: len(part.events)]
        facts = rollout.facts(part.events)
        now = part.events[-1].at if part.events else 0.0
        state = reduce(messages(part), facts, Probe(now, True, "busy" if part.open else "idle", now))
        assert state.status == ("working" if part.open else "idle")


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path, version: str) -> None:
    content = b"\n".join(lines(version, "turns.jsonl")) + b"\n"
    path = tmp_path / "rollout.jsonl"
    path.write_bytes(content[:-10])
    part = rollout.read(str(path))
    assert part.open is not None
    path.write_bytes(content)
    rest = rollout.read(str(path), part.size)
    assert [event.kind for event in rest.events] == ["ended"]
    assert rest.size == len(content)


@pytest.mark.parametrize("name", ["question", "permission"])
def test_the_open_call_contains_the_question(version: str, name: str) -> None:
    found = story(version, f"{name}.jsonl")
    (call,) = found.calls
    question = questions.of_call(call)
    assert question.since == call.at
    words = ("Which?", "Red", "Blue") if name == "question" else ("touch x", "May I?")
    assert all(word in question.text for word in words)
    asked = Fact("asked", call.at, prompt=found.open, question=question, held=True)
    state = reduce(messages(found), [*rollout.facts(found.events), asked], Probe(call.at, True, "waiting", call.at))
    assert (state.status, state.questions) == ("waiting_for_input", (question,))


def test_a_turn_whose_server_ended_is_interrupted(version: str) -> None:
    found = story(version, "crash.jsonl")
    state = reduce(messages(found), rollout.facts(found.events), Probe(found.events[-1].at, True, "idle"))
    assert [(turn.state, turn.reply) for turn in state.turns] == [("interrupted", None), ("completed", "back")]


def test_before_the_next_turn_only_the_probe_shows_that_its_server_ended(version: str) -> None:
    every = lines(version, "crash.jsonl")
    cut = next(index for index, line in enumerate(every) if line.count(b'"task_started"') and index > 2)
    found = rollout.story(every[:cut])
    assert found.open is not None
    died = found.events[-1].at
    state = reduce(messages(found), rollout.facts(found.events), Probe(died + 0.01, True, "idle", died))
    assert (state.status, state.turns[0].state) == ("idle", "interrupted")


def test_replies_without_those_of_the_running_turn(version: str) -> None:
    found = story(version, "turns.jsonl")
    texts = [entry.text for entry in rollout.replies(found.events, (), 9)]
    assert texts[:3] == ["hello", "first", "second"]
    assert texts[-1] == "both"
    last = found.events[-1].turn
    assert "both" not in [entry.text for entry in rollout.replies(found.events, [last], 9)]
    assert [entry.text for entry in rollout.replies(found.events, (), 1)] == ["both"]


def test_our_ids_of_messages_are_in_a_rollout(version: str) -> None:
    clients = story(version, "turns.jsonl").clients()
    assert sorted(int(client.partition("/")[2]) for client in clients) == [1, 2, 3, 4, 5, 6]


def test_a_turn_without_a_prompt_is_work_without_a_message() -> None:
    """Codex goes on by itself while a thread has a goal."""
    stamp = "2026-11-23T01:00:00.000Z"
    began = {"timestamp": stamp, "type": "event_msg", "payload": {"type": "task_started", "turn_id": "t"}}
    found = rollout.story([json.dumps(began, separators=(",", ":")).encode()])
    state = reduce([], rollout.facts(found.events), Probe(found.events[0].at, True, "busy", found.events[0].at))
    assert (state.status, state.turns) == ("working", ())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'"task_started"',
        b'{"type":"event_msg","payload":"task_started"}',
        b'{"type":"event_msg","payload":{"type":"item_completed","item":"UserMessage"}}',
        b'{"type":"event_msg","payload":{"type":"item_completed","item":{"type":"UserMessage","content":[7]}}}',
        b'{"timestamp":"odd","type":"event_msg","payload":{"type":"task_started"}}',
        b'{"type":"response_item","payload":{"type":"function_call","arguments":"[odd"}}',
        b"\xff\xfe task_started",
    ],
)
def test_odd_lines_do_no_harm(line: bytes) -> None:
    assert isinstance(rollout.story([line]), rollout.Story)


def test_facts_are_of_the_kinds_that_all_agents_share() -> None:
    found = story("codex-0.171.0", "turns.jsonl")
    assert {fact.kind for fact in rollout.facts(found.events)} == {"accepted", "joined", "ended"}
    assert all(isinstance(fact, Fact) for fact in rollout.facts(found.events))
