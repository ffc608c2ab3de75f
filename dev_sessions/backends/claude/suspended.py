"""A Claude Code that a person has suspended (Ctrl-Z): it goes on at SIGCONT.

Its process does not stop, since a pane's program has no shell above it: Claude gives the terminal back, as a shell
finds it, and reads no key until the signal comes (2.1.150 to 2.1.332). One that was really stopped goes on by it too.
"""

from __future__ import annotations

import os
import signal
import termios
import time

from ...system import processes
from ...system.waiting import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...terminal.screen import Screen
    from ..base import Session

# How long Claude may take to have its terminal again. Seconds.
_AWAKE = 5.0


def go_on(session: Session, screen: Screen) -> None:
    """Have a suspended Claude go on, before any key. Called by whoever is about to press one, under the lock."""
    process = session.folder.process()
    if process is None or not _is_suspended(process[0]):
        return
    until = time.monotonic() + _AWAKE
    with Watcher() as watcher:
        watcher.watch_descriptor(screen.descriptor)
        processes.send_signal(*process, signal.SIGCONT)
        while _is_suspended(process[0]) and (left := until - time.monotonic()) > 0:
            watcher.wait(min(left, 0.2))
            screen.drain()


def _is_suspended(pid: int) -> bool:
    """True if that process is stopped, or its terminal gathers lines, as for a shell, and gives no single key."""
    return processes.is_stopped(pid) or _gathers_lines(pid)


def _gathers_lines(pid: int) -> bool:
    try:
        descriptor = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(termios.tcgetattr(descriptor)[3] & termios.ICANON)
    except termios.error:  # no terminal
        return False
    finally:
        os.close(descriptor)
