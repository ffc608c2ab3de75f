"""Ends a session, and the commands that it or one of its turns has left running.

The commands are found by the mark in their environment. `turn/interrupt` ends the running command and its process
group, or nothing at all; it never ends a command in its own process session or in the background.
"""

from __future__ import annotations

import signal
import time

from ...system import files
from .. import descendants
from . import daemon, paths, thread, thread_lock
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..base import Session
    from .connection import Connection

# The signals that end commands, and how long each may take. Seconds.
_STEPS = (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)
# The system shows the start and the age of a process in hundredths of a second. Seconds.
_TICKS = 0.03


def stop(session: Session) -> None:
    """See `base.Backend.stop`. `codex unarchive` brings the conversation back."""
    place = paths.place_of(session)
    if session.private.get("thread") is not None:
        try:
            connection = daemon.reach(place)
            if connection is not None:
                with connection:  # this interrupts what runs, ends its commands, and unloads the thread
                    connection.call("thread/archive", threadId=session.private["thread"])
        except (Refused, Lost):
            pass  # the thread is gone, or another Codex has it
        except Silent:
            daemon.end_hung(place)
    end_commands(session)
    files.remove(thread.settings_path(session))
    daemon.leave(place, session.record["key"])


def end_commands(session: Session) -> None:
    """End every command of the session."""
    descendants.end_all(session, (), *_STEPS)


def end_commands_of_turn(session: Session, connection: Connection, threads: Iterable[str], began: float) -> None:
    """End the commands that a finished turn has left running in these threads, but not those of earlier turns.

    Args:
        began: when the turn began.
    """

    def commands(of_turn: bool) -> list[tuple[int, str]]:
        # The clock is read again for each process: an earlier reading would make the process seem older than it is.
        ages = [(process, thread_lock.started_at(process[0], time.time())) for process in descendants.found(session)]
        return [process for process, at in ages if (at is not None and at >= began - _TICKS) is of_turn]

    if not commands(of_turn=False):
        for id in threads:
            try:  # this ends all commands of a thread, of any turn and also those without the mark
                connection.call("thread/backgroundTerminals/clean", threadId=id)
            except (Refused, Lost, Silent):
                pass  # a version that cannot
    descendants.end_while(lambda: commands(of_turn=True), *_STEPS)
