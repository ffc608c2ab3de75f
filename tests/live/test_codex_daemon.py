"""The app-server of a CODEX_HOME: exactly one, which we maintain; we never signal a server that is not ours."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from codex_lab import CodexLab
from lab import ROOT
from soak import only_in_soak, size


@pytest.fixture
def somebodys(codex_lab: CodexLab, codex: str) -> Iterator[subprocess.Popen[bytes]]:
    """An app-server on the default socket, started by a person."""
    folder = codex_lab.codex_home / "app-server-control"
    server = subprocess.Popen(
        [codex, "app-server", "--listen", "unix://"],
        env=codex_lab.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    codex_lab.until(lambda: (folder / "app-server-control.sock").exists(), "the socket")
    yield server
    server.kill()
    server.wait()


def test_one_server_for_all_sessions_and_none_after_the_last(codex_lab: CodexLab) -> None:
    first, second = codex_lab.create(), codex_lab.create()
    (pid,) = codex_lab.servers()
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    socket = codex_lab.codex_home / "app-server-control" / "app-server-control.sock"
    assert os.stat(socket).st_mode & 0o077 == 0
    codex_lab.ok("kill", first)
    assert codex_lab.servers() == [pid]
    assert codex_lab.ok("ask", second, "[[reply: hi]]") == "hi"
    codex_lab.ok("kill", second)
    assert codex_lab.servers() == []
    assert codex_lab.processes() == []
    assert codex_lab.ok("list", "--json") == "[]"


@pytest.mark.soak
def test_many_creates_while_the_last_session_is_killed(codex_lab: CodexLab) -> None:
    old = codex_lab.create()
    creates = [codex_lab.start("create", "-q", "--cli", "codex") for _ in range(size(4, 10))]
    kill = codex_lab.start("kill", old)
    done = [codex_lab.finish(create) for create in creates]
    assert codex_lab.finish(kill).code == 0
    assert [(one.code, one.err) for one in done] == [(0, "")] * len(creates)
    assert len(codex_lab.servers()) == 1
    ids = [one.out.strip() for one in done]
    assert {codex_lab.ok("status", id) for id in ids} == {"idle"}
    assert codex_lab.ok("ask", ids[0], "[[reply: fine]]") == "fine"


@only_in_soak
def test_a_server_killed_in_the_middle_of_a_turn(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: long ago]]") == "long ago"
    codex_lab.ok("send", id, "[[hold: cut]][[reply: never]]")
    assert codex_lab.model.wait_until_blocked("cut")
    wait = codex_lab.start("wait", id, "--json")
    (pid,) = codex_lab.servers()
    os.kill(pid, signal.SIGKILL)
    done = codex_lab.finish(wait)
    assert (done.code, done.json["outcome"], done.json["turn"]) == (5, "interrupted", 2)
    assert codex_lab.ok("status", id) == "idle"
    assert json.loads(codex_lab.ok("list", "--json"))[0]["status"] == "idle"
    assert codex_lab.ok("last-message", id) == "long ago"
    assert codex_lab.servers() == []  # reading does not start a server
    assert codex_lab.ok("ask", id, "[[reply: again]]") == "again"
    said = json.dumps(codex_lab.model.requests[-1].body)
    assert "long ago" in said  # the history is there
    assert len(codex_lab.servers()) == 1
    assert codex_lab.run("wait", id, "--turn", "2", "--json").json["outcome"] == "interrupted"


@only_in_soak
def test_a_session_that_never_had_a_turn_survives_its_server(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    (pid,) = codex_lab.servers()
    os.kill(pid, signal.SIGKILL)
    codex_lab.until(lambda: not codex_lab.servers(), "the end of the server")
    assert codex_lab.ok("status", id) == "idle"
    shown = codex_lab.ok("ask", id, "[[bash: echo $DEV_SESSIONS_ID]][[replytool]]")
    assert shown == id  # what its commands see is passed on again


def test_a_server_that_hangs_is_replaced_or_ended(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    (pid,) = codex_lab.servers()
    os.kill(pid, signal.SIGSTOP)
    assert codex_lab.ok("status", id) == "idle"
    assert codex_lab.ok("ask", id, "[[reply: moved on]]") == "moved on"
    (new,) = codex_lab.servers()
    assert new != pid
    os.kill(new, signal.SIGSTOP)  # a suspended server does not prevent a kill
    codex_lab.ok("kill", id)
    assert codex_lab.processes() == []


def test_a_server_that_hangs_in_a_turn_is_told_and_can_be_interrupted(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    codex_lab.ok("send", id, "[[hold: stuck]][[reply: never]]")
    assert codex_lab.model.wait_until_blocked("stuck")
    (pid,) = codex_lab.servers()
    os.kill(pid, signal.SIGSTOP)
    waited = codex_lab.run("wait", id, "--timeout", "6")
    assert (waited.code, waited.out) == (124, "working\n")
    assert "app-server does not answer" in waited.err
    assert codex_lab.ok("interrupt", id) == "interrupted"
    assert codex_lab.ok("status", id) == "idle"
    assert codex_lab.run("wait", id).out == "interrupted\n"
    assert codex_lab.servers() != [pid]
    assert codex_lab.ok("ask", id, "[[reply: moved on]]") == "moved on"


def test_a_turn_that_died_with_its_server_is_not_at_work_for_the_next_one(codex_lab: CodexLab) -> None:
    """The thread is loaded again, although its record does not contain the turn's end."""
    id = codex_lab.create()
    codex_lab.ok("send", id, "[[hold: cut]][[reply: never]]")
    assert codex_lab.model.wait_until_blocked("cut")
    os.kill(codex_lab.servers()[0], signal.SIGKILL)
    codex_lab.until(lambda: not codex_lab.servers(), "the end of the server")
    codex_lab.sit_down(id)
    assert len(codex_lab.servers()) == 1
    assert codex_lab.ok("status", id) == "idle"
    assert codex_lab.run("wait", id).out == "interrupted\n"
    codex_lab.type(id, "[[hold: theirs]][[reply: theirs]]")
    assert codex_lab.model.wait_until_blocked("theirs")
    assert codex_lab.ok("status", id) == "working"
    codex_lab.model.release("theirs")
    codex_lab.until(lambda: codex_lab.ok("status", id) == "idle", "the end of the person's turn")
    assert codex_lab.ok("last-message", id) == "theirs"


