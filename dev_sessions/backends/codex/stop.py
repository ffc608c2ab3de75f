"""The end of a session: its thread archived, its commands ended, the server too if nobody of ours needs it."""

from __future__ import annotations

from . import daemon, leftovers, paths, thread
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session


def stop(session: Session) -> None:
    """See `base.Backend.stop`."""
    place = paths.place_of(session)
    if session.private.get("thread") is not None:
        _archive(session, place)
    leftovers.end_all(session)
    thread.forget(session)
    daemon.leave(place, session.record["key"])


def _archive(session: Session, place: paths.Place) -> None:
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
