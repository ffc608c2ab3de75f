"""A process that outlives the command that starts it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from dev_sessions.backends import detached
from dev_sessions.errors import StoreError
from dev_sessions.system import processes


def ended(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_it_has_noted_itself_before_it_becomes_the_program(tmp_path: Path) -> None:
    log, note = tmp_path / "log", tmp_path / "note.json"
    words = ["/bin/sh", "-c", f"test -s {note} && pwd && echo error >&2; exec sleep 600"]
    pid = detached.start(words, dict(os.environ), str(log), str(note))
    try:
        until = time.monotonic() + 20
        while (not log.exists() or log.read_text().count("\n") < 2) and time.monotonic() < until:
            time.sleep(0.01)
        assert log.read_text() == "/\nerror\n"
        assert detached.noted(str(note)) == (pid, processes.start_time(pid))
        assert os.getsid(pid) == pid
    finally:
        ended(pid)


def test_another_process_can_be_noted(tmp_path: Path) -> None:
    note = str(tmp_path / "note.json")
    assert detached.noted(note) is None
    detached.note_process(note, os.getpid())
    assert detached.noted(note) == (os.getpid(), processes.start_time(os.getpid()))


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot start a process"):
        detached.start([str(tmp_path / "missing")], {}, str(tmp_path / "log"))
