"""How long programs take: whole processes, in real time, one after the other in rounds.

Machines differ and may be under load, so an absolute time means little: every command is measured alternately with
`python -c pass` of the same interpreter (A B A B ...), and the ratio counts.
"""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

PASS = "python -c pass"
# Runs a command, and at its end writes the kernel's status of its process to a file.
_TELLING = """
import sys
told, sys.argv = sys.argv[1], ["dev-sessions", *sys.argv[2:]]
from dev_sessions.cli import run
run(sys.argv[1:])
with open("/proc/self/status") as status, open(told, "w") as file:
    file.write(status.read())
"""
T = TypeVar("T")
_NULL = os.open(os.devnull, os.O_RDWR)


class Cost(NamedTuple):
    """The cost of one process: seconds of real time and of processor time."""

    wall: float
    cpu: float

    def less(self, agents: float) -> Cost:
        """The cost without the seconds in which the agent did something itself."""
        return Cost(self.wall - agents, self.cpu)


class Spread(NamedTuple):
    """Many measurements of one value, in seconds."""

    median: float
    p20: float
    cpu: float = 0.0


class Failed(Exception):
    """A measured command did not do what it should."""


def spread(costs: Sequence[Cost | float]) -> Spread:
    """Median and lowest fifth, and the median of the processor time if it was measured."""
    walls = sorted(cost.wall if isinstance(cost, Cost) else cost for cost in costs)
    used = [cost.cpu for cost in costs if isinstance(cost, Cost)]
    return Spread(statistics.median(walls), walls[len(walls) // 5], statistics.median(used) if used else 0.0)


class Commands:
    """The commands of dev-sessions in one environment, run as a user's shell would run them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)
        script = Path(sys.executable).with_name("dev-sessions")
        self.program = [str(script)] if script.exists() else [sys.executable, "-m", "dev_sessions"]

    def argv(self, *words: str) -> list[str]:
        return [*self.program, *words]

    def checked(self, *words: str, says: str = "", code: int = 0) -> str:
        """Run a command once and check that it does what is to be measured; return its output."""
        done = subprocess.run(self.argv(*words), env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != code or says not in done.stdout:
            raise Failed(f"{words}: exit {done.returncode}, said {done.stdout[:300]!r} {done.stderr[:600]!r}")
        return done.stdout

    def once(self, *words: str) -> Cost:
        return took(self.argv(*words), self.env)

    def start(self, *words: str) -> int:
        """Start a command in the background; return its pid."""
        return started(self.argv(*words), self.env)

    def floor(self) -> Cost:
        """`python -c pass`, in the same environment."""
        return took([sys.executable, "-c", "pass"], self.env)

    def memory(self, *words: str) -> float:
        """The peak memory of a command, in MB (Linux)."""
        with tempfile.NamedTemporaryFile() as told:
            argv = [sys.executable, "-c", _TELLING, told.name, *words]
            done = subprocess.run(argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            status = Path(told.name).read_text()
        if not status:
            raise Failed(f"{words}: exit {done.returncode}, said {done.stderr[-600:]!r}")
        return _kilobytes(status, "VmHWM") / 1024


def took(argv: Sequence[str], env: Mapping[str, str], given: str | None = None) -> Cost:
    """Run a program to its end and discard its output; `given` is a file for its standard input."""
    begin = time.perf_counter()
    pid = started(argv, env, given)
    _, _, used = os.wait4(pid, 0)
    return Cost(time.perf_counter() - begin, used.ru_utime + used.ru_stime)


def started(argv: Sequence[str], env: Mapping[str, str], given: str | None = None) -> int:
    stdin = (os.POSIX_SPAWN_OPEN, 0, given, os.O_RDONLY, 0) if given else (os.POSIX_SPAWN_DUP2, _NULL, 0)
    actions = [stdin, (os.POSIX_SPAWN_DUP2, _NULL, 1), (os.POSIX_SPAWN_DUP2, _NULL, 2)]
    return os.posix_spawnp(argv[0], list(argv), dict(env), file_actions=actions)


def in_turns(rounds: int, **measures: Callable[[], Cost | float]) -> dict[str, Spread]:
    """Take each measure once a round, alternating; if there are several rounds, add one to warm up (see `counted`)."""
    taken: dict[str, list[Cost | float]] = {name: [] for name in measures}
    for _ in range(rounds + (rounds > 1)):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: spread(counted(costs)) for name, costs in taken.items()}


def counted(costs: Sequence[T]) -> Sequence[T]:
    """The costs without the first one, which fills caches, unless it is the only one."""
    return costs[1:] or costs


# Running processes (Linux: read from /proc).


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0, pause: float = 0.0005) -> None:
    """Wait for a condition outside this process."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


def is_armed(pid: int) -> bool:
    """True once a `wait` sleeps with its watches set: any change from then on wakes it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "S" and _watches(pid)
    except OSError:
        return False


def _watches(pid: int) -> bool:
    for name in os.listdir(f"/proc/{pid}/fd"):
        if "inotify" in os.readlink(f"/proc/{pid}/fd/{name}"):
            return "inotify wd:" in Path(f"/proc/{pid}/fdinfo/{name}").read_text()
    return False


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used, to the nanosecond if the kernel reports it."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def most_memory(pid: int) -> float:
    """The peak memory of a process so far, in MB."""
    return _kilobytes(Path(f"/proc/{pid}/status").read_text(), "VmHWM") / 1024


def _kilobytes(status: str, name: str) -> int:
    return int(next(line for line in status.splitlines() if line.startswith(f"{name}:")).split()[1])


def ended(pid: int, seconds: float = 30.0) -> int:
    """Wait for one of our processes to end by itself; return its exit code."""
    handle = os.pidfd_open(pid)
    ready, _, _ = select.select([handle], [], [], seconds)
    os.close(handle)
    if not ready:
        end(pid)
        raise Failed(f"process {pid} has not ended within {seconds:g} s")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end(pid: int, signal: int = 15) -> None:
    """End one of our processes."""
    try:
        os.kill(pid, signal)
    except ProcessLookupError:
        return
    os.waitpid(pid, 0)
