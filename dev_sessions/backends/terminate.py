"""Ending processes, the polite way first."""

from __future__ import annotations

import time

from ..system import processes
from ..system.waiting import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable

# Between two looks where the end of a process is no event. Seconds.
_TICK = 0.05


def end(wanted: Iterable[tuple[int, str]], *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn to those that still run, and wait for their end, so many seconds at most.

    Args:
        wanted: processes, as (pid, start time): one that has taken over a pid gets nothing.
        steps: signals, and the seconds that each is given to work.
    """
    left = list(wanted)
    for number, seconds in steps:
        left = [process for process in left if processes.send_signal(*process, number)]
        until = time.monotonic() + seconds
        with Watcher() as watcher:
            for process in left:
                watcher.watch_process(*process)
            while any(processes.is_running(*process) for process in left) and time.monotonic() < until:
                watcher.wait(min(_TICK, max(0.0, until - time.monotonic())))
