"""The offline model server: directives, statelessness, gates, errors and side requests."""

from __future__ import annotations

import http.client
import importlib.util
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[1] / "fakes" / "model_server.py"
TOOLS = [{"name": "Bash", "input_schema": {"type": "object"}}]
Message = dict[str, Any]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_server", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


model_server = _load()


@pytest.fixture
def server() -> Iterator[Any]:
    with model_server.ModelServer() as running:
        yield running


def user(*texts: str) -> Message:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def called() -> Message:
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    return {"role": "assistant", "content": [call]}


def result(text: str, *more: str) -> Message:
    block = {"type": "tool_result", "tool_use_id": "t", "content": text}
    return {"role": "user", "content": [block, *user(*more)["content"]]}


def said(text: str) -> Message:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def steered(text: str) -> str:
    return (
        f"The user sent a new message while you were working:\n{text}\n\n"
        "This is how Claude Code surfaces messages. Address the message above."
    )


def post(server: Any, path: str, body: Any = None) -> tuple[int, bytes]:
    data = json.dumps(body if body is not None else {}).encode()
    request = urllib.request.Request(server.url + path, data, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def ask(server: Any, *messages: Message, **fields: Any) -> Message:
    body = {"model": "m", "max_tokens": 1000, "tools": TOOLS, "messages": list(messages)}
    status, data = post(server, "/v1/messages?beta=true", body | fields)
    answer: Message = json.loads(data)
    return answer | {"http": status}


def texts(answer: Message) -> list[str]:
    return [block["text"] for block in answer["content"] if block["type"] == "text"]


def tool(answer: Message) -> tuple[str, Any]:
    block = answer["content"][-1]
    return block["name"], block["input"]


def test_without_a_directive_the_prompt_is_echoed(server: Any) -> None:
    reminder = "<system-reminder>\nnot [[drop]] this\n</system-reminder>"
    note = {"role": "system", "content": [{"type": "text", "text": "# Environment [[drop]]"}]}
    answer = ask(server, user(reminder, "hello there"), note)
    assert texts(answer) == ["echo: hello there"]
    assert answer["stop_reason"] == "end_turn"


def test_steps_run_in_order_over_several_requests(server: Any) -> None:
    prompt = user("[[reply: a\\nb]][[bash: echo 1]][[replytool]][[bash_bg: sleep 9]][[reply: end]]")
    first = ask(server, prompt)
    assert texts(first) == ["a\nb"]
    assert first["stop_reason"] == "tool_use"
    assert tool(first)[1]["command"] == "echo 1"
    second = ask(server, prompt, called(), result("one"))
    assert texts(second) == ["one"]
    assert tool(second)[1]["run_in_background"] is True
    third = ask(server, prompt, called(), result("one"), called(), result("two"))
    assert texts(third) == ["end"]
    assert third["stop_reason"] == "end_turn"


def test_after_the_last_tool_the_answer_is_ok(server: Any) -> None:
    assert texts(ask(server, user("[[bash: true]]"), called(), result(""))) == ["ok"]


@pytest.mark.parametrize(
    ("directive", "name", "given"),
    [
        ("[[read: /a/b]]", "Read", {"file_path": "/a/b"}),
        ("[[write: /a|x\\ny]]", "Write", {"file_path": "/a", "content": "x\ny"}),
        ("[[plan: one\\ntwo]]", "ExitPlanMode", {"plan": "one\ntwo"}),
        ('[[tool: Other {"a": [[1], [2]]}]]', "Other", {"a": [[1], [2]]}),
        ('[[tool: Other {"a":[[1]]}]]', "Other", {"a": [[1]]}),
        ("[[tool: Bare]]", "Bare", {}),
    ],
)
def test_tool_directives(server: Any, directive: str, name: str, given: Any) -> None:
    assert tool(ask(server, user(directive))) == (name, given)


def test_a_command_may_hold_double_brackets(server: Any) -> None:
    answer = ask(server, user("[[bash: if [[ -f x ]]; then echo y; fi]][[reply: z]]"))
    assert tool(answer)[1]["command"] == "if [[ -f x ]]; then echo y; fi"


def test_ask_makes_a_question_with_options(server: Any) -> None:
    name, given = tool(ask(server, user("[[ask: Which?|Red|Blue]]")))
    (question,) = given["questions"]
    assert (name, question["question"], question["multiSelect"]) == (
        "AskUserQuestion",
        "Which?",
        False,
    )
    assert [option["label"] for option in question["options"]] == ["Red", "Blue"]


def test_sha_is_a_command_and_its_output(server: Any) -> None:
    prompt = user("[[sha: /a/b]]")
    assert tool(ask(server, prompt))[1]["command"] == "sha256sum /a/b"
    assert texts(ask(server, prompt, called(), result("f" * 300))) == ["f" * 200]


def test_a_new_turn_forgets_the_script_of_the_old_one(server: Any) -> None:
    old = [user("[[bash: true]][[reply: old]]"), called(), result("x"), said("old")]
    assert texts(ask(server, *old, user("plain"))) == ["echo: plain"]
    failed = user("[[error: 400]]\n", "plain")
    assert texts(ask(server, failed)) == ["echo: plain"]
    stopped = user("[[hold: never]]", "[Request interrupted by user]\n", "go on")
    assert texts(ask(server, stopped)) == ["echo: go on"]


def test_a_turn_without_a_prompt_is_answered_ok(server: Any) -> None:
    notice = "<system-reminder><task-notification>[[drop]]</task-notification></system-reminder>"
    assert texts(ask(server, user("[[reply: a]]"), said("a"), user(notice))) == ["ok"]


def test_steered_words_replace_the_script_only_with_a_directive(server: Any) -> None:
    start = [user("[[bash: true]][[reply: first]]"), called()]
    assert texts(ask(server, *start, result("x", steered("plain")))) == ["first"]
    assert texts(ask(server, *start, result("x", steered("[[reply: second]]")))) == ["second"]
    reminder = f"<system-reminder>\n{steered('[[reply: third]]')}\n</system-reminder>"
    assert texts(ask(server, *start, result("x", reminder))) == ["third"]


def test_a_pointer_to_a_message_file_is_read_by_the_agent(server: Any) -> None:
    prompt = user("A long message came through dev-sessions: read the file /tmp/x/m-1.md.")
    assert tool(ask(server, prompt))[1]["command"] == "cat '/tmp/x/m-1.md' | head -c 100000"
    script = result("text [[bash: true]][[reply: done]]")
    assert tool(ask(server, prompt, called(), script))[1]["command"] == "true"
    assert texts(ask(server, prompt, called(), script, called(), result(""))) == ["done"]
    assert texts(ask(server, prompt, called(), result("words"))) == ["echo: words"]


def test_a_file_pointer_that_is_steered_in_counts_as_a_script(server: Any) -> None:
    pointer = steered("dev-sessions: your message is in the file /tmp/m.md")
    answer = ask(server, user("[[bash: true]][[reply: no]]"), called(), result("x", pointer))
    assert "/tmp/m.md" in tool(answer)[1]["command"]


@pytest.mark.parametrize(
    "fields",
    [{"tools": []}, {"max_tokens": 1}, {"tool_choice": {"type": "tool", "name": "classify"}}],
)
def test_side_requests_run_no_directive(server: Any, fields: Message) -> None:
    assert texts(ask(server, user("[[error: 500]][[hold: never]]"), **fields)) == ["ok"]
    assert server.requests[-1].side


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors_have_the_form_of_the_api(server: Any, status: int, kind: str) -> None:
    answer = ask(server, user(f"[[error: {status}]]"), stream=True)
    assert (answer["http"], answer["type"], answer["error"]["type"]) == (status, "error", kind)


def test_a_limit_is_told_as_a_plan_and_what_follows_it_waits_for_the_agent(server: Any) -> None:
    prompt = user("[[limit: 1800000000]][[reply: on]]")
    body = json.dumps({"tools": TOOLS, "messages": [prompt]}).encode()
    for path, header in (("messages", "anthropic-ratelimit-unified-reset"), ("responses", "x-codex-primary-reset-at")):
        codex = {"tools": TOOLS, "input": [{"type": "message", **prompt}]}
        sent = body if path == "messages" else json.dumps(codex).encode()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{server.url}/v1/{path}", sent)
        with caught.value as error:
            assert (error.code, error.headers[header]) == (429, "1800000000")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.url}/v1/messages", body.replace(b": 1800000000", b""))
    with caught.value as error:
        assert (error.code, error.headers["anthropic-ratelimit-unified-reset"]) == (429, None)
    assert texts(ask(server, prompt, user("Your claude.ai usage limit has reset. Continue."))) == ["on"]


