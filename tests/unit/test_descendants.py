"""What an agent has started in a tmux server of its own, and what a person has opened there since."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev_sessions.backends import descendants
from dev_sessions.backends.session import Session
from dev_sessions.state.folder import Folder
from dev_sessions.system import processes

Tmux = Callable[..., str]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    key = f"fizz-top-{os.urandom(4).hex()}"
    record = {"id": "fizz-top", "key": key, "cli": "claude", "backend": {}}
    return Session(record, Folder(str(tmp_path / key)), {"PATH": os.environ["PATH"]})


@pytest.fixture
def tmux(session: Session, tmp_path: Path) -> Iterator[Tmux]:
    """Runs tmux as the agent would, on a server that the first command starts."""
    socket = f"/tmp/ds-unit-{os.getpid()}-{os.urandom(4).hex()}.sock"
    configuration = tmp_path / "tmux.conf"
    configuration.write_text("set -g remain-on-exit on\n")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), processes.KEY: session.record["key"]}

    def run(*words: str) -> str:
        argv = ["tmux", "-f", str(configuration), "-S", socket, *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=20, check=False).stdout

    yield run
    run("kill-server")
    Path(socket).unlink(missing_ok=True)


def made(tmux: Tmux, name: str) -> tuple[int, int]:
    """The pids of the server and of the program in a new session."""
    tmux("new-session", "-d", "-s", name, "exec sleep 600")
    server, pane = tmux("display-message", "-p", "-t", f"={name}:", "#{pid} #{pane_pid}").split()
    return int(server), int(pane)


def test_everything_ends_with_the_server(session: Session, tmux: Tmux) -> None:
    server, pane = made(tmux, "work")
    assert [pid for pid, _ in descendants.found(session)] == [pane]  # a server may hold sessions of others
    descendants.end_all(session, (), (signal.SIGTERM, 5.0))
    assert processes.start_time(pane) is None
    end = time.monotonic() + 20
    while processes.start_time(server) is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert processes.start_time(server) is None


def test_a_tmux_server_that_a_process_in_a_container_names_is_not_asked(session: Session, tmux: Tmux) -> None:
    """The socket could be another server's on the host, which could make our tmux run commands."""
    _, pane = made(tmux, "work")
    contained = session.replace(record={**session.record, "mode": "docker"})
    descendants.end_all(contained, (), (signal.SIGTERM, 5.0))
    assert processes.start_time(pane) is None
    assert tmux("list-sessions", "-F", "#{session_name}") == "work\n"


def test_a_tmux_session_that_a_person_has_visited_stays(session: Session, tmux: Tmux) -> None:
    server, work = made(tmux, "work")
    _, persons = made(tmux, "person")
    argv = ["tmux", "-S", tmux("display-message", "-p", "#{socket_path}").strip(), "-C", "attach", "-t", "=person"]
    env = {name: value for name, value in os.environ.items() if name != "TMUX"}
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert any(line.startswith("%session-changed") for line in client.stdout)
        client.communicate("detach-client\n", timeout=20)
    assert processes.variable(persons, processes.KEY) == session.record["key"]
    assert [pid for pid, _ in descendants.found(session)] == [work]
    descendants.end_all(session, (), (signal.SIGTERM, 5.0))
    assert processes.start_time(work) is None
    assert processes.start_time(persons) is not None
    assert tmux("list-sessions", "-F", "#{session_name} #{pid}") == f"person {server}\n"
