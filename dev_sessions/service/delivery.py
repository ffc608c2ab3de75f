"""Records a message under its request id, delivers it to the agent and notes the receipt."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from ..backends import detached
from ..backends.base import Delivery
from ..errors import DeliveryFailed, DevSessionsError, StoreError, WaitingForInput
from ..model import IDLE, QUEUED, WORKING
from ..state import compaction
from ..system import files, processes
from . import guards
from .interruption import end_turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..model import Message, State
    from .context import Session


def submit(
    session: Session, text: str, request_id: str, queue: bool = False, interrupt: bool = False
) -> dict[str, Any]:
    """Deliver a text, or queue it if `queue` and a turn is open; returns the receipt.

    A repeated request returns the first receipt and delivers nothing twice.
    """
    with session.locked():
        known = session.folder.find_request(request_id)
        if known is not None and (message := session.folder.message(known[0])) is not None:
            return _repeated(session, message)
        state = session.state()
        if interrupt:
            state = end_turn(session, state)
        guards.refuse_exited(session, state)
        later = queue and (state.status != IDLE or any(turn.open for turn in state.turns))
        if not later:
            guards.refuse_unless_ready(session, state)
        message = _record(session, known[0] if known else None, text, request_id, queue)
        if later:
            start_courier(session)
            return receipt(session, message, QUEUED)
        return receipt(session, message, hand_over(session, message, state))


def hand_over(session: Session, message: Message, state: State) -> str:
    """Deliver a recorded message and note the outcome; returns "started" or "accepted".

    The caller holds the session's lock. If the delivery fails, a message that cannot have reached the agent is
    withdrawn, and one that may have reached it is marked as unconfirmed, so that no `wait` depends on it. A queued
    message that the agent refused stays queued, and the courier tries again.
    """
    attempted = message.attempted is not None

    def attempt() -> None:
        nonlocal attempted
        session.folder.note(message.number, "attempt", {"at": time.time(), "by": processes.ourselves()})
        attempted = True

    context = session.context
    try:
        session.backend.deliver(session, Delivery(message, context.settings.receipt_timeout, attempt, context.say))
    except BaseException as error:
        refused = isinstance(error, (DeliveryFailed, WaitingForInput))
        if not message.queued or (attempted and not refused):
            # If this cannot be noted (a full disk), readers conclude it once this process has ended.
            with suppress(OSError, StoreError):
                session.folder.note(message.number, "unconfirmed" if attempted else "withdrawn", {"at": time.time()})
        raise
    at_rest = state.status != WORKING or state.delegated or state.paused_until is not None
    word = "started" if at_rest else "accepted"
    session.folder.note(message.number, "receipt", {"receipt": word, "at": time.time()})
    compact(session)
    return word


def compact(session: Session) -> bool:
    """Compact old turns; False if there are too few. The caller holds the session's lock.

    A failure is only noted, since nothing depends on compaction.
    """
    if not compaction.is_due(session.folder):
        return False
    try:
        messages, stamp, seen = session.folder.messages(), session.folder.past.stamp(), session.observe()
        return compaction.compact(session.folder, messages, seen.facts, seen.probe, compacted=bool(stamp))
    except (DevSessionsError, OSError) as error:
        session.context.say(f"could not compact old turns of {session.id}: {error}")
        return False


def receipt(session: Session, message: Message, word: str) -> dict[str, Any]:
    """The result of `send`; `word` is "started", "accepted" or "queued"."""
    return {
        "session": session.id,
        "turn": message.number,
        "receipt": word,
        "via": message.via,
        "request_id": message.request_id,
    }


def start_courier(session: Session) -> None:
    """Start a courier (see `courier`) for the session, unless one is running. Returns at once."""
    if session.folder.courier():
        return
    settings = session.context.settings
    # Without the mark of the session that this command runs in: `kill` of that session must not end the courier.
    environ = {name: value for name, value in settings.environ.items() if name != processes.KEY}
    environ["DEV_SESSIONS_HOME"] = settings.home
    log = os.path.join(session.folder.path, "courier.log")
    if not os.path.exists(log):
        files.write_whole(log, b"")
    # -P: Python files in the caller's folder must not be imported.
    argv = [sys.executable, "-P", "-m", "dev_sessions", "courier", session.id]
    session.folder.set_courier(detached.start(argv, environ, log))


def _record(session: Session, number: int | None, text: str, request_id: str, queued: bool) -> Message:
    """Record the message before any of it reaches the agent; a withdrawn one keeps its number."""
    folder = session.folder
    write = folder.claim_message if number is None else folder.reclaim_message
    number = folder.next_number() if number is None else number
    wire = session.backend.wire(text, folder.text_path(number))
    claim = {
        "request_id": request_id,
        "created": time.time(),
        "via": wire.via,
        "wire": wire.text,
        "queued": queued,
        "sender": session.context.settings.parent,
        "by": processes.ourselves(),
    }
    write(number, text, claim)
    message = folder.message(number)
    assert message is not None  # written just now, under the lock
    return message


def _repeated(session: Session, message: Message) -> dict[str, Any]:
    """The receipt of a repeated request."""
    if message.receipt is not None:
        return receipt(session, message, message.receipt)
    if message.queued and message.attempted is None:
        start_courier(session)
        return receipt(session, message, QUEUED)
    state = session.state()
    if session.backend.received(session, message):
        session.folder.note(message.number, "receipt", {"receipt": "started", "at": time.time()})
        return receipt(session, message, "started")
    guards.refuse_unless_ready(session, state)
    if message.attempted is not None and any(at >= message.attempted for at in session.folder.revivals()):
        raise DeliveryFailed(
            f"the agent of {session.id} was restarted before it took message {message.number}",
            next=f"dev-sessions send {session.id} with another --request-id",
        )
    return receipt(session, message, hand_over(session, message, state))