def test_somebody_elses_server_is_used_and_never_ended(codex_lab: CodexLab, somebodys: subprocess.Popen[bytes]) -> None:
    id = codex_lab.create()
    assert codex_lab.servers() == [somebodys.pid]
    assert codex_lab.ok("ask", id, "[[bash: echo $DEV_SESSIONS_ID]][[replytool]]") == id
    codex_lab.ok("kill", id)
    assert somebodys.poll() is None


def test_somebody_elses_server_that_hangs_is_left_alone(
    codex_lab: CodexLab, somebodys: subprocess.Popen[bytes]
) -> None:
    codex_lab.ok("kill", codex_lab.create())
    somebodys.send_signal(signal.SIGSTOP)
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert "does not answer" in refused.err
    assert "next:" in refused.err
    assert somebodys.poll() is None
    assert codex_lab.ok("list", "--json") == "[]"


def listen(path: Path, answer: bytes) -> tuple[socket.socket, threading.Thread]:
    """A listener that is not an app-server: it sends `answer` to each caller, or hangs up if that is empty."""
    path.parent.mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.relpath(path))
    listener.listen(8)

    def serve() -> None:
        with contextlib.ExitStack() as callers:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    caller.sendall(answer)
                if answer:
                    callers.enter_context(caller)
                else:
                    caller.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, thread


ANSWERS = {"none": b"", "ssh": b"SSH-2.0-x\r\n", "http": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}


