"""Identifies processes by pid and start time, so that a recycled pid is never mistaken for the earlier process."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# The environment variables of a session's processes. The first one identifies them.
KEY = "DEV_SESSIONS_KEY"
OF_A_SESSION = (KEY, "DEV_SESSIONS_ID", "DEV_SESSIONS_DEPTH")
# The "start time" of a process that ran before the last boot.
EARLIER_BOOT = "before the last boot"
# Without these, `ps` writes times in the caller's language and time zone.
_PLAIN_TIME = ("LC_ALL=C", "TZ=UTC0")
# How a shell writes its own start time where there is no /proc; see `start_time_in`.
START_BY_PS = f"{' '.join(_PLAIN_TIME)} ps -o lstart= -p $$"
_SCANS = 25  # of all processes, while they keep changing; each scan takes a few milliseconds
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD of the kernel's linux/sched.h, in the flags of /proc/PID/stat
_LINUX = sys.platform.startswith("linux")


def start_time(pid: int) -> str | None:
    """When `pid` was started, as an opaque string; None if no such process is running (a zombie is not)."""
    if _LINUX:
        fields = _stat(pid)
        return fields[19].decode() if fields and fields[0] not in (b"Z", b"X") else None
    state, _, started = _ps("-o", "stat=,lstart=", "-p", str(pid)).strip().partition(" ")
    return None if state.startswith("Z") else " ".join(started.split()) or None


def _stat(pid: int) -> list[bytes]:
    """The fields of `/proc/PID/stat` from the third on: state, parent, ... (see proc(5)); empty if it is not running.

    The name before them may contain spaces and parentheses.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return os.read(descriptor, 4096).rpartition(b")")[2].split()
    except OSError:  # it ended meanwhile
        return []
    finally:
        os.close(descriptor)


def _ps(*words: str) -> str:
    import subprocess

    argv = ["env", *_PLAIN_TIME, "ps", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def is_stopped(pid: int) -> bool:
    """True if a signal has suspended that process (Linux)."""
    return _stat(pid)[:1] == [b"T"]


def start_time_in(words: str) -> str | None:
    """The start time in a process's own note: its line of `/proc/PID/stat`, or the output of `START_BY_PS`.

    On Linux the boot id may follow. Start times count from the boot, so one from an earlier boot cannot be compared:
    the result is then `EARLIER_BOOT`.
    """
    if not _LINUX:
        return " ".join(words.split()) or None
    stat, _, boot = words.strip().partition("\n")
    if boot and _boot_id() not in ("", boot.strip()):
        return EARLIER_BOOT
    fields = stat.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else None


def words_of(pid: int) -> str | None:
    """The note that `start_time_in` reads, for a process that has not written one; None if it is not running."""
    if not _LINUX:
        return start_time(pid)
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return f"{file.read().strip()}\n{_boot_id()}"
    except OSError:
        return None


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def ourselves() -> dict[str, Any]:
    """A note of this process, for `noted`."""
    return {"pid": os.getpid(), "started": start_time(os.getpid())}


def noted(value: Any) -> tuple[int, str]:
    """Pid and start time from a note {"pid", "started"}; (0, ""), which is never a process, if the note is invalid."""
    if not isinstance(value, dict) or type(value.get("pid")) is not int:
        return 0, ""
    return value["pid"], str(value.get("started"))


def is_running(pid: int, started: str) -> bool:
    """True if `pid` is still the process that was started at `started` (see `start_time`)."""
    return pid > 0 and start_time(pid) == started


def send_signal(pid: int, started: str, number: int) -> bool:
    """Signal that process. Returns False if it is gone; a recycled pid is never signalled."""
    try:
        handle = os.pidfd_open(pid)
    except AttributeError:
        if not is_running(pid, started):
            return False
        os.kill(pid, number)
        return True
    except OSError:
        return False
    # The handle belongs to the process that has the pid now. If the start time matches after that, it is the right one.
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

    The mark finds a descendant that left the tree (setsid, a double fork). A tmux server is left out, since it may have
    other people's sessions. A single scan misses processes that are just being started or are just executing another
    program, so we scan again until there are none of these.

    Args:
        root: pid of the topmost process; 0 to search by the mark alone.
        mark: an environment entry `NAME=value`.
    """
    found: dict[int, str] = {}
    done = {root, os.getpid()}
    for _ in range(_SCANS):
        pids = set(_parents()) if _LINUX else set()
        below = set(descendants((root,))) if root else set()
        changing = False
        for pid in (pids | below) - done:
            entries = _environment(pid)
            belongs = pid in below or mark in entries
            if not belongs and any(entries):
                continue
            started = start_time(pid)
            if started is None:  # it has ended, and may have started another one after the scan
                done.add(pid)
                changing = True
            elif belongs:
                found[pid] = started
            elif _is_executing(pid):
                changing = True
        if not changing:
            break
    return [(pid, found[pid]) for pid in sorted(found, reverse=True) if not is_tmux(pid)]


def _is_executing(pid: int) -> bool:
    """True if a process has no environment because it is just executing another program (Linux)."""
    fields = _stat(pid)
    if not fields:
        return True
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as words:
            # A program gets its arguments and its environment at the same time.
            return not int(fields[6]) & _KERNEL_THREAD and (not words.read() or any(_environment(pid)))
    except OSError:
        return True


def descendants(roots: Iterable[int]) -> Iterable[int]:
    """The pids of all descendants of these processes."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    stack = [child for root in roots for child in children.get(root, ())]
    while stack:
        pid = stack.pop()
        yield pid
        stack.extend(children.get(pid, ()))


def _parents() -> dict[int, int]:
    """The pids of all processes, each with its parent's pid."""
    if not _LINUX:
        return {int(pid): int(parent) for pid, parent in map(str.split, _ps("-axo", "pid=,ppid=").splitlines())}
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return {pid: int(fields[1]) for pid in pids if (fields := _stat(pid))}


def carries(pid: int, mark: bytes) -> bool:
    """True if the process was started with the entry `NAME=value` in its environment (Linux)."""
    return mark in _environment(pid)


def variable(pid: int, name: str) -> str | None:
    """A variable of the environment that a process was started with; None if it is unset or unreadable (Linux)."""
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
    """True if that process is a tmux client or server (Linux)."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().startswith(b"tmux")
    except OSError:
        return False


def tmux_servers() -> dict[int, int]:
    """The pids of all tmux processes, each with its parent's pid (Linux)."""
    return {pid: parent for pid, parent in _parents().items() if is_tmux(pid)} if _LINUX else {}


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


def file_mask() -> int:
    """Our umask. Read from /proc if possible: setting it, even briefly, affects every other thread."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0)
        os.umask(mask)
        return mask
