"""Commands of a session that nobody waits for any more, known by the mark in their environment.

`turn/interrupt` ends the command that runs and what is in its process group (0.169), or nothing at all (0.139). What
has put itself into a session of its own, and what the turn has left in the background, goes on in both.
"""

from __future__ import annotations

import signal
import time

from ... import processes
from ..ending import end
from . import holders
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session
    from .connection import Connection
    from .rollout import Story

_GRACE = 2.0


def end_all(session: Session) -> None:
    """End every command of the session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end(_marked(session), (number, _GRACE))


def end_of_turn(session: Session, connection: Connection, story: Story) -> None:
    """End what the open turn of `story`, which is over by now, has left running; what is of an earlier one goes on."""
    began = next((event.at for event in reversed(story.events) if event.kind == "began"), None)
    if began is None:
        return
    if not next((event.left for event in reversed(story.events) if event.kind == "ended"), 0):
        _clean(session, connection)
    for number in (signal.SIGTERM, signal.SIGKILL):
        now = time.time()
        born = [(process, holders.born(process[0], now)) for process in _marked(session)]
        end([process for process, at in born if at is not None and at >= began], (number, _GRACE))


def _marked(session: Session) -> list[tuple[int, str]]:
    return processes.family(0, f"DEV_SESSIONS_KEY={session.record['key']}".encode())


def _clean(session: Session, connection: Connection) -> None:
    """Have Codex end all commands of the thread that it knows of: also one that has removed its mark."""
    try:
        connection.call("thread/backgroundTerminals/clean", threadId=session.private["thread"])
    except (Refused, Lost, Silent):
        pass  # a version that cannot
