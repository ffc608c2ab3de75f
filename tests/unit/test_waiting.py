"""The watcher wakes for folders, files, descriptors and ends of processes, and for nothing else."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dev_sessions.system import files, processes
from dev_sessions.system.waiting import Watcher

# Far more than any of these events takes: a wait that ends by it has failed.
LONG = 60.0


@pytest.fixture
def watcher():
    with Watcher() as made:
        yield made


def quiet(watcher):
    """Check that nothing (more) wakes it."""
    while watcher.wait(0.0):
        pass
    return not watcher.wait(0.05)


def test_nothing_watched_times_out(watcher):
    assert watcher.wait(0.01) is False
    assert watcher.wait(0.0) is False
    assert watcher.wait(-5.0) is False


CHANGES = {
    "a file made": lambda folder: (folder / "new").write_text("x"),
    "a folder made": lambda folder: (folder / "sub").mkdir(),
    "a file moved in": lambda folder: (folder.parent / "outside").rename(folder / "inside"),
    "a file replaced in one step": lambda folder: files.write_whole(str(folder / "old"), b"new"),
    "a file written": lambda folder: (folder / "old").write_text("changed"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_in_a_folder(watcher, tmp_path, change):
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "old").write_text("x")
    (tmp_path / "outside").write_text("x")
    watcher.watch_path(str(folder))
    assert quiet(watcher)
    change(folder)
    assert watcher.wait(LONG) is True
    assert quiet(watcher)


def test_a_file_that_grows(watcher, tmp_path):
    file = tmp_path / "transcript"
    file.write_text("one\n")
    watcher.watch_path(str(file))
    assert quiet(watcher)
    with open(file, "a", encoding="utf-8") as opened:
        opened.write("two\n")
        opened.flush()
        assert watcher.wait(LONG) is True


def test_a_replaced_file_is_still_watched(watcher, tmp_path):
    file = tmp_path / "status"
    for number in range(3):
        files.write_whole(str(file), b"new")
        assert watcher.watch_path(str(file))
        assert quiet(watcher)
        file.write_text(f"written {number}")
        assert watcher.wait(LONG) is True
        assert watcher.changed == {str(file)}


def test_it_names_what_changed(watcher, tmp_path):
    reading, writing = os.pipe()
    process, started = sleeper()
    names = ("one", "two", "three")
    for name in names:
        (tmp_path / name).mkdir()
    try:
        with process:
            ends = ((process.pid, started),)
            assert watcher.watch([str(tmp_path / name) for name in names[:2]], ends, [str(tmp_path / "three")])
            watcher.watch_descriptor(reading)
            assert quiet(watcher)
            assert watcher.changed == set()
            (tmp_path / "two" / "new").touch()
            assert watcher.wait(LONG)
            assert watcher.changed == {str(tmp_path / "two")}
            (tmp_path / "one" / "new").touch()
            (tmp_path / "two" / "new").rename(tmp_path / "three" / "moved")
            assert watcher.wait(LONG)
            assert watcher.changed == {str(tmp_path / "one"), str(tmp_path / "three")}
            process.kill()
            assert watcher.wait(LONG)
            assert watcher.changed == set(ends)
            os.write(writing, b"x")
            assert watcher.wait(LONG)
            assert watcher.changed == {reading}
    finally:
        os.close(reading)
        os.close(writing)


def test_it_reports_what_cannot_be_watched(watcher, tmp_path):
    assert watcher.watch([str(tmp_path)])
    assert not watcher.watch([str(tmp_path), str(tmp_path / "missing")])
    assert not watcher.watch((), (), [str(tmp_path / "missing")])
    process, started = sleeper()
    with process:
        assert watcher.watch((), [(process.pid, started)])
        process.kill()
    with Watcher() as another:
        assert not another.watch((), [(process.pid, started)])


def test_it_leaves_descriptors_for_reading(watcher):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        watched = [watcher.watch_process(os.getpid(), f"then {number}") for number in range(256)]
        assert not all(watched)
        with contextlib.ExitStack() as stack:
            for _ in range(32):
                stack.enter_context(open(os.devnull, "rb"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_everything_counts_as_changed_after_lost_events(watcher, tmp_path):
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    loud, still = tmp_path / "loud", tmp_path / "still"
    for folder in (loud, still):
        folder.mkdir()
        watcher.watch_path(str(folder))
    for number in range(int(limit.read_text()) // 2 + 1 if limit.exists() else 100):
        (loud / str(number)).touch()  # made, and closed after writing
    (still / "new").touch()
    assert watcher.wait(LONG)
    assert watcher.changed == {str(loud), str(still)}


def test_a_change_between_watching_and_waiting_is_not_missed(watcher, tmp_path):
    watcher.watch_path(str(tmp_path))
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    assert watcher.wait(LONG) is True
    assert quiet(watcher)


def test_a_running_wait_is_woken(watcher, tmp_path):
    watcher.watch_path(str(tmp_path))
    timer = threading.Timer(0.05, (tmp_path / "a").write_text, ["x"])
    timer.start()
    assert watcher.wait(LONG) is True
    timer.join()


def test_another_folder_does_not_wake_it(watcher, tmp_path):
    (tmp_path / "watched").mkdir()
    watcher.watch_path(str(tmp_path / "watched"))
    (tmp_path / "other").write_text("x")
    assert watcher.wait(0.05) is False


def test_a_path_may_be_created_later(watcher, tmp_path):
    folder = tmp_path / "later"
    watcher.watch_path(str(folder))
    folder.mkdir()
    watcher.watch_path(str(folder))
    watcher.watch_path(str(folder))
    assert quiet(watcher)
    (folder / "a").write_text("x")
    assert watcher.wait(LONG) is True


def test_a_descriptor(watcher):
    reading, writing = os.pipe()
    try:
        watcher.watch_descriptor(reading)
        assert quiet(watcher)
        os.write(writing, b"x")
        assert watcher.wait(LONG) is True
        assert watcher.wait(LONG) is True, "the byte is still there"
        os.read(reading, 1)
        assert quiet(watcher)
    finally:
        os.close(reading)
        os.close(writing)


def sleeper():
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    return process, processes.start_time(process.pid)


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_the_end_of_a_process(watcher, how):
    process, started = sleeper()
    with process:
        watcher.watch_process(process.pid, started)
        watcher.watch_process(process.pid, started)
        assert quiet(watcher)
        if how == "killed":
            process.kill()
        else:
            process.stdin.write(b"\n")
            process.stdin.flush()
        assert watcher.wait(LONG) is True
        assert quiet(watcher), "it ends once"
        watcher.watch_process(process.pid, started)
        assert quiet(watcher)


def test_the_end_of_a_grandchild(watcher):
    code = """
import subprocess
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
input()
child.kill()
child.wait()
"""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        pid = int(parent.stdout.readline())
        watcher.watch_process(pid, processes.start_time(pid))
        assert quiet(watcher)
        parent.stdin.write(b"\n")
        parent.stdin.flush()
        assert watcher.wait(LONG) is True


def test_a_process_that_has_ended_does_not_wake_it(watcher):
    process, started = sleeper()
    with process:
        process.kill()
    watcher.watch_process(process.pid, started)
    assert quiet(watcher)


def test_another_process_of_the_same_pid_is_not_watched(watcher):
    process, started = sleeper()
    with process:
        watcher.watch_process(process.pid, f"{started}0")
        process.kill()
        process.wait(timeout=20)
        assert quiet(watcher)


def test_a_closed_watcher_leaves_no_descriptor(tmp_path):
    before = set(os.listdir("/dev/fd"))
    process, started = sleeper()
    with process:
        for _ in range(3):
            with Watcher() as watcher:
                watcher.watch_path(str(tmp_path))
                watcher.watch_process(process.pid, started)
        process.kill()
    process.stdin.close()
    assert len(set(os.listdir("/dev/fd"))) <= len(before)
