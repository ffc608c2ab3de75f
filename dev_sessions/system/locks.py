"""Locks of the operating system, which a dead process releases by dying."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Between two looks of one who waits. Seconds.
_TICK = 0.01


class NotOurs(OSError):
    """Where the lock should be there is a link, or a file of another user."""


def take(path: str, timeout: float) -> Callable[[], None]:
    """Lock the file `path`, which is made if need be; what is returned releases it.

    Args:
        path: its folder has to be there.
        timeout: seconds to wait for another holder.

    Raises:
        TimeoutError: another process holds it for longer.
        NotOurs: somebody else has put something there.
        OSError: the file cannot be made.
    """
    descriptor = _taken_at_once(path)
    if descriptor is not None:
        return lambda: os.close(descriptor)
    import filelock  # twice the start-up time of Python itself, so it is left to those who have to wait

    lock = filelock.FileLock(path, mode=0o600)  # opens no link either (3.20.1 and newer)
    try:
        lock.acquire(timeout=timeout, poll_interval=_TICK)
    except filelock.Timeout as error:
        raise TimeoutError(f"{path} is held by another process") from error
    return lock.release


def take_folder(path: str) -> Callable[[], None]:
    """Lock a folder that is not ours to put a file into; waits for another holder. What is returned releases it.

    Raises:
        OSError: it cannot be opened.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        pass
    return lambda: os.close(descriptor)


def _taken_at_once(path: str) -> int | None:
    """The lock that `filelock` takes (flock on that file), as a descriptor to close; None: wait for it."""
    import fcntl

    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # else its last holder has just removed the file
            return descriptor
    except OSError:  # another process holds it, or a file system without locks
        pass
    os.close(descriptor)
    return None


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
        raise NotOurs(errno.EPERM, "it is another user's, or not a file", path)
    os.fchmod(descriptor, 0o600)  # whatever the umask
    return descriptor
