"""The app-server's messages: every recorded frame, and every recorded shape of a thread's status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import VALUES

from dev_sessions.backends.codex import protocol
from dev_sessions.backends.codex.program import PROGRAM
from dev_sessions.backends.codex.protocol import Answer, Notice, Status

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(path.name for path in DATA.glob("codex-*"))

STATUSES = json.loads((DATA / "thread-status.json").read_text())


@pytest.mark.parametrize("row", STATUSES, ids=lambda row: json.dumps(row["value"]))
def test_status(row: dict[str, Any]) -> None:
    found = protocol.status(row["value"])
    assert found == Status(row["kind"], tuple(row["flags"]))
    assert found.waiting is row["waiting"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_names_its_version_in_its_greeting(version: str) -> None:
    greeting = json.loads((DATA / version / "frames.jsonl").read_text().splitlines()[0])["result"]
    assert f"codex-{protocol.version(greeting)}" == version


@pytest.mark.parametrize("greeting", [{}, {"userAgent": None}, {"userAgent": "another"}, {"userAgent": 7}])
def test_a_greeting_without_a_version(greeting: dict[str, Any]) -> None:
    assert protocol.version(greeting) == ""


@pytest.mark.parametrize(
    ("version", "too_old"),
    [
        ("0.139.0", True),
        ("0.145.9-alpha.3", True),
        ("0.146.0", False),
        ("0.172.0-alpha.1", False),
        ("1.0.0", False),
        ("0.0.0", False),
        ("", False),
        ("next", False),
    ],
)
def test_versions_older_than_the_support_window(version: str, too_old: bool) -> None:
    assert PROGRAM.is_too_old(version) is too_old


def statuses(value: Any) -> Iterator[Any]:
    """Every status of a thread in a frame."""
    if isinstance(value, dict):
        where = (value.get("thread") or {}) if "thread" in value else value if "threadId" in value else {}
        if "status" in where and not isinstance(where["status"], str):
            yield where["status"]
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from statuses(one)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_status_that_was_recorded_is_in_the_table(version: str) -> None:
    known = [row["value"] for row in STATUSES if version.removeprefix("codex-") in row["recorded"]]
    paths = [path for name in ("frames", "exchange") if (path := DATA / version / f"{name}.jsonl").exists()]
    found = [one for path in paths for line in path.read_text().splitlines() for one in statuses(json.loads(line))]
    assert all(one in known for one in found)
    assert all(one in found for one in known)


NAMES = st.sampled_from(("type", "active", "idle", "activeFlags")) | st.text(max_size=3)
ANY = st.recursive(
    st.sampled_from(VALUES), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)


@given(ANY)
def test_a_status_of_any_shape_can_be_read(value: Any) -> None:
    found = protocol.status(value)
    assert isinstance(found.kind, str)
    assert all(isinstance(flag, str) for flag in found.flags)
    assert protocol.parse(json.dumps({"method": "thread/status/changed", "params": {"status": value}})) is not None


def frames(version: str) -> list[Answer | Notice]:
    lines = (DATA / version / "frames.jsonl").read_text().splitlines()
    parsed = [protocol.parse(line) for line in lines]
    assert None not in parsed
    return parsed  # type: ignore[return-value]


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_frames(version: str) -> None:
    found = frames(version)
    answers = {one.id: one for one in found if isinstance(one, Answer)}
    notices = [one for one in found if isinstance(one, Notice)]
    assert "codexHome" in answers[1].result
    assert [protocol.status(answers[id].result["thread"]["status"]).kind for id in (2, 4)] == ["notLoaded", "idle"]
    turn = answers[5].result["turn"]["id"]
    assert protocol.status(answers[6].result["thread"]["status"]).waiting
    (asked,) = [notice for notice in notices if notice.id is not None]
    assert (asked.method, asked.params["turnId"]) == ("item/tool/requestUserInput", turn)
    ended = next(notice for notice in notices if notice.method == "turn/completed")
    assert (ended.params["turn"]["id"], ended.params["turn"]["status"]) == (turn, "interrupted")


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_refusals(version: str) -> None:
    errors = {one.id: one.error for one in frames(version) if isinstance(one, Answer) and one.error}
    assert set(errors) == {7, 9, 10, 11}
    assert all(error.code == -32600 for error in errors.values())


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "null", "7", "{}", '{"result": 1}', b"\xff\xfe", '{"method": 7}', "[" * 10]
)
def test_anything_else_is_not_a_message(text: str | bytes) -> None:
    assert protocol.parse(text) is None


@pytest.mark.parametrize("error", ["odd", {"message": "m"}, {"code": "x"}, {}, []])
def test_an_odd_error_is_an_error(error: object) -> None:
    answer = protocol.parse(json.dumps({"id": 1, "error": error}))
    assert isinstance(answer, Answer)
    assert isinstance(answer.error, protocol.Refused)


def test_the_first_request() -> None:
    asked = protocol.initialization("1.2")
    assert asked["clientInfo"]["version"] == "1.2"
    assert "item/agentMessage/delta" in asked["capabilities"]["optOutNotificationMethods"]
    assert "turn/completed" not in asked["capabilities"]["optOutNotificationMethods"]


NETWORK = {"message": "Reconnecting... waiting for network", "additionalDetails": "Connection failed"}


@pytest.mark.parametrize(
    ("method", "params", "found"),
    [
        ("error", {"error": NETWORK, "willRetry": True}, "Reconnecting... waiting for network (Connection failed)"),
        ("error", {"error": {"message": "Reconnecting... 1/5"}, "willRetry": True}, "Reconnecting... 1/5"),
        ("error", {"error": NETWORK, "willRetry": False}, None),  # the turn fails with it, and its end has the error
        ("error", {"error": NETWORK, "willRetry": True, "threadId": "another"}, None),
        ("error", {"error": "?", "willRetry": True}, None),
        ("warning", {"error": NETWORK, "willRetry": True}, None),
    ],
)
def test_complaints(method: str, params: dict[str, object], found: str | None) -> None:
    assert protocol.complaint(protocol.Notice(method, {"threadId": "t", **params}), "t") == found
