"""Which process holds a thread: Codex locks `<home>/thread-writer-locks/<thread>.lock` (flock) while it has it loaded.

A turn runs only in a process that holds its thread, and a dead process holds nothing.
"""

from __future__ import annotations

import fcntl
import os

# Somebody holds it, and the system does not say who. This Codex (0.139) holds nothing: only its server can tell.
SOMEBODY, UNTOLD = 0, -1


def holder(home: str, thread: str) -> int | None:
    """Pid of the process that holds the thread, or `SOMEBODY`, or `UNTOLD`; None if nobody does."""
    folder = os.path.join(home, "thread-writer-locks")
    path = os.path.join(folder, f"{thread}.lock")
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return None if os.path.isdir(folder) else UNTOLD
    try:
        with open("/proc/locks", "rb") as file:
            table = file.read()
    except OSError:
        return _tried(path)
    for line in table.splitlines():
        # "7: FLOCK  ADVISORY  WRITE 12568 fe:00:16255665 0 EOF", see proc(5); "->" marks one that waits.
        fields = line.split()
        if len(fields) >= 6 and fields[1] == b"FLOCK" and fields[5].endswith(b":%d" % inode):
            return max(SOMEBODY, int(fields[4]))
    return None


def _tried(path: str) -> int | None:
    """Where the kernel has no table: hold it ourselves, for a moment, as one of many that only read."""
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
