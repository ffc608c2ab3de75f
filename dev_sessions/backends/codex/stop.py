"""The end of a session: its thread archived, its commands ended, the server too if nobody of ours needs it."""

from __future__ import annotations

import signal

from ... import processes
from ..ending import end
from . import daemon, places, thread
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session

_GRACE = 2.0


def stop(session: Session) -> None:
    """See `base.Backend.stop`."""
    place = places.place_of(session)
    if session.private.get("thread") is not None:
        _archive(session, place)
    _end_commands(session)
    thread.forget(session)
    daemon.leave(place, session.record["key"])


def _archive(session: Session, place: places.Place) -> None:
    """Interrupts what runs, ends its commands, unloads. `codex unarchive` brings the conversation back."""
    try:
        connection = daemon.reach(place)
        if connection is not None:
            with connection:
                connection.call("thread/archive", threadId=session.private["thread"])
    except (Refused, Lost):
        pass  # gone already, or in the hands of another Codex
    except Silent:
        daemon.end_hung(place)


def _end_commands(session: Session) -> None:
    """What the agent has started and put beside itself, known by the mark in its environment."""
    mark = f"DEV_SESSIONS_KEY={session.record['key']}".encode()
    for number in (signal.SIGTERM, signal.SIGKILL):
        end(processes.family(0, mark), (number, _GRACE))
