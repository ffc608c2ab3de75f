"""Errors: the exit code, one sentence and the next command; nothing on stdout, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Commands
    from lab import Done


def check(done: Done, code: int, *words: str) -> None:
    """Check that the output is a proper error."""
    assert done.code == code, done
    assert done.out == ""
    first, *_, last = done.err.splitlines()
    assert first.startswith("error: ")
    assert last.startswith("next: ")
    assert len(last) > len("next: ")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


USAGE = [
    ["fly"],
    ["statuss", "a"],
    ["--flag"],
    ["list", "--flag"],
    ["list", "word"],
    ["list", "--status", "sleeping"],
    ["status"],
    ["status", "a", "b"],
    ["last-message"],
    ["last-message", "a", "-n", "0"],
    ["last-message", "a", "-n", "x"],
    ["last-message", "a", "-n", "1.5"],
    ["last-message", "a", "-n"],
    ["last-message", "a", "--count", "-1"],
    ["wait"],
    ["wait", "a", "-t", "soon"],
    ["wait", "a", "--timeout", "-1"],
    ["wait", "a", "--timeout"],
    ["wait", "a", "-i", "0"],
    ["wait", "a", "--turn", "x"],
    ["send"],
    ["send", "a", "x", "y"],
    ["send", "a", "x", "--queue", "--interrupt"],
    ["send", "a", "x", "--file", "y"],
    ["ask", "a", "x", "-t", "x"],
    ["kill"],
    ["interrupt"],
    ["attach"],
    ["create", "--env", "NOVALUE", "--cli", "fake"],
    ["create", "--env", "1A=x", "--cli", "fake"],
    ["create", "--env", "=x", "--cli", "fake"],
    ["create", "--permissions", "none", "--cli", "fake"],
    ["create", "--mode", "cloud", "--cli", "fake"],
    ["create", "--id", "Not Valid", "--cli", "fake"],
    ["create", "--group", "$(touch x)", "--cli", "fake"],
    ["fan-out", "--group", "`touch x`", "README.md"],
    ["create", "--cli", "nobody"],
    ["create", "--cli", "fake", "-p", "/nonexistent/folder"],
    ["create", "--cli", "fake", "-p", "/etc/passwd"],
    ["create", "extra", "--cli", "fake"],
]


@pytest.mark.parametrize("argv", USAGE, ids=" ".join)
def test_a_wrong_call_is_exit_2(run: Commands, argv: list[str]) -> None:
    check(run(*argv), 2)
    done = run(*argv, "--json")
    assert (done.code, done.err) == (2, "")
    assert done.json["error"]["code"] == "usage"
    assert run.lab.processes() == [] or "create" not in argv


@pytest.mark.parametrize("id", ["", "Fizz", "a.b", "a:b", "../x", "a b", "-x", "a-", "1a", "é", "a" * 65, "=a", "a\nb"])
def test_an_id_that_a_session_cannot_have(run: Commands, id: str) -> None:
    check(run("create", "--cli", "fake", f"--id={id}"), 2, "session id")


def test_an_option_without_its_value_names_the_help_of_its_command(run: Commands) -> None:
    check(run("wait", "a", "--timeout"), 2, "--timeout", "next: dev-sessions wait --help")


@pytest.mark.parametrize(("option", "value"), [("--timeout", "nan"), ("--interval", "nan"), ("--interval", "inf")])
def test_an_invalid_number_is_a_wrong_call(run: Commands, idle: str, option: str, value: str) -> None:
    check(run("wait", idle, option, value), 2)


@pytest.mark.gateway
def test_docker_is_not_supported_by_every_agent(run: Commands) -> None:
    check(run("create", "--cli", "fake", "--mode", "docker"), 4, "docker")


UNKNOWN = [
    *(["status", "nobody"], ["wait", "nobody"], ["last-message", "nobody"], ["send", "nobody", "x"]),
    *(["ask", "nobody", "x"], ["interrupt", "nobody"], ["attach", "nobody"], ["kill", "nobody"]),
    *(["send", "nobody", "--queue"], ["courier", "nobody"]),
]


@pytest.mark.parametrize("argv", UNKNOWN, ids=" ".join)
def test_an_unknown_session_is_exit_3(run: Commands, argv: list[str]) -> None:
    check(run(*argv), 3, "'nobody'", "next: dev-sessions list")


@pytest.mark.gateway
@pytest.mark.parametrize("id", ["../../etc", "a/b", "", "a\nb", "\x1b[31m", "é"])
def test_an_odd_id_is_not_found_either(run: Commands, id: str) -> None:
    done = run("status", id)
    check(done, 3)
    assert "\x1b" not in done.err


@pytest.mark.gateway
def test_one_unknown_among_several_is_exit_3(run: Commands, idle: str) -> None:
    check(run("wait", idle, "nobody"), 3, "'nobody'")
    check(run("kill", idle, "nobody"), 3, "'nobody'")
    assert run.ok("status", idle) == "idle"


@pytest.mark.gateway
def test_a_missing_capability_is_exit_4(run: Commands, bare: str) -> None:
    check(run("interrupt", bare), 4, "fake-bare")
    check(run("attach", bare), 4, "fake-bare")
    check(run("send", bare, "x", "--interrupt"), 4, "fake-bare")
    check(run("ask", bare, "x", "--interrupt"), 4, "fake-bare")
    assert run.ok("status", bare) == "working"


@pytest.mark.gateway
def test_a_dead_agent_is_exit_5(run: Commands, dead: str) -> None:
    check(run("send", dead, "x"), 5, "out of memory", f"dev-sessions revive {dead}")
    check(run("ask", dead, "x"), 5, "out of memory")
    check(run("attach", dead), 5)
    assert run("interrupt", dead)[:2] == (0, "exited\n")


@pytest.mark.gateway
def test_an_open_question_is_exit_6_and_nothing_is_sent(run: Commands, asking: str) -> None:
    before = run.json("wait", asking)
    check(run("send", asking, "this"), 6, "Which one?", f"dev-sessions attach {asking}")
    check(run("ask", asking, "this"), 6, "Which one?")
    assert run.json("wait", asking) == before


@pytest.mark.gateway
def test_no_receipt_in_time_names_the_request_id(run: Commands) -> None:
    id = run.create()
    env = {"DEV_SESSIONS_RECEIPT_TIMEOUT": "0.2"}
    done = run("send", id, "[[late: a]][[reply: late]]", "--request-id", "r-77", env=env)
    check(done, 1, "r-77")
    run.release(id)
    assert run("send", id, "[[late: a]][[reply: late]]", "--request-id", "r-77")[:2] == (0, "started (turn 1)\n")
    run.ok("wait", id)
    assert run.ok("last-message", id, "-n", "9") == "late"
    run.ok("kill", id)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b" \n\t "])
def test_a_file_without_a_message(run: Commands, idle: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "message"
    file.write_bytes(content)
    check(run("send", idle, "-f", str(file)), 2)
    check(run("ask", idle, "-f", str(file)), 2)


def test_a_message_and_a_file(run: Commands, idle: str, tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_text("whole")
    check(run("send", idle, "a message", "-f", str(file)), 2, "not both")
    check(run("send", idle, "--", "Gr\udcfc\udcdfe"), 2, "UTF-8")


def test_a_file_that_cannot_be_read(run: Commands, idle: str, tmp_path: Path) -> None:
    check(run("send", idle, "-f", str(tmp_path / "none")), 2, "none")
    check(run("send", idle, "-f", str(tmp_path)), 2)


def test_an_empty_message(run: Commands, idle: str) -> None:
    check(run("send", idle, ""), 2, "empty")
    check(run("send", idle), 2, "empty")
    check(run("ask", idle), 2, "empty")
    check(run("send", idle, "-f", "-", stdin="x" * (5 * 1024 * 1024 + 1)), 2, "5 MB")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEV_SESSIONS_DEPTH", "x"),
        ("DEV_SESSIONS_MAX_DEPTH", "-1"),
        ("DEV_SESSIONS_READY_TIMEOUT", "soon"),
        ("DEV_SESSIONS_READY_TIMEOUT", "nan"),
        ("DEV_SESSIONS_RECEIPT_TIMEOUT", "0"),
    ],
)
def test_an_invalid_value_of_a_variable(run: Commands, name: str, value: str) -> None:
    check(run("list", env={name: value}), 2, name)


@pytest.mark.gateway
def test_too_deep(run: Commands) -> None:
    env = {"DEV_SESSIONS_ID": "ahri-mid", "DEV_SESSIONS_DEPTH": "4"}
    check(run("create", "--cli", "fake", env=env), 2, "4")
    id = run.create(env={**env, "DEV_SESSIONS_MAX_DEPTH": "5"})
    (row,) = [row for row in run.json("list") if row["id"] == id]
    assert (row["parent"], row["depth"]) == ("ahri-mid", 5)
    run.ok("kill", id)
