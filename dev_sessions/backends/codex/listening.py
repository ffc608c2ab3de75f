"""What the app-server tells in passing and writes down nowhere: that it asks, and errors that it expects to pass."""

from __future__ import annotations

from ...errors import TimedOut
from ..base import Heard
from . import daemon, evidence, places, rollout, thread
from .connection import Connection, Lost, Silent
from .protocol import Refused, complaint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session

_SECONDS = 2.0


def listen(session: Session, soon: bool) -> CodexListener | None:
    """See `base.Listens`. Only a thread at work is joined: one at rest would go on with its goal."""
    if soon and not _calls(session):
        return None
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


def _calls(session: Session) -> bool:
    """True if a call of the model is open, which may be a question the next moment (0.169: some 20 ms later)."""
    path = evidence.rollout_path(session) if session.private.get("thread") else None
    return path is not None and bool(rollout.read(path, evidence.past(session)[0]).calls)


class CodexListener:
    """See `base.Listener`."""

    def __init__(self, connection: Connection, thread: str) -> None:
        self._connection, self._thread = connection, thread
        self.descriptor = connection.descriptor

    def heard(self) -> Heard | None:
        try:
            notices = self._connection.news()
        except (Lost, Silent):
            return None
        ours = [one for one in notices if one.params.get("threadId") == self._thread]
        moved = any(one.id is not None or one.method == "thread/status/changed" for one in ours)
        return Heard([words for one in ours if (words := complaint(one, self._thread))], moved)

    def close(self) -> None:
        self._connection.close()
