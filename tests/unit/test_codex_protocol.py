"""The app-server's messages: every recorded frame, and every recorded shape of a thread's status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dev_sessions.backends.codex import protocol
from dev_sessions.backends.codex.protocol import Answer, Notice, Status

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(path.name for path in DATA.glob("codex-*"))

STATUSES = [
    ("idle", Status("idle"), False),
    ("notLoaded", Status("notLoaded"), False),
    ({"type": "idle"}, Status("idle"), False),
    ({"type": "notLoaded"}, Status("notLoaded"), False),
    ({"type": "systemError"}, Status("systemError"), False),
    ({"type": "active", "activeFlags": []}, Status("active"), False),
    ({"type": "active", "activeFlags": ["waitingOnApproval"]}, Status("active", ("waitingOnApproval",)), True),
    ({"type": "active", "activeFlags": ["waitingOnUserInput"]}, Status("active", ("waitingOnUserInput",)), True),
    ({"active": {"activeFlags": ["waitingOnApproval"]}}, Status("active", ("waitingOnApproval",)), True),
    ({"active": {"active_flags": ["waitingOnUserInput"]}}, Status("active", ("waitingOnUserInput",)), True),
    ({"active": {}}, Status("active"), False),
    ({"active": None}, Status("active"), False),
    (None, Status(""), False),
    ({}, Status(""), False),
    (7, Status(""), False),
    ({"type": "active", "activeFlags": "odd"}, Status("active"), False),
]


@pytest.mark.parametrize(("value", "status", "waiting"), STATUSES)
def test_status(value: object, status: Status, waiting: bool) -> None:
    assert protocol.status(value) == status
    assert protocol.status(value).waiting is waiting


def frames(version: str) -> list[Answer | Notice]:
    lines = (DATA / version / "frames.jsonl").read_text().splitlines()
    parsed = [protocol.parse(line) for line in lines]
    assert None not in parsed
    return parsed  # type: ignore[return-value]


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_frames(version: str) -> None:
    told = frames(version)
    answers = {one.id: one for one in told if isinstance(one, Answer)}
    notices = [one for one in told if isinstance(one, Notice)]
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
    kinds = {id: (error.says(protocol.METHOD_MISSING), error.says(protocol.NOT_LOADED)) for id, error in errors.items()}
    assert kinds == {7: (False, False), 9: (True, False), 10: (False, True), 11: (False, False)}
    assert all(error.code == -32600 for error in errors.values())


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "null", "7", "{}", '{"result": 1}', b"\xff\xfe", '{"method": 7}', "[" * 10]
)
def test_what_is_no_message(text: str | bytes) -> None:
    assert protocol.parse(text) is None


@pytest.mark.parametrize("error", ["odd", {"message": "m"}, {"code": "x"}, {}, []])
def test_an_odd_error_is_an_error(error: object) -> None:
    answer = protocol.parse(json.dumps({"id": 1, "error": error}))
    assert isinstance(answer, Answer)
    assert isinstance(answer.error, protocol.Refused)


def test_requests() -> None:
    assert json.loads(protocol.request(3, "thread/read", {"threadId": "t"})) == {
        "id": 3,
        "method": "thread/read",
        "params": {"threadId": "t"},
    }
    assert json.loads(protocol.notification("initialized")) == {"method": "initialized"}
    asked = protocol.initialization("1.2")
    assert asked["clientInfo"]["version"] == "1.2"
    assert "item/agentMessage/delta" in asked["capabilities"]["optOutNotificationMethods"]
    assert "turn/completed" not in asked["capabilities"]["optOutNotificationMethods"]


NETWORK = {"message": "Reconnecting... waiting for network", "additionalDetails": "Connection failed"}


@pytest.mark.parametrize(
    ("method", "params", "told"),
    [
        ("error", {"error": NETWORK, "willRetry": True}, "Reconnecting... waiting for network (Connection failed)"),
        ("error", {"error": {"message": "Reconnecting... 1/5"}, "willRetry": True}, "Reconnecting... 1/5"),
        ("error", {"error": NETWORK, "willRetry": False}, None),  # the turn fails by it, and says so
        ("error", {"error": NETWORK, "willRetry": True, "threadId": "another"}, None),
        ("error", {"error": "?", "willRetry": True}, None),
        ("warning", {"error": NETWORK, "willRetry": True}, None),
    ],
)
def test_what_is_a_complaint(method: str, params: dict[str, object], told: str | None) -> None:
    assert protocol.complaint(protocol.Notice(method, {"threadId": "t", **params}), "t") == told
