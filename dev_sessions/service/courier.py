"""The courier: a detached process that delivers a session's queued messages, one turn each, and then ends.

It runs only while messages are queued. If it is killed, nothing is lost: the messages stay queued, `status` says so,
and the next `send --queue` or `wait` starts another.
"""

from __future__ import annotations

import os

from ..errors import DeliveryFailed, WaitingForInput
from ..model import EXITED, IDLE
from ..system.waiting import Watcher
from .delivery import hand_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context, Session

# How often to check if no event comes. Seconds.
_TICK = 1.0
# How long a new courier waits for the previous one to end. Seconds.
_HAND_OVER = 5.0


def run(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Deliver the queued messages of the session `id`; returns when none is left, or another courier is at work."""
    session = context.session(params["id"])
    os.chdir("/")  # the caller's folder may be removed long before we are done
    delivered = 0
    with context.store.lock(os.path.join(session.folder.path, "courier.lock"), timeout=_HAND_OVER):
        session.folder.set_courier(os.getpid())
        while True:
            if _deliver_next(session):
                delivered += 1
            elif _sign_off(session):
                break
    return {"session": session.id, "delivered": delivered}


def _sign_off(session: Session) -> bool:
    """Remove this courier's pid from the folder; False if another message has been queued.

    It holds the lock, so no sender queues a message for a courier that is about to end.
    """
    if not os.path.isdir(session.folder.path):
        return True
    with session.context.store.lock(session.folder.lock_path):
        state = session.state()
        if state.queued and state.status != EXITED:
            return False
        session.folder.set_courier(None)
        return True


def _deliver_next(session: Session) -> bool:
    """Deliver one queued message as soon as the agent is idle; False if none is left or the agent has exited."""
    with Watcher() as watcher:
        while True:
            watcher.watch(*session.sources())
            if session.id not in session.context.store.load():
                return False
            state = session.state()
            if not state.queued or state.status == EXITED:
                return False
            if state.status == IDLE and not state.running:
                delivered = _deliver_if_idle(session)
                if delivered is not None:
                    return delivered
            watcher.wait(_TICK)


def _deliver_if_idle(session: Session) -> bool | None:
    """Deliver the next message if the agent is still idle; None to try again later, False if none is left."""
    with session.context.store.lock(session.folder.lock_path):
        state = session.state()
        queued = state.queued
        if not queued:
            return False
        if state.status != IDLE or state.running:
            return None
        message = session.folder.message(queued[0])
        if message is None:
            return False
        try:
            hand_over(session, message, state)
        except (DeliveryFailed, WaitingForInput) as error:
            session.context.say(error.message)
            return None
        return True
