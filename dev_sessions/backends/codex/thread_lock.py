"""Finds the process that holds a thread.

A Codex that has loaded a thread locks `<home>/thread-writer-locks/<thread>.lock` (flock). A turn runs only in a process
that holds its thread, and a process that has ended holds nothing.
"""

from __future__ import annotations

import fcntl
import os

from ...system import processes
from . import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session

# A process holds it, and the system does not show which. This Codex (0.146) locks nothing: only its server knows.
SOMEBODY, UNKNOWN = 0, -1
# The inode of the first pid namespace (PROC_PID_INIT_INO of Linux), where all processes are visible.
_FIRST_NAMESPACE = 0xEFFFFFFC


def held_by(session: Session, thread: str | None = None, path: str | None = None) -> int | None:
    """The process that holds a thread of the session (by default its own); see `holder`."""
    private, daemon = session.private, paths.place_of(session).daemon()
    if thread is None:
        thread, path = str(private["thread"]), paths.rollout_path(session)
    return holder(private["home"], thread, path, daemon[0] if daemon else None)


def holder(home: str, thread: str, rollout: str | None = None, likely: int | None = None) -> int | None:
    """Pid of the process that holds the thread, or `SOMEBODY`, or `UNKNOWN`; None if there is none.

    With a Codex that does not lock, it is the process that has the file `rollout` open. The process `likely` is checked
    first, since the kernel takes about 10 ms to list all locks.
    """
    folder = os.path.join(home, "thread-writer-locks")
    path = os.path.join(folder, f"{thread}.lock")
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return None if os.path.isdir(folder) else _writer(rollout)
    if likely is not None and any(_is_lock(line, inode) for line in _about_open(str(likely), path)):
        return likely
    found = _in_table(inode)
    return found if found is not None or _sees_all() else _try_lock(path)


def started_at(pid: int, now: float) -> float | None:
    """When a process was started, in terms of the current clock (`now`); None if the system does not show it."""
    started = processes.start_time(pid)
    try:
        with open("/proc/uptime", encoding="ascii") as file:
            uptime = float(file.read().split()[0])
        return now - uptime + float(started or "") / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None


def _about_open(pid: str, path: str) -> list[list[bytes]]:
    """The system's information about a process's descriptors of a file, as lines of words; see proc(5)."""
    lines: list[list[bytes]] = []
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []  # it has ended, or belongs to another user
    for descriptor in descriptors:
        try:
            if os.readlink(f"/proc/{pid}/fd/{descriptor}") == path:
                with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as file:
                    lines += [line.split() for line in file]
        except OSError:
            continue  # just closed
    return lines


def _is_lock(words: list[bytes], inode: int) -> bool:
    return words[:1] == [b"lock:"] and b"FLOCK" in words and any(word.endswith(b":%d" % inode) for word in words)


def _writer(path: str | None) -> int | None:
    """The process that has a file open for writing."""
    if path is None or not _sees_all():
        return UNKNOWN
    for name in filter(str.isdecimal, os.listdir("/proc")):
        flags = [int(words[1], 8) for words in _about_open(name, path) if words[:1] == [b"flags:"]]
        if any(flag & (os.O_WRONLY | os.O_RDWR) for flag in flags):
            return int(name)
    return None


def _in_table(inode: int) -> int | None:
    """The holder of the lock in the kernel's table, which can be read without taking the lock."""
    try:
        with open("/proc/locks", "rb") as file:
            table = file.read()
    except OSError:
        return None
    for line in table.splitlines():
        # "7: FLOCK  ADVISORY  WRITE 12568 fe:00:16255665 0 EOF", see proc(5); "->" marks one that waits.
        fields = line.split()
        if len(fields) >= 6 and fields[1] == b"FLOCK" and fields[5].endswith(b":%d" % inode):
            return max(SOMEBODY, int(fields[4]))
    return None


def _sees_all() -> bool:
    """True if the table of locks shows all processes: not in a container or sandbox, and not without a table."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_NAMESPACE and os.path.exists("/proc/locks")
    except OSError:
        return False


def _try_lock(path: str) -> int | None:
    """Find out by taking the lock for a moment, shared with other readers."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return SOMEBODY
    finally:
        os.close(descriptor)
    return None
