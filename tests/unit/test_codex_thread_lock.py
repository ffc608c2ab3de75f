"""Who has a thread in hand, asked of the process that most probably has."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev_sessions.backends.codex import thread_lock

HOLD = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "thread-writer-locks" / "t.lock"
    path.parent.mkdir()
    path.touch()
    return path


@pytest.fixture
def other(lock: Path) -> Iterator[int]:
    """A process that holds the thread."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"held\n"
        yield one.pid
        one.kill()


def test_the_likely_one_has_it(tmp_path: Path, other: int) -> None:
    assert thread_lock.holder(str(tmp_path), "t", None, other) == other


def test_another_one_has_it(tmp_path: Path, other: int) -> None:
    for likely in (os.getpid(), 2**22 + 1, None):
        assert thread_lock.holder(str(tmp_path), "t", None, likely) in (other, thread_lock.SOMEBODY)


def test_one_that_has_the_file_open_does_not_have_the_thread(tmp_path: Path, lock: Path) -> None:
    with lock.open():
        assert thread_lock.holder(str(tmp_path), "t", None, os.getpid()) is None


def test_one_that_has_let_go_does_not_have_it(tmp_path: Path, lock: Path) -> None:
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert thread_lock.holder(str(tmp_path), "t", None, os.getpid()) == os.getpid()
        fcntl.flock(file, fcntl.LOCK_UN)
        assert thread_lock.holder(str(tmp_path), "t", None, os.getpid()) is None


def test_of_two_threads_it_may_have_one(tmp_path: Path, lock: Path, other: int) -> None:
    lock.with_name("u.lock").touch()
    assert thread_lock.holder(str(tmp_path), "u", None, other) is None
