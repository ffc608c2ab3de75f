"""The process that holds a thread."""

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


def test_the_likely_process_holds_it(tmp_path: Path, other: int) -> None:
    assert thread_lock.holder(str(tmp_path), "t", None, other) == other


def test_another_process_holds_it(tmp_path: Path, other: int) -> None:
    for likely in (os.getpid(), 2**22 + 1, None):
        assert thread_lock.holder(str(tmp_path), "t", None, likely) in (other, thread_lock.SOMEBODY)


def test_a_process_with_the_file_open_does_not_hold_the_thread(tmp_path: Path, lock: Path) -> None:
    with lock.open():
        assert thread_lock.holder(str(tmp_path), "t", None, os.getpid()) is None


def test_a_process_that_released_the_thread_does_not_hold_it(tmp_path: Path, lock: Path) -> None:
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert thread_lock.holder(str(tmp_path), "t", None, os.getpid()) == os.getpid()
        fcntl.flock(file, fcntl.LOCK_UN)
        assert thread_lock.holder(str(tmp_path), "t", None, os.getpid()) is None


def test_a_process_may_hold_one_thread_of_two(tmp_path: Path, lock: Path, other: int) -> None:
    lock.with_name("u.lock").touch()
    assert thread_lock.holder(str(tmp_path), "u", None, other) is None


def test_the_holder_of_a_thread(tmp_path: Path) -> None:
    assert thread_lock.holder(str(tmp_path), "t") == thread_lock.UNKNOWN  # a Codex that locks nothing
    folder = tmp_path / "thread-writer-locks"
    folder.mkdir()
    assert thread_lock.holder(str(tmp_path), "t") is None
    lock = folder / "t.lock"
    lock.touch()
    assert thread_lock.holder(str(tmp_path), "t") is None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert thread_lock.holder(str(tmp_path), "t") in (other.pid, thread_lock.SOMEBODY)
        other.kill()
        other.wait()
    assert thread_lock.holder(str(tmp_path), "t") is None


def test_looking_at_a_lock_leaves_it_free(tmp_path: Path) -> None:
    folder = tmp_path / "thread-writer-locks"
    folder.mkdir()
    (folder / "t.lock").touch()
    thread_lock.holder(str(tmp_path), "t")
    descriptor = os.open(folder / "t.lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_codex_without_locks_has_its_rollout_open(tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl"
    path.touch()
    assert thread_lock.holder(str(tmp_path), "t", str(path)) in (None, thread_lock.UNKNOWN)
    with path.open():  # a reader does not count
        assert thread_lock.holder(str(tmp_path), "t", str(path)) in (None, thread_lock.UNKNOWN)
    with path.open("a"):
        assert thread_lock.holder(str(tmp_path), "t", str(path)) in (os.getpid(), thread_lock.UNKNOWN)
