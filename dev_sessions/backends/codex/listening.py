"""What the app-server tells in passing: errors that it expects to pass, and that it writes down nowhere."""

from __future__ import annotations

from ...errors import TimedOut
from . import daemon, places, thread
from .connection import Connection, Lost, Silent
from .protocol import Refused, complaint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session

_SECONDS = 2.0


def listen(session: Session) -> CodexListener | None:
    """See `base.Listens`. Only a thread at work is joined: one at rest would go on with its goal."""
    try:
        connection = daemon.reach(places.place_of(session), _SECONDS)
    except Silent as error:
        raise TimedOut(
            "the Codex app-server does not answer; a message, or an interrupt, replaces it if it is ours",
            next=f"dev-sessions interrupt {session.id}",
        ) from error
    if connection is None:
        return None
    id = session.private.get("thread")
    try:
        if id is not None and thread.status(session, connection).kind == "active":
            connection.call("thread/resume", threadId=id, excludeTurns=True)
            return CodexListener(connection, id)
    except (Refused, Lost, Silent):
        pass
    connection.close()
    return None


class CodexListener:
    """See `base.Listener`."""

    def __init__(self, connection: Connection, thread: str) -> None:
        self._connection, self._thread = connection, thread
        self.descriptor = connection.descriptor

    def heard(self) -> list[str] | None:
        try:
            notices = self._connection.news()
        except (Lost, Silent):
            return None
        return [words for notice in notices if (words := complaint(notice, self._thread))]

    def close(self) -> None:
        self._connection.close()
