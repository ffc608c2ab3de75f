"""Listens to the app-server's notices of new questions and of errors that it retries, which are in no log."""

from __future__ import annotations

from ...errors import TimedOut
from ..base import Heard
from . import daemon, paths, thread, view
from .connection import Connection, Lost, Silent
from .protocol import Refused, complaint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..base import Session

_SECONDS = 2.0


def listen(session: Session, soon: bool) -> CodexListener | None:
    """See `base.Listens`. Only working threads are joined: joining one at rest would make it go on with its goal.

    While a subagent works, its agent is joined even at rest, if it has no goal: otherwise Codex would unload the agent
    after a minute, and it would never get the subagent's result (0.171).
    """
    path = paths.rollout_path(session)
    seen = view.read(session, path) if path is not None else None
    if seen is None or (soon and not any(one.story.calls for one in (seen.own, *seen.working))):
        return None  # only an open call of the model can become a question very soon (0.169: about 20 ms later)
    try:
        connection = daemon.reach(paths.place_of(session), _SECONDS)
    except Silent as error:
        raise TimedOut(
            "the Codex app-server does not answer; a message or an interrupt replaces it, if dev-sessions started it",
            next=f"dev-sessions interrupt {session.id}",
        ) from error
    if connection is None:
        return None
    joined = []
    try:
        for one in (seen.own, *seen.working):
            kind = thread.status(one.id, connection).kind
            waits = one.own and bool(seen.working) and not one.story.goal
            if kind == "active" or (kind == "idle" and waits):
                connection.call("thread/resume", threadId=one.id, excludeTurns=True)
                joined.append(one.id)
    except (Refused, Lost, Silent):
        joined = []
    if joined:
        return CodexListener(connection, joined)
    connection.close()
    return None


class CodexListener:
    """See `base.Listener`."""

    def __init__(self, connection: Connection, threads: Sequence[str]) -> None:
        self._connection, self._threads = connection, threads
        self.descriptor = connection.descriptor

    def heard(self) -> Heard | None:
        try:
            notices = self._connection.news()
        except (Lost, Silent):
            return None
        # A client that has joined an agent also gets the requests of its present and later subagents (0.146 to 0.171).
        ours = [one for one in notices if one.id is not None or one.params.get("threadId") in self._threads]
        moved = any(one.id is not None or one.method == "thread/status/changed" for one in ours)
        complaints = (complaint(one, thread) for one in ours for thread in self._threads)
        return Heard([words for words in complaints if words], moved)

    def close(self) -> None:
        self._connection.close()
