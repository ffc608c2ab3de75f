"""Which process holds a thread: Codex locks `<home>/thread-writer-locks/<thread>.lock` (flock) while it has it loaded.

A turn runs only in a process that holds its thread, and a dead process holds nothing.
"""

from __future__ import annotations

import fcntl
import os

from ...system import processes

# Somebody holds it, and the system does not say who. This Codex (0.139) holds nothing: only its server can tell.
SOMEBODY, UNTOLD = 0, -1


# The inode of the first pid namespace (PROC_PID_INIT_INO of Linux): whoever is in it sees every process.
_FIRST_NAMESPACE = 0xEFFFFFFC


def holder(home: str, thread: str, rollout: str | None = None, likely: int | None = None) -> int | None:
    """Pid of the process that holds the thread, or `SOMEBODY`, or `UNTOLD`; None if nobody does.

    Of a Codex that locks nothing, it is the process that has the file `rollout` open. The process `likely` is looked at
    first: the kernel takes some 10 ms to show who holds any lock at all.
    """
    folder = os.path.join(home, "thread-writer-locks")
    path = os.path.join(folder, f"{thread}.lock")
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return None if os.path.isdir(folder) else _with_open(rollout)
    if likely is not None and _holds(str(likely), path, inode):
        return likely
    found = _in_table(inode)
    return found if found is not None or _sees_all() else _tried(path)


def born(pid: int, now: float) -> float | None:
    """When a process was started, by the clock as it is set `now`; None if that cannot be told."""
    started = processes.start_time(pid)
    try:
        with open("/proc/uptime", encoding="ascii") as file:
            uptime = float(file.read().split()[0])
        return now - uptime + float(started or "") / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None


def _holds(pid: str, path: str, inode: int) -> bool:
    """True if that process has that file locked: proc(5) shows a descriptor's locks as the table does."""
    for descriptor in _descriptors(pid):
        try:
            if os.readlink(f"/proc/{pid}/fd/{descriptor}") == path:
                with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as file:
                    lines = [line.split() for line in file if line.startswith(b"lock:")]
                if any(b"FLOCK" in fields and b":%d " % inode in b" ".join(fields) for fields in lines):
                    return True
        except OSError:
            continue  # closed meanwhile
    return False


def _in_table(inode: int) -> int | None:
    """Who holds the lock according to the kernel; nobody is held up by asking."""
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


def _with_open(path: str | None) -> int | None:
    if path is None or not _sees_all():
        return UNTOLD
    for name in os.listdir("/proc"):
        if name.isdecimal() and any(_writes(name, descriptor, path) for descriptor in _descriptors(name)):
            return int(name)
    return None


def _descriptors(pid: str) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []  # gone, or somebody else's


def _writes(pid: str, descriptor: str, path: str) -> bool:
    """True if that is the file, open for writing: proc(5) shows the flags of its open(2), in octal."""
    try:
        if os.readlink(f"/proc/{pid}/fd/{descriptor}") != path:
            return False
        with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii") as file:
            flags = next(line for line in file if line.startswith("flags:")).split()[1]
    except OSError:
        return False
    return int(flags, 8) & (os.O_WRONLY | os.O_RDWR) != 0


def _sees_all() -> bool:
    """False in a container or sandbox, whose table of locks leaves out those of processes outside; or without one."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_NAMESPACE and os.path.exists("/proc/locks")
    except OSError:
        return False


def _tried(path: str) -> int | None:
    """Hold it ourselves, for a moment, as one of many that only read."""
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