@pytest.mark.parametrize(
    "answer",
    [pytest.param(answer, id=id, marks=only_in_soak if id == "ssh" else ()) for id, answer in ANSWERS.items()],
)
def test_another_program_on_the_socket_is_told(codex_lab: CodexLab, answer: bytes) -> None:
    path = codex_lab.codex_home / "app-server-control" / "app-server-control.sock"
    listener, thread = listen(path, answer)
    try:
        refused = codex_lab.run("create", "--cli", "codex")
        assert refused.code == 1
        assert f"next: end the program that listens on {path}" in refused.err
        assert path.is_socket()
        assert codex_lab.ok("list", "--json") == "[]"
        assert codex_lab.processes() == []
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def file(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("mine")


def folder(path: Path) -> None:
    path.mkdir(parents=True)


def link(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/nonexistent/socket")


@pytest.mark.parametrize("what", [pytest.param(file, marks=only_in_soak), folder, link])
def test_what_lies_in_the_place_of_the_socket_is_told_and_left_alone(
    codex_lab: CodexLab, what: Callable[[Path], None]
) -> None:
    path = codex_lab.codex_home / "app-server-control" / "app-server-control.sock"
    what(path)
    before = path.lstat()
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert f"next: remove {path}, which should be a socket" in refused.err
    assert path.lstat().st_ino == before.st_ino
    assert codex_lab.ok("list", "--json") == "[]"


def test_a_file_in_the_place_of_the_sockets_folder_is_told(codex_lab: CodexLab) -> None:
    (codex_lab.codex_home / "app-server-control").write_text("mine")
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert f"next: remove {codex_lab.codex_home}/app-server-control, which should be a folder" in refused.err


def test_a_socket_that_nobody_listens_on_is_no_obstacle(codex_lab: CodexLab) -> None:
    path = codex_lab.codex_home / "app-server-control" / "app-server-control.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.path.relpath(path))
    assert codex_lab.ok("ask", codex_lab.create(), "[[reply: hi]]") == "hi"


def test_a_deep_home_is_no_obstacle(codex_lab: CodexLab) -> None:
    """The path of a unix socket cannot be longer than 107 bytes."""
    home = codex_lab.codex_home / "/".join(["a-folder-with-a-long-name"] * 6)
    home.mkdir(parents=True)
    (home / "config.toml").write_text((codex_lab.codex_home / "config.toml").read_text())
    codex_lab.env["CODEX_HOME"] = str(home)
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: hi]]") == "hi"
    codex_lab.ok("kill", id)
    assert codex_lab.processes() == []


def test_each_home_has_a_server_of_its_own(codex_lab: CodexLab) -> None:
    first = codex_lab.create()
    other = codex_lab.path / "other home"
    other.mkdir()
    (other / "config.toml").write_text((codex_lab.codex_home / "config.toml").read_text())
    second = codex_lab.create(env={"CODEX_HOME": str(other)})
    assert len(codex_lab.servers()) == 2
    assert codex_lab.ok("ask", second, "[[reply: hi]]") == "hi"  # the caller's own home no longer matters
    codex_lab.ok("kill", first)
    assert len(codex_lab.servers()) == 1
    assert codex_lab.ok("ask", second, "[[reply: hi]]") == "hi"
    codex_lab.ok("kill", second)
    assert codex_lab.servers() == []


