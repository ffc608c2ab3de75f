"""Processes by pid and start time, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from dev_sessions.system import processes
from dev_sessions.system.waiting import Watcher

FOREVER = "import sys, time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def start():
    """Start Python code; returns the process once it has printed a line. All are ended afterwards."""
    running = []

    def begin(code=FOREVER, **options):
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, text=True, **options
        )
        running.append(process)
        process.line = process.stdout.readline()
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait(timeout=20)
        process.stdout.close()


def until(condition):
    end = time.monotonic() + 20
    with Watcher() as watcher:
        while not (value := condition()):
            assert time.monotonic() < end
            watcher.wait(0.01)
    return value


def test_a_process_runs_from_its_start_to_its_end(start):
    process = start()
    started = processes.start_time(process.pid)
    assert started
    assert processes.start_time(process.pid) == started
    assert processes.is_running(process.pid, started)
    process.kill()
    process.wait(timeout=20)
    assert processes.start_time(process.pid) is None
    assert not processes.is_running(process.pid, started)


def test_a_zombie_does_not_run(start):
    process = start()
    started = processes.start_time(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: processes.start_time(process.pid) is None)
    assert process.returncode is None
    assert not processes.is_running(process.pid, started)
    assert processes.send_signal(process.pid, started, signal.SIGTERM) is False


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 5])
def test_invalid_pids(pid):
    assert not processes.is_running(pid, "1")
    assert processes.start_time(pid) is None
    assert processes.send_signal(pid, "1", signal.SIGTERM) is False


def test_a_recycled_pid_is_never_signalled(start):
    process = start()
    earlier = str(int(processes.start_time(process.pid)) - 1) if sys.platform == "linux" else "Thu Jan 1 00:00:00 1970"
    assert not processes.is_running(process.pid, earlier)
    assert processes.send_signal(process.pid, earlier, signal.SIGKILL) is False
    assert process.poll() is None


def test_the_process_itself_is_signalled(start):
    process = start()
    assert processes.send_signal(process.pid, processes.start_time(process.pid), signal.SIGTERM) is True
    assert process.wait(timeout=20) == -signal.SIGTERM


def test_the_start_time_that_a_process_wrote_itself(tmp_path):
    # As the script does that becomes the agent.
    file = tmp_path / "process"
    script = f"{{ cat /proc/$$/stat 2>/dev/null || {processes.START_BY_PS}; }} >'{file}'; echo done; exec cat"
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert processes.start_time_in(file.read_text()) == processes.start_time(process.pid)
        process.kill()


def test_ps_prints_start_times_in_one_language_and_time_zone():
    script = f"TZ=Asia/Tokyo; export TZ; {processes.START_BY_PS}; TZ=America/Lima; {processes.START_BY_PS}"
    shown = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
    first, second = shown.splitlines()
    assert first == second


# Of `ps` any words are a start time.
NO_START = ["", "17", "17 (name) S 1 2 3", "no process"] if sys.platform == "linux" else ["", "\n"]


@pytest.mark.parametrize("words", NO_START)
def test_words_without_a_start_time(words):
    assert processes.start_time_in(words) is None


@pytest.mark.parametrize("name", ["a b", "x) S 1 (y", "ü"])
def test_a_programs_name_does_not_mislead(start, tmp_path, name):
    program = tmp_path / name
    program.symlink_to("/bin/sh")
    with subprocess.Popen(
        [str(program), "-c", "echo up; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert processes.start_time(process.pid) == processes.start_time(process.pid) is not None
        if sys.platform == "linux":
            assert processes.start_time(process.pid).isdecimal()
        process.kill()


TREE = """
import os, subprocess, sys
child = [sys.executable, "-I", "-S", "-c",
         "import os, sys, time; (len(sys.argv) > 1 and os.setsid()); print(os.getpid(), flush=True); time.sleep(600)"]
pids = []
for more, clean in (([], False), (["away"], False), ([], True)):
    process = subprocess.Popen(child + more, stdout=subprocess.PIPE, text=True, env={} if clean else None)
    pids.append(process.stdout.readline().strip())
# Each tells its own pid: right after a fork a process has its parent's name, and right at an exec no environment.
inner = subprocess.Popen(["/bin/sh", "-c", '"$@" &', "sh", *child], stdout=subprocess.PIPE, text=True)
pids.append(inner.stdout.readline().strip())
inner.wait()
print(*pids, flush=True)
inner.stdin = None
import time; time.sleep(600)
"""


@pytest.fixture
def tree(start):
    """A parent with a child, one in a session of its own, one without the mark, and one whose parent has ended."""
    mark = f"UNIT_FAMILY={os.urandom(8).hex()}"
    name, _, value = mark.partition("=")
    parent = start(TREE, env={**os.environ, name: value})
    pids = [int(pid) for pid in parent.line.split()]
    yield parent.pid, mark.encode(), pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_the_family_by_tree_and_by_mark(tree):
    root, mark, (child, away, clean, orphan) = tree
    found = processes.family(root, mark)
    assert {pid for pid, _ in found} == {child, away, clean, orphan}
    assert all(processes.is_running(pid, started) for pid, started in found)


def test_the_family_without_a_root_is_found_by_the_mark(tree):
    root, mark, (child, away, _, orphan) = tree
    assert {pid for pid, _ in processes.family(0, mark)} == {root, child, away, orphan}


def test_the_family_is_found_while_it_forks_and_executes():
    """A leader that runs `setsid PROGRAM` starts another process, which becomes that program, and ends."""
    mark = f"UNIT_FAMILY={os.urandom(8).hex()}"
    name, _, value = mark.partition("=")
    seen = []
    for _ in range(10):
        argv = ["sh", "-c", "exec setsid sleep 60"]
        leader = subprocess.Popen(argv, env={**os.environ, name: value}, start_new_session=True)
        seen += [len(processes.family(0, mark.encode())) for _ in range(10)]
        while found := processes.family(0, mark.encode()):
            for pid, started in found:
                processes.send_signal(pid, started, signal.SIGKILL)
        leader.wait()
    assert len(seen) == 100
    assert 0 not in seen


def test_a_part_of_a_mark_does_not_match(tree):
    _, mark, _ = tree
    assert processes.family(0, mark[:-1]) == []
    assert processes.family(0, mark + b"x") == []
    assert processes.family(0, b"UNIT_FAMILY") == []


def test_a_family_never_includes_the_caller(tree):
    _, mark, _ = tree
    assert os.getpid() not in {pid for pid, _ in processes.family(os.getpid(), mark)}
