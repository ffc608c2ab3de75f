"""Locks of the operating system, which are released when their holder dies."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TICK = 0.01  # seconds between two tries while another process holds the lock


class NotOurs(OSError):
    """The lock file is a link, or belongs to another user."""


def take(path: str, timeout: float) -> Callable[[], None]:
    """Lock the file `path`, which is created if necessary. Returns a function that releases the lock.

    Args:
        path: its folder has to exist.
        timeout: seconds to wait for another holder.

    Raises:
        TimeoutError: another process holds it for longer.
        NotOurs: somebody else has put something there.
        OSError: the file cannot be created.
    """
    import fcntl

    # The same as `filelock` (flock on that file) without its import, which takes twice as long as Python's own start.
    descriptor = _opened(path)
    with suppress(OSError):  # another process holds it, or the file system has no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # otherwise its last holder has just removed the file
            return lambda: os.close(descriptor)
    os.close(descriptor)
    import filelock

    lock = filelock.FileLock(path, mode=0o600)  # refuses a link, too (3.20.1 and newer)
    try:
        lock.acquire(timeout=timeout, poll_interval=_TICK)
    except filelock.Timeout as error:
        raise TimeoutError(f"{path} is held by another process") from error
    return lock.release


def take_folder(path: str) -> Callable[[], None]:
    """Lock a folder in which we may not create a file; waits for other holders. Returns a function that releases it.

    Raises:
        OSError: it cannot be opened.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return lambda: os.close(descriptor)


def _opened(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOurs(errno.ELOOP, "it is a link", path) from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise NotOurs(errno.EPERM, "it belongs to another user, or is not a file", path)
    os.fchmod(descriptor, 0o600)  # whatever the umask
    return descriptor