def test_a_counted_error_goes_away(server: Any) -> None:
    prompt = user("[[error: 529 x2]][[reply: fine]]")
    assert [ask(server, prompt)["http"] for _ in range(3)] == [529, 529, 200]


def test_a_wrong_argument_is_reported(server: Any) -> None:
    answer = ask(server, user("[[delay: soon]]"))
    assert answer["http"] == 400
    assert "soon" in answer["error"]["message"]


def test_drop_closes_without_an_answer(server: Any) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, user("[[drop]]"))


def test_a_stream_has_the_events_of_the_api(server: Any) -> None:
    body = {"tools": TOOLS, "stream": True, "messages": [user("[[stream: abcdef]][[bash: ls]]")]}
    _, data = post(server, "/v1/messages", body)
    events = [part.split("\n", 1) for part in data.decode().strip().split("\n\n")]
    assert [name.removeprefix("event: ") for name, _ in events] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "content_block_start", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    values = [json.loads(line.removeprefix("data: ")) for _, line in events]
    assert values[2]["delta"] == {"type": "text_delta", "text": "abcd"}
    assert json.loads(values[6]["delta"]["partial_json"])["command"] == "ls"
    assert values[8]["delta"]["stop_reason"] == "tool_use"


def test_hold_blocks_until_its_name_is_released(server: Any) -> None:
    answers: list[Message] = []
    prompt = user("[[hold: gate 1]][[reply: free]]")
    thread = threading.Thread(target=lambda: answers.append(ask(server, prompt)))
    thread.start()
    assert server.wait_until_blocked("gate 1")
    with urllib.request.urlopen(f"{server.url}/control/waiting") as response:
        assert json.load(response) == server.waiting == ["gate 1"]
    assert not answers
    assert post(server, "/control/release/gate%201")[0] == 200
    thread.join(10)
    assert texts(answers[0]) == ["free"]
    assert server.waiting == []
    assert texts(ask(server, prompt)) == ["free"], "a release is latched"


