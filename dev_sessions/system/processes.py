"""Processes by pid *and* start time, so that a recycled pid is never taken for the process that once had it."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# By this variable the processes of an agent are known; these belong to no process that is not its.
KEY = "DEV_SESSIONS_KEY"
OF_A_SESSION = (KEY, "DEV_SESSIONS_ID", "DEV_SESSIONS_DEPTH")
# In the place of the start time of a process that ran before the machine was started last.
EARLIER_BOOT = "before the last boot"
# `ps` writes times in the caller's language and time zone, unless it is given these.
_PLAIN_TIME = ("LC_ALL=C", "TZ=UTC0")
# How a shell tells its own start time where there is no /proc; see `start_time_in`.
START_BY_PS = f"{' '.join(_PLAIN_TIME)} ps -o lstart= -p $$"
# Looks at the processes of a machine on which they keep changing; each takes some milliseconds.
_LOOKS = 25
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of the kernel's linux/sched.h, in the flags of /proc/PID/stat
_LINUX = sys.platform.startswith("linux")


def start_time(pid: int) -> str | None:
    """When `pid` was started, as an opaque string; None if no such process runs (a zombie does not run)."""
    if not _LINUX:
        return _start_time_by_ps(pid)
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
    except OSError:  # it ended meanwhile
        return None
    finally:
        os.close(descriptor)
    # Fields 3 (state) and 22 (start time in clock ticks since boot) of proc(5); the name before them may hold spaces.
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def is_stopped(pid: int) -> bool:
    """True if a signal has stopped that process, and none has let it go on yet (Linux)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except (OSError, IndexError):
        return False


def start_time_in(words: str) -> str | None:
    """The start time in what a process wrote of itself: its line of `/proc/PID/stat`, or `START_BY_PS`.

    On Linux the system's boot id may follow: the start time counts from the boot, so that of an earlier one is nobody's
    (`EARLIER_BOOT`), whoever has the pid now.
    """
    if not _LINUX:
        return " ".join(words.split()) or None
    stat, _, boot = words.strip().partition("\n")
    if boot and _boot_id() not in (None, boot.strip()):
        return EARLIER_BOOT
    fields = stat.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else None


def words_of(pid: int) -> str | None:
    """What `start_time_in` reads of a process that has not written it down itself; None if it does not run."""
    if not _LINUX:
        return _start_time_by_ps(pid)
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return f"{file.read().strip()}\n{_boot_id() or ''}"
    except OSError:
        return None


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def ourselves() -> dict[str, Any]:
    """This process, as `noted` reads it back."""
    return {"pid": os.getpid(), "started": start_time(os.getpid())}


def noted(value: Any) -> tuple[int, str]:
    """A process that was noted as {"pid", "started"}, as (pid, start time); nobody's if the note does not tell."""
    if not isinstance(value, dict) or type(value.get("pid")) is not int:
        return 0, ""
    return value["pid"], str(value.get("started"))


def is_running(pid: int, started: str) -> bool:
    """True if `pid` still is the process that was started at `started` (see `start_time`)."""
    return pid > 0 and start_time(pid) == started


def send_signal(pid: int, started: str, number: int) -> bool:
    """Signal exactly that process. Returns False if it is gone; a recycled pid is never signalled."""
    try:
        handle = os.pidfd_open(pid)
    except AttributeError:
        if not is_running(pid, started):
            return False
        os.kill(pid, number)
        return True
    except OSError:
        return False
    # The handle is bound to whatever has the pid now; if the start time read after that still fits, it is ours.
    try:
        if not is_running(pid, started):
            return False
        import signal

        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def family(root: int, mark: bytes) -> list[tuple[int, str]]:
    """`root`'s descendants, and every process whose environment holds `mark`, as (pid, start time), children first.

    A descendant that left the tree (setsid, a double fork) is found by the mark; a tmux server is left alone, since it
    may hold the sessions of others. One look at the processes of a machine misses what they start meanwhile, and what
    becomes another program just then; so we look until one shows no such change.

    Args:
        root: pid of the topmost process; 0 to search by the mark alone.
        mark: an environment entry `NAME=value`.
    """
    found: dict[int, str] = {}
    over = {root, os.getpid()}
    for _ in range(_LOOKS):
        pids = _pids() if _LINUX else set()
        below = set(descendants((root,))) if root else set()
        changing = False
        for pid in (pids | below) - over:
            entries = _environment(pid)
            wanted = pid in below or mark in entries
            if not wanted and any(entries):
                continue
            started = start_time(pid)
            if started is None:  # it may have started another that was not there yet
                over.add(pid)
                changing = True
            elif wanted:
                found[pid] = started
            elif _is_becoming_another(pid):
                changing = True
        if not changing:
            break
    return [(pid, found[pid]) for pid in sorted(found, reverse=True) if not is_tmux(pid)]


def _is_becoming_another(pid: int) -> bool:
    """True if a process has no environment because it executes another program just now (Linux)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat, open(f"/proc/{pid}/cmdline", "rb") as words:
            if int(stat.read().rpartition(b")")[2].split()[6]) & _KERNEL_THREAD:
                return False
            # A program gets its words and its environment at once: one that has words by now has both.
            return not words.read() or any(_environment(pid))
    except OSError:
        return True


def descendants(roots: Iterable[int]) -> Iterable[int]:
    """The pids of all descendants of these processes."""
    children: dict[int, list[int]] = {}
    for pid, parent in _process_table().items():
        children.setdefault(parent, []).append(pid)
    stack = [child for root in roots for child in children.get(root, ())]
    while stack:
        pid = stack.pop()
        yield pid
        stack.extend(children.get(pid, ()))


def _process_table() -> dict[int, int]:
    """pid -> parent's pid of every process that can be seen."""
    if not _LINUX:
        return _process_table_by_ps()
    table = {}
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                table[pid] = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
    return table


def _pids() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}


def carries(pid: int, mark: bytes) -> bool:
    """True if the process was started with that entry, `NAME=value`, in its environment (Linux)."""
    return mark in _environment(pid)


def variable(pid: int, name: str) -> str | None:
    """A variable of the environment that the process was started with; None without it, or if it may not be seen."""
    begin = f"{name}=".encode()
    entry = next((one for one in _environment(pid) if one.startswith(begin)), None)
    return None if entry is None else os.fsdecode(entry[len(begin) :])


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def is_tmux(pid: int) -> bool:
    """True if that process is a tmux, client or server."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().startswith(b"tmux")
    except OSError:
        return False


def _start_time_by_ps(pid: int) -> str | None:
    import subprocess

    argv = ["env", *_PLAIN_TIME, "ps", "-o", "stat=,lstart=", "-p", str(pid)]
    shown = subprocess.run(argv, capture_output=True, text=True, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return " ".join(started.split()) or None if not state.startswith("Z") else None


def _process_table_by_ps() -> dict[int, int]:
    import subprocess

    shown = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False)
    return {int(pid): int(parent) for pid, parent in (line.split() for line in shown.stdout.splitlines())}


def file_mask() -> int:
    """Our umask. Asked of the system where that can be: to set it, however briefly, is felt by every other thread."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0)
        os.umask(mask)
        return mask


def listening_on(path: str) -> tuple[int, int] | None:
    """Pid and user id of the process that listens on a unix socket; (0, -1) if the system does not say (macOS).

    None if nothing listens there.
    """
    import socket
    import struct

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(path)
            if not hasattr(socket, "SO_PEERCRED"):
                return 0, -1
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    pid, user, _ = struct.unpack("3i", peer)
    return int(pid), int(user)
