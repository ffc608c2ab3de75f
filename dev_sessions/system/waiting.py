"""One poll loop over folders, files, file descriptors and processes, with a deadline.

Arm first, read second: whatever changes after `watch_*` makes the next `wait` return at once. A slow safety tick is
the caller's (file systems without change events exist: network mounts, some bind mounts).
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


_LONGEST = 86_400.0  # poll(2) takes milliseconds in a C int


_kept: list[type[BaseException]] = []


def keep_interrupt() -> None:
    """Have the next `Watcher.wait` raise a Ctrl-C that could not be raised when it came."""
    _kept.append(KeyboardInterrupt)


class Watcher:
    """Tells that something changed, not what. Use as a context manager."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._owned: list[int] = []
        self._processes: set[tuple[int, str]] = set()
        self._folders: set[str] = set()
        self._notify = _Kqueue() if hasattr(select, "kqueue") else _Inotify()
        if self._notify.descriptor >= 0:
            self._poll.register(self._notify.descriptor, select.POLLIN)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._notify.close()
        for descriptor in self._owned:
            os.close(descriptor)

    def watch_path(self, path: str, arrivals: bool = False) -> None:
        """Watch a folder (entries made, moved in, written) or a file. A path that does not exist is left out.

        Args:
            arrivals: of a folder, only what is moved in matters, not what is drafted there.
        """
        if path not in self._folders and self._notify.add(path, _IN_MOVED_TO if arrivals else _MASK):
            self._folders.add(path)

    def watch(
        self, paths: Iterable[str], processes: Iterable[tuple[int, str]] = (), arrivals: Iterable[str] = ()
    ) -> None:
        """Watch all of these; see `watch_path` and `watch_process`."""
        for path in paths:
            self.watch_path(path)
        for path in arrivals:
            self.watch_path(path, arrivals=True)
        for process in processes:
            self.watch_process(*process)

    def watch_descriptor(self, descriptor: int) -> None:
        """Watch a file descriptor that the caller owns for input."""
        self._poll.register(descriptor, select.POLLIN)

    def forget_descriptor(self, descriptor: int) -> None:
        """Watch it no more. Called before it is closed."""
        self._poll.unregister(descriptor)

    def watch_process(self, pid: int, started: str) -> None:
        """Watch for the end of a process, which need not be a child. One that is gone already is left out."""
        if (pid, started) in self._processes or not hasattr(os, "pidfd_open"):
            return
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        self._owned.append(descriptor)
        self._processes.add((pid, started))
        if processes.is_running(pid, started):
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Block until something watched changed; False if `seconds` passed first."""
        if _kept:
            raise _kept.pop()
        ready = self._poll.poll(min(max(0.0, seconds), _LONGEST) * 1000)
        for descriptor, _ in ready:
            if descriptor == self._notify.descriptor:
                self._notify.drain()
            elif descriptor in self._owned:
                self._poll.unregister(descriptor)  # a process ends once; its descriptor stays readable for ever
        return bool(ready)


class _Inotify:
    """Linux: inotify(7) through the C library. Where it cannot be had, the caller's safety tick has to do."""

    def __init__(self) -> None:
        self.descriptor = -1
        if not sys.platform.startswith("linux"):
            return
        import ctypes

        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)

    def add(self, path: str, mask: int) -> bool:
        return self.descriptor >= 0 and self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask) >= 0

    def drain(self) -> None:
        try:
            while os.read(self.descriptor, 65536):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class _Kqueue:
    """macOS and BSD: kqueue(2) on an open descriptor of each folder or file."""

    def __init__(self) -> None:
        self._queue: Any = select.kqueue()  # type: ignore[attr-defined,unused-ignore]
        self._open: list[int] = []
        self.descriptor: int = self._queue.fileno()

    def add(self, path: str, mask: int) -> bool:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # it may be a pipe by now
        except OSError:
            return False
        self._open.append(descriptor)
        kinds: Any = select
        event = kinds.kevent(
            descriptor,
            filter=kinds.KQ_FILTER_VNODE,
            flags=kinds.KQ_EV_ADD | kinds.KQ_EV_CLEAR,
            fflags=kinds.KQ_NOTE_WRITE | kinds.KQ_NOTE_EXTEND | kinds.KQ_NOTE_RENAME,
        )
        self._queue.control([event], 0)
        return True

    def drain(self) -> None:
        while self._queue.control(None, 64, 0):
            pass

    def close(self) -> None:
        self._queue.close()
        for descriptor in self._open:
            os.close(descriptor)