def test_text_comes_before_a_hold_and_a_client_that_leaves_ends_it(server: Any) -> None:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    body = {"tools": TOOLS, "stream": True, "messages": [user("[[stream: abc]][[hold: b]]")]}
    connection.request("POST", "/v1/messages", json.dumps(body))
    response = connection.getresponse()
    seen = b""
    while b"event: ping" not in seen:
        seen += response.readline()
    assert b"abc" in seen
    response.close()
    connection.close()
    deadline = time.monotonic() + 10
    while server.waiting and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.waiting == []


def test_wait_until_blocked_reports_when_nothing_is(server: Any) -> None:
    assert not server.wait_until_blocked("nothing", 0.01)


def test_delay_waits(server: Any) -> None:
    start = time.monotonic()
    assert texts(ask(server, user("[[delay: 0.1]]"))) == ["ok"]
    assert time.monotonic() - start >= 0.1


def test_other_paths_get_a_harmless_answer(server: Any) -> None:
    assert "input_tokens" in json.loads(post(server, "/v1/messages/count_tokens", {"a": 1})[1])
    assert post(server, "/api/event_logging")[0] == 200
    with urllib.request.urlopen(f"{server.url}/v1/models") as response:
        assert response.status == 200


def test_requests_are_kept(server: Any) -> None:
    ask(server, user("seen"))
    (request,) = server.requests
    assert (request.prompt, request.side) == ("seen", False)
    assert request.body["messages"] == [user("seen")]
    assert abs(time.time() - request.time) < 60


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    port_file, log = tmp_path / "port", tmp_path / "log"
    command = [sys.executable, str(PROGRAM), "--port-file", str(port_file), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            port = process.stdout.readline().strip().rpartition(":")[2]
            assert port_file.read_text() == port
            body = json.dumps({"messages": [user("x")], "tools": TOOLS}).encode()
            url = f"http://127.0.0.1:{port}/v1/messages"
            with urllib.request.urlopen(url, body, timeout=10) as response:
                assert json.load(response)["content"] == [{"type": "text", "text": "echo: x"}]
            assert json.loads(log.read_text())["body"]["messages"] == [user("x")]
        finally:
            process.terminate()