def test_a_newer_dev_sessions_finds_the_server_of_an_older_one(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    (pid,) = codex_lab.servers()
    newer = codex_lab.path / "newer"
    shutil.copytree(ROOT / "dev_sessions", newer / "dev_sessions")
    (newer / "dev_sessions" / "__init__.py").write_text('__version__ = "99.0.0"\n')
    codex_lab.env["PYTHONPATH"] = str(newer)
    assert codex_lab.ok("--version").endswith("99.0.0")
    assert codex_lab.ok("ask", id, "[[reply: hi]]") == "hi"
    other = codex_lab.create()
    assert codex_lab.servers() == [pid]
    codex_lab.ok("kill", id, other)
    assert codex_lab.processes() == []


def test_a_server_that_a_person_has_joined_goes_on_until_he_has_left(codex_lab: CodexLab, codex: str) -> None:
    id = codex_lab.create()
    server = codex_lab.servers()
    codex_lab.tmux("new-session", "-d", "-s", "me", "-x", "120", "-y", "50", "-c", str(codex_lab.project))
    codex_lab.tmux("send-keys", "-t", "=me:", codex, "Enter")
    shown = lambda: codex_lab.tmux("capture-pane", "-p", "-t", "=me:")  # noqa: E731
    codex_lab.until(lambda: "Ask Codex to do anything" in shown(), "the person's own Codex")
    codex_lab.tmux("send-keys", "-t", "=me:", "-l", "[[hold: theirs]][[reply: theirs]]")
    codex_lab.until(lambda: "› [[hold: theirs]]" in shown(), "the words")
    codex_lab.tmux("send-keys", "-t", "=me:", "Enter")
    assert codex_lab.model.wait_until_blocked("theirs")
    codex_lab.ok("kill", id)
    assert codex_lab.servers() == server
    codex_lab.model.release("theirs")
    codex_lab.until(lambda: "• theirs" in shown(), "the answer to the person")
    id = codex_lab.create()
    assert codex_lab.servers() == server


def test_a_recycled_pid_is_not_taken_for_our_server(codex_lab: CodexLab) -> None:
    """The note about our server contains a pid that now belongs to another process."""
    id = codex_lab.create()
    os.kill(codex_lab.servers()[0], signal.SIGKILL)
    codex_lab.until(lambda: not codex_lab.servers(), "the end of the server")
    with subprocess.Popen(["sleep", "300"]) as other:
        (note,) = codex_lab.state.glob("codex/*/daemon.json")
        note.write_text(json.dumps({**json.loads(note.read_text()), "pid": other.pid}))
        assert codex_lab.ok("ask", id, "[[reply: hi]]") == "hi"
        codex_lab.ok("kill", id)
        assert other.poll() is None
        other.kill()


def test_a_thread_that_another_codex_runs_is_busy_elsewhere(codex_lab: CodexLab, codex: str) -> None:
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: ours]]") == "ours"
    os.kill(codex_lab.servers()[0], signal.SIGKILL)
    codex_lab.until(lambda: not codex_lab.servers(), "the end of the server")
    argv = [codex, "exec", "resume", "--skip-git-repo-check", codex_lab.private(id)["thread"]]
    theirs = subprocess.Popen(
        [*argv, "[[hold: theirs]][[reply: theirs]]"],
        env=codex_lab.env,
        cwd=codex_lab.project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert codex_lab.model.wait_until_blocked("theirs", 60)
    assert codex_lab.ok("status", id) == "working"
    refused = codex_lab.run("send", id, "hello")
    assert refused.code == 1
    assert "busy elsewhere" in refused.err
    assert "next:" in refused.err
    other = codex_lab.create()  # our server runs again
    assert "busy elsewhere" in codex_lab.run("send", id, "hello").err
    assert "busy elsewhere" in codex_lab.run("interrupt", id).err
    assert codex_lab.ok("ask", other, "[[reply: fine]]") == "fine"
    codex_lab.model.release("theirs")
    assert theirs.wait(60) == 0
    assert codex_lab.ok("status", id) == "idle"
    assert codex_lab.ok("wait", id) == "completed"
    assert codex_lab.ok("last-message", id) == "theirs"
    assert codex_lab.ok("ask", id, "[[reply: ours again]]") == "ours again"


def test_the_server_that_a_persons_own_codex_starts_is_shared(codex_lab: CodexLab, codex: str) -> None:
    """Codex 0.169.0 starts a server in the background for its TUI if no server is listening."""
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: ours]]") == "ours"
    os.kill(codex_lab.servers()[0], signal.SIGKILL)
    codex_lab.until(lambda: not codex_lab.servers(), "the end of the server")
    codex_lab.tmux("new-session", "-d", "-s", "me", "-x", "120", "-y", "50", "-c", str(codex_lab.project))
    codex_lab.tmux("send-keys", "-t", "=me:", f"{codex} resume {codex_lab.private(id)['thread']}", "Enter")
    codex_lab.until(lambda: "• ours" in codex_lab.tmux("capture-pane", "-p", "-t", "=me:"), "the TUI")
    theirs = codex_lab.servers()
    assert codex_lab.ok("ask", id, "[[reply: together]]") == "together"
    codex_lab.until(lambda: "• together" in codex_lab.tmux("capture-pane", "-p", "-t", "=me:"), "our turn in the TUI")
    codex_lab.ok("kill", id)
    assert codex_lab.servers() == theirs
