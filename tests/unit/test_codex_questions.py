"""An app-server's requests as questions, and whose answer a call got. Requests as 0.146 and 0.171 send them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dev_sessions.backends.base import Answer
from dev_sessions.backends.codex.answer import is_ours
from dev_sessions.backends.codex.protocol import Notice
from dev_sessions.backends.codex.questions import CHANGE, COMMAND, INPUT, RESOLVED, Request, question, still_open
from dev_sessions.backends.codex.rollout import Call
from dev_sessions.model import Part, Question

ALLOW, ALWAYS, DENY = Answer("allow"), Answer("always"), Answer("deny", "why")
ANSWER = Answer("answer", answers=(("Large",), ("Bamboo",)))
TWO = [
    {
        "id": "size",
        "header": "S",
        "question": "Which size?",
        "options": [{"label": "Small", "description": "s"}, {"label": "Large"}],
    },
    {"id": "of", "header": "O", "question": "Of what?", "isOther": True, "options": None},
]


def notice(method: str, number: int | None = None, **params: Any) -> Notice:
    return Notice(method, {"threadId": "t", "turnId": "u", **params}, number)


def made(method: str, call: dict[str, Any] | None = None, name: str = "exec_command", **params: Any) -> Question:
    (request,) = still_open([notice(method, 3, itemId="call_1", startedAtMs=5500, **params)], "t")
    return question(request, [] if call is None else [Call("call_1", name, call, 5.4)], 9.0)


def test_a_request_that_was_answered_is_not_open() -> None:
    notices = [
        notice(COMMAND, 0, itemId="a"),
        notice(COMMAND, 1, itemId="b"),
        notice("thread/status/changed"),
        Notice(COMMAND, {"threadId": "another", "itemId": "c"}, 2),
        notice(RESOLVED, requestId=0),
        notice(COMMAND, 3, itemId="b"),
    ]
    assert [request.id for request in still_open(notices, "t")] == ["b.1", "b.3"]


def test_the_same_call_asked_about_again_is_another_question() -> None:
    first, again = (still_open([notice(COMMAND, number, itemId="a")], "t")[0] for number in (4, 5))
    assert first.call == again.call
    assert first.id != again.id


@pytest.mark.parametrize("call", ["../../up", "-x; rm", ".", "call\n1", "x" * 500])
def test_an_id_can_be_used_in_a_command_and_as_a_file_name(call: str) -> None:
    (request,) = still_open([notice(COMMAND, 7, itemId=call)], "t")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}", request.id)
    assert request.id.endswith(".7")
    assert request.call == call


def test_a_command() -> None:
    found = made(COMMAND, {"cmd": "touch x", "yield_time_ms": 5}, command="/bin/bash -lc 'touch x'")
    assert found == Question("call_1.3", "permission", "exec_command: touch x", ("allow", "always", "deny"), 5.5)


def test_a_command_is_shown_in_full() -> None:
    given = {"cmd": "curl x", "workdir": "/w", "sandbox_permissions": "require_escalated", "justification": "May I?"}
    network = {"host": "example.com", "protocol": "https"}
    found = made(COMMAND, given, reason="May I?", networkApprovalContext=network)
    assert found.text.split("\n") == [
        *("exec_command: curl x", "workdir: /w", "sandbox_permissions: require_escalated", "May I?"),
        "network: https to example.com",
    ]
    again = made(COMMAND, {"cmd": "curl x"}, reason="command failed; retry without sandbox?")
    assert again.text.split("\n") == ["exec_command: curl x", "command failed; retry without sandbox?"]


def test_a_change_is_shown_with_the_whole_patch() -> None:
    found = made(CHANGE, {"input": "*** Begin Patch\n+x"}, name="apply_patch", reason=None, grantRoot="/w")
    assert found.text == "apply_patch: *** Begin Patch\n+x\nwrites below: /w"
    assert found.options == ("allow", "always", "deny")


def test_questions_asked_together() -> None:
    found = made(INPUT, {"questions": TWO}, name="request_user_input", questions=TWO)
    assert (found.kind, found.text, found.options) == ("question", "Which size?\nOf what?", ("Small", "Large"))
    assert found.parts == (Part("Which size?", ("Small", "Large"), ("s", "")), Part("Of what?"))


def test_a_call_that_is_not_in_the_rollout_yet() -> None:
    assert "touch x" in made(COMMAND, None, command="/bin/bash -lc 'touch x'").text


def test_what_a_script_wants_to_do() -> None:
    script = {"input": "await tools.apply_patch('*** Begin Patch')"}
    running = [Call("call_0", "exec", script, 5.4)]
    (command,) = still_open([notice(COMMAND, 3, itemId="exec-1", command="/bin/bash -lc 'touch x'", cwd="/w")], "t")
    assert question(command, running, 9.0).text == "exec_command: /bin/bash -lc 'touch x'\nworkdir: /w"
    (change,) = still_open([notice(CHANGE, 4, itemId="exec-2", reason=None)], "t")
    assert question(change, running, 9.0).text == f"exec: {script['input']}"


def test_a_request_of_a_kind_that_we_cannot_answer_offers_no_answer() -> None:
    (request,) = still_open([notice("mcpServer/elicitation/request", 7, message="Which?")], "t")
    found = question(request, [], 9.0)
    assert (found.kind, found.options, found.since) == ("permission", (), 9.0)
    assert "Which?" in found.text


REFUSED = (
    'exec_command failed: CreateProcess { message: "Rejected(\\"rejected by user\\")" }',
    'exec_command failed for `/bin/bash -lc x`: CreateProcess { message: "Rejected(\\"rejected by user\\")" }',
    "patch rejected by user",
)
RAN = (
    "Chunk ID: b9c07a\nWall time: 0.0 seconds\nProcess exited with code 0\nOutput:\n",
    "Chunk ID: b9c07a\nWall time: 0.0 seconds\nProcess exited with code 1\nOutput:\nrejected by user\naborted by user",
    "exec_command failed: no such file",
)
ABORTED = ("Wall time: 0.3 seconds\naborted by user", "aborted by user after 0.3s")


@pytest.mark.parametrize("output", [*REFUSED, *RAN, *ABORTED])
@pytest.mark.parametrize("method", [COMMAND, CHANGE])
def test_whose_answer_a_permission_had(method: str, output: str) -> None:
    request = Request(3, "call_1", method, {})
    assert is_ours(output, request, DENY) == (output in REFUSED)
    assert is_ours(output, request, ALLOW) == (output in RAN)
    assert is_ours(output, request, ALWAYS) == (output in RAN)


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"size": {"answers": ["Large"]}, "of": {"answers": ["Bamboo"]}}, ANSWER),
        ({"size": {"answers": ["Small"]}, "of": {"answers": ["Bamboo"]}}, None),
        ({}, DENY),
    ],
)
def test_whose_answer_questions_had(given: dict[str, Any], ours: Answer | None) -> None:
    request = Request(3, "call_1", INPUT, {"questions": TWO})
    output = json.dumps({"answers": given})
    assert [answer for answer in (ANSWER, DENY) if is_ours(output, request, answer)] == ([ours] if ours else [])
    assert not is_ours("aborted by user after 0.3s", request, ANSWER)
