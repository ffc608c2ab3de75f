"""Which process holds a thread: Codex locks `<home>/thread-writer-locks/<thread>.lock` (flock) while it has it loaded.

A turn runs only in a process that holds its thread, and a dead process holds nothing.
"""

from __future__ import annotations

import fcntl
import os


def holder(home: str, thread: str) -> int | None:
    """Pid of the process that holds the thread; 0 if that cannot be told but somebody does; None if nobody does."""
    path = os.path.join(home, "thread-writer-locks", f"{thread}.lock")
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return None
    try:
        with open("/proc/locks", "rb") as file:
            table = file.read()
    except OSError:
        return _tried(path)
    for line in table.splitlines():
        # "7: FLOCK  ADVISORY  WRITE 12568 fe:00:16255665 0 EOF", see proc(5); "->" marks one that waits.
        fields = line.split()
        if len(fields) >= 6 and fields[1] == b"FLOCK" and fields[5].endswith(b":%d" % inode):
            return max(0, int(fields[4]))
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
        return 0
    finally:
        os.close(descriptor)
    return None
