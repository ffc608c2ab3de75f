"""A Codex conversation from its beginning: recorded rollouts and made-up lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev_sessions.backends.codex.backend import CodexBackend
from dev_sessions.backends.codex.conversation import Reader
from dev_sessions.backends.session import Session
from dev_sessions.model import Entry
from dev_sessions.state.folder import Folder

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(path.name for path in DATA.glob("codex-*"))
STAMP = "2026-11-23T01:18:48.318Z"


def read(*lines: bytes) -> list[Entry]:
    reader = Reader()
    return [entry for line in lines for entry in reader.read(line)]


def event(kind: str, **payload: Any) -> bytes:
    return json.dumps({"timestamp": STAMP, "type": "event_msg", "payload": {"type": kind, **payload}}).encode()


def item(kind: str, **payload: Any) -> bytes:
    return json.dumps({"timestamp": STAMP, "type": "response_item", "payload": {"type": kind, **payload}}).encode()


def session(folder: Path, rollout: Path | None) -> Session:
    private = {"home": str(folder), "thread": "t", "rollout": str(rollout)} if rollout else {"home": str(folder)}
    record = {"id": "fizz-top", "key": "fizz-top-0a1b2c3d", "backend": private}
    return Session(record, Folder(str(folder)), {"HOME": str(folder), "DEV_SESSIONS_HOME": str(folder)})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_conversation(version: str) -> None:
    found = read(*(DATA / version / "turns.jsonl").read_bytes().splitlines(keepends=True))
    answered = [("assistant", "message", "x")] if version == "codex-0.146.0" else []
    assert [(one.role, one.kind, one.text[:22]) for one in found] == [
        ("user", "message", "[[reply: hello]]"),
        ("assistant", "message", "hello"),
        ("user", "message", "[[reply: first]][[bash"),
        ("assistant", "message", "first"),
        ("tool", "call", "echo out"),
        ("tool", "result", "out"),
        ("assistant", "message", "second"),
        ("user", "message", "[[error: 400]]"),
        ("tool", "error", "scripted error 400"),
        ("user", "message", "[[hold: a]][[reply: x]"),
        ("tool", "notice", "the turn was interrupt"),
        ("user", "message", "[[hold: b]][[reply: x]"),
        *answered,
        ("user", "message", "[[reply: both]]"),
        ("assistant", "message", "both"),
    ]
    call, result = (one for one in found if one.kind in ("call", "result"))
    assert (call.tool, call.given["cmd"]) == ("exec_command", "echo out")
    assert (result.tool, result.call, result.failed) == ("exec_command", call.call, False)
    assert "Process exited with code 0" in result.result
    assert all(one.prompt and one.at for one in found)
    assert len({one.prompt for one in found}) == 5


FAILURES = {
    "its exit code": ("Wall time: 0.1 seconds\nProcess exited with code 2\nOutput:\nno\n", "no", True),
    "well": ("Wall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nProcess exited with code 2\n", None, False),
    "it goes on": ("Wall time: 9 seconds\nProcess running with session ID 7\nOutput:\nsome\n", "some", False),
    "no command": ("Process exited with code 2", "Process exited with code 2", False),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_command_that_failed(name: str) -> None:
    output, text, failed = FAILURES[name]
    (result,) = read(item("function_call_output", call_id="c", output=output))
    assert result.failed is failed
    assert result.text == (text or "Process exited with code 2")
    assert result.result == output


def test_codex_reports_that_a_tool_failed() -> None:
    lines = (
        event("item_completed", item={"type": "FileChange", "id": "c", "status": "declined"}),
        item("custom_tool_call", call_id="c", name="apply_patch", input="*** Begin Patch"),
        item("custom_tool_call_output", call_id="c", output="rejected by user"),
        item("custom_tool_call_output", call_id="d", output="fine"),
    )
    call, failed, fine = read(*lines)
    assert (call.tool, call.text) == ("apply_patch", "*** Begin Patch")
    assert (failed.tool, failed.failed, fine.failed) == ("apply_patch", True, False)


def test_images_are_counted_and_their_bytes_left_out() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 4000}
    given = [{"type": "text", "text": "look"}, {"type": "image", "url": picture["image_url"]}]
    sent, seen = read(
        event("item_completed", item={"type": "UserMessage", "content": given}),
        item("function_call_output", call_id="c", output=[{"type": "input_text", "text": "a cat"}, picture]),
    )
    assert (sent.text, sent.images) == ("look", 1)
    assert (seen.text, seen.images) == ("a cat\n[image]", 1)
    assert "(3000 bytes)" in json.dumps(seen.result)


def test_other_entries_of_a_conversation() -> None:
    found = read(
        event("task_started", turn_id="t1"),
        event("item_completed", item={"type": "Reasoning", "summary_text": ["hm", "aha"]}),
        item("reasoning", summary=[]),
        item("message", role="user", content=[{"type": "input_text", "text": "<environment_context>"}]),
        item("web_search_call", action={"type": "search", "query": "cats"}),
        json.dumps({"timestamp": STAMP, "type": "compacted", "payload": {"message": "..."}}).encode(),
        item("function_call", call_id="c", name="update_plan", arguments='{"plan": [1], "explanation": "so"}'),
    )
    assert [(one.role, one.kind, one.text) for one in found] == [
        ("assistant", "thinking", "hm\naha"),
        ("tool", "call", "type: search\nquery: cats"),
        ("tool", "notice", "the conversation so far was summarized for the model"),
        ("tool", "call", "plan: [1]\nexplanation: so"),
    ]
    assert {one.prompt for one in found} == {"t1"}


def test_a_message_that_a_version_writes_twice_is_one_entry() -> None:
    message = {"type": "AgentMessage", "content": [{"type": "Text", "text": "hi"}]}
    twice = (event("item_completed", item=message), event("agent_message", message="hi"))
    assert [one.text for one in read(*twice)] == ["hi"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "content"]), inner),
    max_leaves=8,
)
_KINDS = ("item_completed", "agent_reasoning", "task_complete", "function_call", "function_call_output", "x_call")


@given(st.sampled_from(["event_msg", "response_item", "compacted"]), st.sampled_from(_KINDS), _JSON, _JSON, _JSON)
def test_lines_of_any_shape(kind: str, name: str, one: Any, two: Any, three: Any) -> None:
    payload = {"type": name, "item": one, "output": one, "arguments": two, "action": two, "text": three, "error": three}
    line = json.dumps({"timestamp": three, "type": kind, "payload": payload}).encode()
    for entry in read(line, line):
        assert isinstance(entry.text, str)
        json.dumps(entry._asdict())


def test_a_session_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rollout-t.jsonl"
    lines = (DATA / VERSIONS[-1] / "turns.jsonl").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    conversation = CodexBackend().conversation(session(tmp_path, path))
    assert [one.text for one in conversation.new()] == ["[[reply: hello]]"]
    with path.open("ab") as file:
        file.write(b"".join(lines[4:9]))
    assert next(one.text for one in conversation.new()) == "hello"
    assert list(conversation.rest()) == []
    assert conversation.paths() == (str(path),)
    conversation.close()


def test_a_session_without_a_thread_has_no_conversation(tmp_path: Path) -> None:
    conversation = CodexBackend().conversation(session(tmp_path, None))
    assert [*conversation.new(), *conversation.rest(), *conversation.paths()] == []
    conversation.close()


def test_where_its_files_are(tmp_path: Path) -> None:
    path = tmp_path / "rollout-t.jsonl"
    path.write_bytes((DATA / "codex-0.146.0" / "turns.jsonl").read_bytes())
    there = CodexBackend().places(session(tmp_path, path))
    assert (there.version, there.terminal, there.reported) == ("0.146.0", None, True)
    assert there.files["rollout"] == str(path)
    assert there.files["config"] == str(tmp_path / "config.toml")
    unstarted = CodexBackend().places(session(tmp_path, None))
    assert (unstarted.version, unstarted.reported) == (None, False)
