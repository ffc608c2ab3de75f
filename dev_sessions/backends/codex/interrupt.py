"""Ends the turns of an agent and its subagents, and the commands that they have left running.

`turn/interrupt` ends the turn of one thread, but not those of its subagents (0.146, 0.171).
"""

from __future__ import annotations

import time

from ...errors import TimedOut
from ...system.waiting import Watcher
from . import goals, paths, stop, subagents, thread, view
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session
    from .connection import Connection
    from .subagents import Thread

_TICK = 0.25


def interrupt(session: Session, timeout: float) -> None:
    """End the running turn; see `base.Interrupts.interrupt`."""
    path = paths.rollout_path(session)
    before = view.read(session, path) if path else None
    if before is None or not (before.open or before.working or before.own.story.goal):
        return
    with thread.connect(session, timeout) as connection:
        goals.pause(session, connection)
        if before.own.story.open or before.own.story.goal:
            _end(session, connection, before.own)
        _await_end(session, connection, before.own, timeout)
        threads = [before.own.id, *(agent.id for agent in before.working)]
        if before.open:
            stop.end_commands_of_turn(session, connection, threads, before.began)


def _await_end(session: Session, connection: Connection, own: Thread, timeout: float) -> None:
    """End the subagents too, and wait until nothing is working any more, except a turn that began later.

    Args:
        own: the session's thread as it was before.

    Raises:
        TimedOut: something is still working.
    """
    until = time.monotonic() + timeout
    asked: set[str | None] = set()
    with Watcher() as watcher:
        watcher.watch_path(own.path)
        while True:
            working = view.working(session, own.path)
            following = next((one.story.open for one in working if one.own), None)
            if not working or (following is not None and own.story.open not in (None, following)):
                return
            for agent in working:
                if not agent.own and agent.story.open not in asked:
                    watcher.watch_path(agent.path)
                    asked.add(agent.story.open)
                    _end(session, connection, agent)
            left = until - time.monotonic()
            if left <= 0:
                break
            watcher.wait(min(_TICK, left))
    names = [one.task or one.type or one.id for one in map(subagents.subagent, working) if one is not None]
    what = [f"the turn of {session.id}"] if any(one.own for one in working) else []
    what += [f"the subagent {name} of {session.id}" for name in names]
    raise TimedOut(
        f"Codex has not ended {', '.join(what)} yet",
        next=f"dev-sessions interrupt {session.id} again, or dev-sessions kill {session.id}",
    )


def _end(session: Session, connection: Connection, one: Thread) -> None:
    try:
        if one.own:
            thread.call(session, connection, "turn/interrupt", turnId="")
        else:
            connection.call("turn/interrupt", threadId=one.id, turnId="")
    except Refused:
        pass  # no turn is running; the rollout will show that
