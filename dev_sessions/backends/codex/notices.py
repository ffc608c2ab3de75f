"""What the app-server tells in passing and writes down nowhere: that it asks, and errors that it expects to pass."""

from __future__ import annotations

from ...errors import TimedOut
from ..base import Heard
from . import daemon, observe, paths, thread, view
from .connection import Connection, Lost, Silent
from .protocol import Refused, complaint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..base import Session
    from .subagents import Thread

_SECONDS = 2.0


def listen(session: Session, soon: bool) -> CodexListener | None:
    """See `base.Listens`. Only threads at work are joined: one at rest would go on with its goal.

    While a subagent works for an agent at rest that has no goal, that one is joined too: Codex would unload it else, a
    minute after its own part, and it would never learn how the subagent has ended (0.171).
    """
    path = observe.rollout_path(session) if session.private.get("thread") is not None else None
    seen = view.look(session, path) if path is not None else None
    if seen is None or (soon and not any(one.story.calls for one in (seen.own, *seen.working))):
        return None  # a call of the model that is open may be a question the next moment (0.169: some 20 ms later)
    try:
        connection = daemon.reach(paths.place_of(session), _SECONDS)
    except Silent as error:
        raise TimedOut(
            "the Codex app-server does not answer; a message, or an interrupt, replaces it if it is ours",
            next=f"dev-sessions interrupt {session.id}",
        ) from error
    if connection is None:
        return None
    try:
        joined = [one.id for one in (seen.own, *seen.working) if _joins(seen, one, connection)]
        if joined:
            return CodexListener(connection, joined)
    except (Refused, Lost, Silent):
        pass
    connection.close()
    return None


def _joins(seen: view.View, one: Thread, connection: Connection) -> bool:
    kind = thread.status_of(one.id, connection).kind
    waits = one.own and bool(seen.working) and not one.story.goal
    if kind != "active" and not (kind == "idle" and waits):
        return False
    connection.call("thread/resume", threadId=one.id, excludeTurns=True)
    return True


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
        # Whoever has joined an agent is asked by its subagents too, those to come included (0.139 and newer).
        ours = [one for one in notices if one.id is not None or one.params.get("threadId") in self._threads]
        moved = any(one.id is not None or one.method == "thread/status/changed" for one in ours)
        said = (complaint(one, thread) for one in ours for thread in self._threads)
        return Heard([words for words in said if words], moved)

    def close(self) -> None:
        self._connection.close()
