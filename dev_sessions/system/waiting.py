"""Waits, with a deadline, for changes of folders, files, file descriptors and processes.

Watch first, then read: any change after `watch_*` makes the next `wait` return at once. The caller also has to check
now and then without an event, because some file systems report no changes (network mounts, some bind mounts).
"""

from __future__ import annotations

import os
import select
import sys

from . import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_IN_MODIFY, _IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x8, 0x80, 0x100
_MASK = _IN_MODIFY | _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_CREATE
# Watching a file by another path adds to its events instead of replacing them; the kernel reports a deleted file.
_IN_MASK_ADD, _IN_IGNORED = 0x20000000, 0x8000

_LONGEST = 86_400.0  # poll(2) takes milliseconds in a C int
_LEFT = 64  # descriptors that are not used for watching


_kept: list[type[BaseException]] = []


def keep_interrupt() -> None:
    """Make the next `Watcher.wait` raise a Ctrl-C that could not be raised when it came."""
    _kept.append(KeyboardInterrupt)


class Watcher:
    """Reports that something changed, and what. Use as a context manager.

    Attributes:
        changed: what ended the last `wait`: paths, processes as (pid, start time), descriptors of the caller.
    """

    def __init__(self) -> None:
        self.changed: set[str | tuple[int, str] | int] = set()
        self._poll = select.poll()
        self._ends: dict[int, tuple[int, str]] = {}
        self._processes: set[tuple[int, str]] = set()
        self._notify = _Kqueue() if hasattr(select, "kqueue") else _Inotify()
        if self._notify.descriptor >= 0:
            self._poll.register(self._notify.descriptor, select.POLLIN)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._notify.close()
        for descriptor in self._ends:
            os.close(descriptor)

    def watch_path(self, path: str, arrivals: bool = False) -> bool:
        """Watch a folder (entries made, moved in, written) or a file; False if it cannot be watched, or does not exist.

        Args:
            arrivals: only report files that are moved into the folder, not those that are written there.
        """
        return self._notify.add(path, _IN_MOVED_TO if arrivals else _MASK)

    def watch(
        self, paths: Iterable[str], processes: Iterable[tuple[int, str]] = (), arrivals: Iterable[str] = ()
    ) -> bool:
        """Watch all of these; False if one cannot be watched. See `watch_path` and `watch_process`."""
        watched = [self.watch_path(path) for path in paths]
        watched += [self.watch_path(path, arrivals=True) for path in arrivals]
        watched += [self.watch_process(*process) for process in processes]
        return all(watched)

    def watch_descriptor(self, descriptor: int) -> None:
        """Watch a file descriptor that the caller owns for input."""
        self._poll.register(descriptor, select.POLLIN)

    def forget_descriptor(self, descriptor: int) -> None:
        """Stop watching a descriptor. Called before it is closed."""
        self._poll.unregister(descriptor)

    def watch_process(self, pid: int, started: str) -> bool:
        """Watch for the end of a process, even if it is not a child; False if it cannot be watched, or has ended."""
        if (pid, started) in self._processes:
            return True
        if not hasattr(os, "pidfd_open"):
            return False
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return False
        if not _is_spare(descriptor):
            return False
        self._ends[descriptor] = (pid, started)
        self._processes.add((pid, started))
        if processes.is_running(pid, started):
            self._poll.register(descriptor, select.POLLIN)
        return True

    def wait(self, seconds: float) -> bool:
        """Block until something watched changed; False if `seconds` passed first."""
        if _kept:
            raise _kept.pop()
        self.changed = set()
        ready = self._poll.poll(min(max(0.0, seconds), _LONGEST) * 1000)
        for descriptor, _ in ready:
            if descriptor == self._notify.descriptor:
                self.changed |= self._notify.drain()
            elif descriptor in self._ends:
                self._poll.unregister(descriptor)  # a process ends once, but its descriptor stays readable
                self.changed.add(self._ends[descriptor])
            else:
                self.changed.add(descriptor)
        return bool(ready)


def _is_spare(descriptor: int) -> bool:
    """True if enough descriptors are left for reading; otherwise closes this one."""
    limit = os.sysconf("SC_OPEN_MAX")
    if limit < 0 or descriptor < limit - _LEFT:
        return True
    os.close(descriptor)
    return False


class _Inotify:
    """Linux: inotify(7) through the C library. Without it, only the caller's own checks find changes."""

    def __init__(self) -> None:
        self.descriptor = -1
        if not sys.platform.startswith("linux"):
            return
        import ctypes
        from struct import Struct

        self._event = Struct("iIII")  # watch, what happened, cookie, length of the name that follows
        self._paths: dict[int, set[str]] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)

    def add(self, path: str, mask: int) -> bool:
        if self.descriptor < 0:
            return False
        # Also for a path that is watched already: it may be another file by now. For the same file nothing changes.
        watch = self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask | _IN_MASK_ADD)
        if watch < 0:
            return False
        self._paths.setdefault(watch, set()).add(path)
        return True

    def drain(self) -> set[str]:
        """The paths that have changed; all paths if the kernel has lost events."""
        changed: set[str] = set()
        try:
            while events := os.read(self.descriptor, 65536):
                at = 0
                while at < len(events):
                    watch, mask, _, length = self._event.unpack_from(events, at)
                    at += self._event.size + length
                    changed |= set().union(*self._paths.values()) if watch < 0 else self._paths.get(watch, set())
                    if mask & _IN_IGNORED:
                        self._paths.pop(watch, None)
        except BlockingIOError:
            pass
        return changed

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class _Kqueue:
    """macOS and BSD: kqueue(2) on an open descriptor of each folder or file."""

    def __init__(self) -> None:
        self._queue: Any = select.kqueue()  # type: ignore[attr-defined,unused-ignore]
        self._open: dict[int, str] = {}
        self._paths: set[str] = set()
        self.descriptor: int = self._queue.fileno()

    def add(self, path: str, mask: int) -> bool:
        if path in self._paths:
            return True
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # it may be a pipe by now
        except OSError:
            return False
        if not _is_spare(descriptor):
            return False
        self._open[descriptor] = path
        self._paths.add(path)
        kinds: Any = select
        event = kinds.kevent(
            descriptor,
            filter=kinds.KQ_FILTER_VNODE,
            flags=kinds.KQ_EV_ADD | kinds.KQ_EV_CLEAR,
            fflags=kinds.KQ_NOTE_WRITE | kinds.KQ_NOTE_EXTEND | kinds.KQ_NOTE_RENAME,
        )
        self._queue.control([event], 0)
        return True

    def drain(self) -> set[str]:
        changed: set[str] = set()
        while events := self._queue.control(None, 64, 0):
            changed.update(self._open[event.ident] for event in events)
        return changed

    def close(self) -> None:
        self._queue.close()
        for descriptor in self._open:
            os.close(descriptor)
