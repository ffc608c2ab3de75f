"""Commands of a session that nobody waits for any more, known by the mark in their environment.

`turn/interrupt` ends the command that runs and what is in its process group (0.169), or nothing at all (0.139). What
has put itself into a session of its own, and what the turn has left in the background, goes on in both.
"""

from __future__ import annotations

import signal
import time

from .. import descendants
from . import thread_lock
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..base import Session
    from .connection import Connection

# What ends them, and how long each may take. Seconds.
_STEPS = (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)
# The system tells the start of a process to a hundredth of a second, and its own age as well. Seconds.
_TICKS = 0.03


def end_all(session: Session) -> None:
    """End every command of the session."""
    descendants.end_all(session, (), *_STEPS)


def end_of_turn(session: Session, connection: Connection, threads: Iterable[str], began: float) -> None:
    """End what a turn that is over by now has left running, in these threads; what is of an earlier one goes on.

    Args:
        began: when it began.
    """
    began -= _TICKS
    if all(at is not None and at >= began for _, at in _born(session)):
        for thread in threads:
            _clean(thread, connection)
    descendants.end_while(
        lambda: [process for process, at in _born(session) if at is not None and at >= began], *_STEPS
    )


def _born(session: Session) -> list[tuple[tuple[int, str], float | None]]:
    """The commands of the session that run, and when each was started."""
    # The clock is read for each, after the search: what passes between the two would make a process older than it is.
    return [(process, thread_lock.born(process[0], time.time())) for process in descendants.found(session)]


def _clean(thread: str, connection: Connection) -> None:
    """Have Codex end all that it knows of in a thread, of whatever turn: also a command without the mark."""
    try:
        connection.call("thread/backgroundTerminals/clean", threadId=thread)
    except (Refused, Lost, Silent):
        pass  # a version that cannot
