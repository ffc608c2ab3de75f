"""What the system and the app-server say of threads at the moment of one read. Nothing is started, nothing loaded."""

from __future__ import annotations

import time

from . import paths, thread_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..base import Session
    from .connection import Connection
    from .protocol import Status
    from .questions import Request
    from .subagents import Thread

# A server that hangs must not hang our readers. Seconds.
_ASK_SECONDS = 2.0
# A server may call a thread idle for some 50 ms after its turn has begun. Seconds.
_SETTLED = 1.0
# How often a server is asked again about a subagent that was just joined. Mostly the second answer tells (5 ms each).
_GLANCES = 6


class Look:
    """One read. It has one connection to each server, made when it is needed first. Use as a context manager."""

    def __init__(self) -> None:
        self._open: dict[str, Connection | None] = {}

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open.values():
            if connection is not None:
                connection.close()

    def holder(self, session: Session, thread: Thread) -> int | None:
        """Who has a thread in hand, see `holders`; most probably the server that we know."""
        daemon = paths.place_of(session).daemon()
        return thread_lock.holder(session.private["home"], thread.id, thread.path, daemon[0] if daemon else None)

    def runner(self, session: Session, thread: Thread) -> int | None:
        """Who runs the open turn of a thread; None if nobody does, or none is open."""
        if thread.story.open is None:
            return None
        now = time.time()
        holder = self.holder(session, thread)
        if holder == thread_lock.UNTOLD and now - thread.story.events[-1].at > _SETTLED:
            status = self.status(session, thread.id, holder)
            return holder if status is not None and status.kind == "active" else None
        return holder if holder is None or self._may_run(session, thread, holder, now) else None

    def _may_run(self, session: Session, thread: Thread, holder: int, now: float) -> bool:
        """False if whoever holds the thread was born after its turn had begun: the one who ran it is dead."""
        if holder <= 0:
            return True
        began = next(event.at for event in reversed(thread.story.events) if event.kind == "began")
        born = thread_lock.born(holder, now)
        if born is not None and born <= began:
            return True
        # The clock may have been set meanwhile, so it is asked, if it can be.
        status = self.status(session, thread.id, holder)
        return born is None if status is None else status.kind in ("active", "")

    def status(self, session: Session, thread: str, holder: int) -> Status | None:
        """What a thread does, if the server that holds it can be asked."""
        from .protocol import status

        answer = self._ask(session, thread, holder, "thread/read")
        return None if answer is None else status(answer.get("thread", {}).get("status"))

    def waits(self, session: Session, thread: Thread) -> bool:
        """True if a thread that has an open call waits for a person's answer; that, only its server can tell.

        And of a subagent the server itself does not know, as long as nobody has joined it (0.139, 0.169, 0.171). So it
        is joined, which it does not notice, and which counts from then on; what it has asked is known a moment later.
        """
        holder = self.runner(session, thread) if thread.story.calls else None
        status = None if holder is None else self.status(session, thread.id, holder)
        if status is None or holder is None or status.waiting or status.kind != "active" or thread.own:
            return status is not None and status.waiting
        self._ask(session, thread.id, holder, "thread/resume", excludeTurns=True)
        seen = (self.status(session, thread.id, holder) for _ in range(_GLANCES))
        return any(one is not None and one.waiting for one in seen)

    def requests(self, session: Session, thread: str) -> list[Request]:
        """What a thread asks, which has just said that it waits."""
        from . import questions
        from .connection import Lost, Silent

        connection = self._open.get(paths.place_of(session).socket)
        try:
            return questions.requests(connection, thread) if connection else []
        except (Lost, Silent):
            return []

    def runs_commands(self, session: Session, thread: Thread) -> bool:
        """True if a thread is at hand, and nobody denies that commands of its turns go on."""
        holder = self.holder(session, thread)
        if holder is None:
            return False  # they end with the thread's unloading
        answer = self._ask(session, thread.id, holder, "thread/backgroundTerminals/list")
        return answer is None or bool(answer.get("data"))

    def pursues(self, session: Session, thread: Thread) -> bool:
        """True if a thread is at hand, and has a goal that is active."""
        holder = self.holder(session, thread)
        if holder is None:
            return False
        answer = self._ask(session, thread.id, holder, "thread/goal/get")
        return bool(answer and answer.get("goal") and answer["goal"].get("status") == "active")

    def _ask(self, session: Session, thread: str, holder: int, method: str, **params: Any) -> dict[str, Any] | None:
        from . import daemon
        from .connection import Lost, Silent
        from .protocol import Refused

        place = paths.place_of(session)
        try:
            if place.socket not in self._open:
                self._open[place.socket] = None
                self._open[place.socket] = daemon.reach(place, _ASK_SECONDS)
            connection = self._open[place.socket]
            if connection is None or (holder > 0 and holder != connection.peer[0]):
                return None
            return dict(connection.call(method, _ASK_SECONDS, threadId=thread, **params))
        except (Refused, Lost, Silent):
            return None
