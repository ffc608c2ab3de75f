"""Ends processes, with gentle signals first."""

from __future__ import annotations

import time

from ..system import processes
from ..system.waiting import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable

# How often to check on systems that do not report the end of a process. Seconds.
_TICK = 0.05


def end(wanted: Iterable[tuple[int, str]], *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn to the processes that are still running, and wait for their end.

    Args:
        wanted: processes, as (pid, start time); another process with the same pid gets no signal.
        steps: signals, each with the number of seconds to wait after it at most.
    """
    left = list(wanted)
    for number, seconds in steps:
        left = [process for process in left if processes.send_signal(*process, number)]
        until = time.monotonic() + seconds
        with Watcher() as watcher:
            watcher.watch((), left)
            while any(processes.is_running(*process) for process in left) and time.monotonic() < until:
                watcher.wait(min(_TICK, max(0.0, until - time.monotonic())))
