"""The courier: a detached process that delivers a session's queued messages, one turn each, and then ends.

It lives only while messages are queued. Killed, it loses nothing: the messages stay queued, `status` says so, and the
next `send --queue` or `wait` starts another.
"""

from __future__ import annotations

import os
import sys

from ..errors import DeliveryFailed, WaitingForInput
from ..model import EXITED, IDLE, QUEUED
from ..system import files, processes
from ..system.waiting import Watcher
from .send import hand_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..backends.base import Session
    from ..model import State
    from .context import Context

# Between two looks where no event came; a queue waits on events. Seconds.
_TICK = 1.0
# A courier that comes while another one leaves waits for it. Seconds.
_HAND_OVER = 5.0


def start(context: Context, session: Session) -> None:
    """Have a courier for the session, unless one is running. Returns at once."""
    if session.folder.courier():
        return
    # Not marked as a process of the agent that happens to call us: `kill` of that agent must not end it.
    environ = {name: value for name, value in context.settings.environ.items() if name != processes.KEY}
    environ["DEV_SESSIONS_HOME"] = context.settings.home
    log = os.path.join(session.folder.path, "courier.log")
    if not os.path.exists(log):
        files.write_whole(log, b"")
    pid = os.posix_spawn(
        sys.executable,
        # -P: whatever Python files lie in the caller's folder are none of ours.
        [sys.executable, "-P", "-m", "dev_sessions", "courier", session.id],
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    session.folder.set_courier(pid)


def run(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Deliver what is queued for the session `id`; returns when nothing is, or another courier does it."""
    session = context.session(params["id"])
    os.chdir("/")  # the folder that the caller stood in may be removed long before we are done
    delivered = 0
    with context.store.lock(os.path.join(session.folder.path, "courier.lock"), timeout=_HAND_OVER):
        session.folder.set_courier(os.getpid())
        while True:
            if _deliver_next(context, session):
                delivered += 1
            elif _resign(context, session):
                break
    return {"session": session.id, "delivered": delivered}


def _resign(context: Context, session: Session) -> bool:
    """Leave, unless something was queued meanwhile: under the lock, so that nobody relies on a courier that goes."""
    if not os.path.isdir(session.folder.path):
        return True
    with context.store.lock(session.folder.lock_path):
        state = context.state(session)
        if _queued(state) and state.status != EXITED:
            return False
        session.folder.set_courier(None)
        return True


def _deliver_next(context: Context, session: Session) -> bool:
    """Deliver one queued message as soon as the agent is at rest; False if none is left or the agent is gone."""
    with Watcher() as watcher:
        while True:
            watcher.watch(*context.backend(session).sources(session))
            if session.id not in context.store.load():
                return False
            state = context.state(session)
            if not _queued(state) or state.status == EXITED:
                return False
            if state.status == IDLE and not _busy(state):
                delivered = _try(context, session)
                if delivered is not None:
                    return delivered
            watcher.wait(_TICK)


def _try(context: Context, session: Session) -> bool | None:
    """Deliver the next message under the lock, if that still is possible; None to look again later."""
    with context.store.lock(session.folder.lock_path):
        state = context.state(session)
        queued = _queued(state)
        if not queued:
            return False
        if state.status != IDLE or _busy(state):
            return None
        message = session.folder.message(queued[0])
        if message is None:
            return False
        try:
            hand_over(context, session, message, state)
        except (DeliveryFailed, WaitingForInput) as error:
            context.say(error.message)
            return None
        return True


def _queued(state: State) -> list[int]:
    return [turn.number for turn in state.turns if turn.state == QUEUED]


def _busy(state: State) -> bool:
    return any(turn.open and turn.state != QUEUED for turn in state.turns)
