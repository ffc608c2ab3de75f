"""A model that cannot be reached: Codex retries endlessly, and `wait` and `ask` print its messages."""

from __future__ import annotations

import os
import signal
import socket

import pytest
from codex_lab import CodexLab
from model_server import ModelServer
from soak import only_in_soak


@pytest.fixture
def port() -> int:
    """A port on which no process listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def cut_off(codex_lab: CodexLab, port: int) -> str:
    """A session that works while its model cannot be reached."""
    (codex_lab.codex_home / "config.toml").write_text(codex_lab.config(f"http://127.0.0.1:{port}"))
    id = codex_lab.create()
    assert codex_lab.ok("send", id, "[[reply: at last]]").startswith("started")
    return id


def test_wait_tells_it_and_times_out(codex_lab: CodexLab, cut_off: str) -> None:
    done = codex_lab.run("wait", cut_off, "--timeout", "9")
    assert (done.code, done.out) == (124, "working\n")
    told, end = done.err.splitlines()
    assert told.startswith(f"dev-sessions: {cut_off}: Reconnecting")
    assert "error sending request" in told
    assert "timed out; the agent goes on" in end
    assert "Reconnecting" in end
    assert codex_lab.ok("status", cut_off) == "working"
    assert codex_lab.ok("interrupt", cut_off) == "interrupted"
    assert codex_lab.ok("status", cut_off) == "idle"


@only_in_soak
def test_ask_tells_it_and_times_out(codex_lab: CodexLab, cut_off: str) -> None:
    done = codex_lab.run("ask", cut_off, "still there?", "--timeout", "9", "--json")
    assert (done.code, done.json["error"]["code"]) == (124, "timeout")
    assert "Reconnecting" in done.err


def test_wait_goes_on_when_the_model_is_there_again(codex_lab: CodexLab, cut_off: str, port: int) -> None:
    wait = codex_lab.start("wait", cut_off, "--json")
    assert wait.stderr
    assert "Reconnecting" in wait.stderr.readline()
    with ModelServer(port):
        done = codex_lab.finish(wait)
    assert (done.code, done.json["outcome"], done.json["turns"][0]["reply"]) == (0, "completed", "at last")


def test_the_listening_ends_with_the_server(codex_lab: CodexLab, cut_off: str) -> None:
    """A broken connection must not wake the wait repeatedly or make it fail."""
    wait = codex_lab.start("wait", cut_off, "--json")
    assert wait.stderr
    assert "Reconnecting" in wait.stderr.readline()
    (pid,) = [pid for pid in codex_lab.processes() if pid != wait.pid]
    os.kill(pid, signal.SIGKILL)
    done = codex_lab.finish(wait)
    assert (done.code, done.json["outcome"]) == (5, "interrupted")
