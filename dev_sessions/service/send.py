"""Talking to a session: `send`, `interrupt`, and what they share with the courier."""

from __future__ import annotations

import time
from contextlib import suppress

from ..backends.base import Delivery, Interrupts
from ..errors import (
    AgentExited,
    DeliveryFailed,
    SessionNotFound,
    StoreError,
    TimedOut,
    Unsupported,
    UsageError,
    WaitingForInput,
)
from ..model import EXITED, IDLE, INTERRUPTED, QUEUED, WAITING, WORKING, ways
from ..system import processes
from ..system.waiting import Watcher
from .compaction import compact
from .outcomes import of_interrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..backends.base import Session
    from ..model import Message, Question, State
    from .context import Context

MAX_BYTES = 5 * 1024 * 1024
_INTERRUPT_SECONDS = 15.0
# Between two attempts to end a turn where no event came. Seconds.
_TICK = 0.5


def send(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Give the session `id` the message `text`: {"session", "turn", "receipt", "via", "request_id"}.

    `queue` keeps it for a turn of its own, `interrupt` ends the running turn first. Without a text, `queue` sees to it
    that what is queued already gets delivered.
    """
    session = context.session(params["id"])
    if params.get("text") is None and params.get("queue"):
        return _deliver_queued(context, session)
    text = checked_text(params.get("text"))
    with context.store.lock(session.folder.lock_path):
        still_there(context, session)
        known = session.folder.find_request(request_id)
        if known is not None and (message := session.folder.message(known[0])) is not None:
            return _again(context, session, message)
        state = context.state(session)
        if params.get("interrupt"):
            state = _interrupted(context, session, state)
        refuse_unless_there(session, state)
        queue = bool(params.get("queue")) and (state.status != IDLE or any(turn.open for turn in state.turns))
        if not queue:
            refuse_unless_ready(session, state)
        message = _claim(context, session, known, text, request_id, queued=bool(params.get("queue")))
        if queue:
            start_courier(context, session)
            return _receipt(session, message, QUEUED)
        return _receipt(session, message, hand_over(context, session, message, state))


def interrupt(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """End the running turn of the session `id`: {"session", "interrupted": [turns], "status", "was", "outcome"}.

    `outcome` is what became of whatever ran; None if nothing did. A repeated request returns the first result and
    interrupts no later turn.

    Raises:
        TimedOut: it goes on.
    """
    session = context.session(params["id"])
    _interrupting(context, session)
    with context.store.lock(session.folder.lock_path):
        still_there(context, session)
        known = session.folder.answers.get("interrupt", request_id)
        if known is not None:
            return known
        before = context.state(session)
        after = _interrupted(context, session, before)
        running = {turn.number for turn in before.turns if turn.open and turn.state != QUEUED}
        result = {
            "session": session.id,
            "interrupted": [t.number for t in after.turns if t.number in running and t.state == INTERRUPTED],
            "status": after.status,
            "was": before.status,
            "outcome": of_interrupt(before, after),
        }
        session.folder.answers.keep(result, "interrupt", request_id)
    return result


def hand_over(context: Context, session: Session, message: Message, state: State) -> str:
    """Deliver a claimed message and note what became of it; returns "started" or "accepted".

    The caller holds the session's lock. If the delivery ends in an error of any kind, a message that cannot have
    reached the agent is withdrawn, and one that may have is unconfirmed: its turn is not waited for any longer. A
    queued one that the agent refused stays queued, and the courier tries again.
    """
    attempted = [message.attempted is not None]

    def attempt() -> None:
        session.folder.note(message.number, "attempt", {"at": time.time(), "by": processes.ourselves()})
        attempted[0] = True

    delivery = Delivery(message, context.settings.receipt_timeout, attempt, context.say)
    try:
        context.backend(session).deliver(session, delivery)
    except BaseException as error:
        refused = isinstance(error, (DeliveryFailed, WaitingForInput))
        if not message.queued or (attempted[0] and not refused):
            # What cannot be noted any more (a full disk) is concluded from the end of this process.
            with suppress(OSError, StoreError):
                session.folder.note(message.number, "unconfirmed" if attempted[0] else "withdrawn", {"at": time.time()})
        raise
    rests = state.status != WORKING or state.delegated or state.paused_until is not None
    receipt = "started" if rests else "accepted"
    session.folder.note(message.number, "receipt", {"receipt": receipt, "at": time.time()})
    compact(context, session)
    return receipt


def refuse_unless_there(session: Session, state: State) -> None:
    """Raises:
    AgentExited: the agent is gone.
    """
    if state.status == EXITED:
        raise AgentExited(
            f"the agent of {session.id} is gone ({state.error})",
            next=_after_the_end(session),
        )


def _after_the_end(session: Session) -> str:
    if "revive" in session.record.get("capabilities", ()):
        return f"dev-sessions revive {session.id} to start it again, dev-sessions last-message {session.id} to read it"
    return f"dev-sessions last-message {session.id} for what it said, dev-sessions kill {session.id} to clean up"


def refuse_unless_ready(session: Session, state: State) -> None:
    """Raises:
    AgentExited: the agent is gone. WaitingForInput: it waits for an answer, which a message would be taken for.
    """
    refuse_unless_there(session, state)
    if state.status == WAITING:
        question = state.question
        asked = f" It asks: {question.text}" if question else ""
        raise WaitingForInput(
            f"{session.id} waits for an answer; nothing was sent.{asked}",
            next=f"{_ways(session, question)}, or dev-sessions attach {session.id}",
            session=session.id,
            question=question.to_json() if question else None,
        )


def _ways(session: Session, question: Question | None) -> str:
    return ways(session.id, question.to_json()) if question else f"dev-sessions status {session.id}"


def checked_text(text: str | None) -> str:
    """A message's text, if it is one. `operations` has refused what is not UTF-8.

    Raises:
        UsageError: it is empty or too large.
    """
    if text is None or not text.strip():
        raise UsageError("the message is empty", next="dev-sessions send ID 'MESSAGE', or --file FILE")
    if len(text.encode()) > MAX_BYTES:
        raise UsageError("the message is larger than 5 MB", next="put it into a file and send its path")
    return text


def still_there(context: Context, session: Session) -> None:
    """The session may have been killed while we waited for its lock.

    Raises:
        SessionNotFound: it was.
    """
    record = context.store.load().get(session.id)
    if record is None or record["key"] != session.record["key"]:
        raise SessionNotFound(f"{session.id} was killed meanwhile", next="dev-sessions list")


def _claim(
    context: Context,
    session: Session,
    known: tuple[int, dict[str, Any]] | None,
    text: str,
    request_id: str,
    queued: bool,
) -> Message:
    folder = session.folder
    number = known[0] if known else folder.next_number()
    wire = context.backend(session).wire(text, folder.text_path(number))
    claim = {
        "request_id": request_id,
        "created": time.time(),
        "via": wire.via,
        "wire": wire.text,
        "queued": queued,
        "sender": context.settings.parent,
        "by": processes.ourselves(),
    }
    if known:
        folder.reclaim_message(number, text, claim)
    else:
        folder.claim_message(number, text, claim)
    message = folder.message(number)
    assert message is not None  # written just now, under the lock
    return message


def _again(context: Context, session: Session, message: Message) -> dict[str, Any]:
    """The answer to a request id that was seen before: never a second delivery."""
    if message.receipt is not None:
        return _receipt(session, message, message.receipt)
    if message.queued and message.attempted is None:
        start_courier(context, session)
        return _receipt(session, message, QUEUED)
    state = context.state(session)
    if context.backend(session).received(session, message):
        session.folder.note(message.number, "receipt", {"receipt": "started", "at": time.time()})
        return _receipt(session, message, "started")
    refuse_unless_ready(session, state)
    if message.attempted is not None and any(at >= message.attempted for at in session.folder.revivals()):
        raise DeliveryFailed(
            f"the agent of {session.id} ended before it took message {message.number}, and was started again",
            next=f"dev-sessions send {session.id} with another --request-id",
        )
    return _receipt(session, message, hand_over(context, session, message, state))


def _interrupted(context: Context, session: Session, before: State) -> State:
    """The state once what ran has ended, which was asked of the agent as often as was needed.

    Raises:
        TimedOut: it goes on.
    """
    backend = _interrupting(context, session)
    if before.status in (IDLE, EXITED):
        return before
    until = time.monotonic() + _INTERRUPT_SECONDS
    with Watcher() as watcher:
        while (left := until - time.monotonic()) > 0:
            watcher.watch(*context.backend(session).sources(session))
            backend.interrupt(session, left)
            after = context.state(session)
            if of_interrupt(before, after) is not None:
                return after
            watcher.wait(min(_TICK, left))
    raise TimedOut(
        f"the turn of {session.id} goes on: it was asked to end, and has not within {_INTERRUPT_SECONDS:g} s",
        next=f"dev-sessions interrupt {session.id} again, or dev-sessions kill {session.id}",
    )


def _interrupting(context: Context, session: Session) -> Interrupts:
    backend = context.backend(session)
    if not isinstance(backend, Interrupts):
        raise Unsupported(
            f"{session.record['cli']} cannot be interrupted",
            next=f"dev-sessions wait {session.id}, or dev-sessions kill {session.id}",
            capability="interrupt",
        )
    return backend


def _deliver_queued(context: Context, session: Session) -> dict[str, Any]:
    state = context.state(session)
    queued = [turn.number for turn in state.turns if turn.state == QUEUED]
    if not queued:
        raise UsageError(
            f"nothing is queued for {session.id}", next=f"dev-sessions send {session.id} 'MESSAGE' --queue"
        )
    if state.status == EXITED:
        refuse_unless_ready(session, state)
    start_courier(context, session)
    message = session.folder.message(queued[-1])
    assert message is not None
    return _receipt(session, message, QUEUED)


def start_courier(context: Context, session: Session) -> None:
    """Have somebody deliver what is queued."""
    from .courier import start

    start(context, session)


def _receipt(session: Session, message: Message, receipt: str) -> dict[str, Any]:
    return {
        "session": session.id,
        "turn": message.number,
        "receipt": receipt,
        "via": message.via,
        "request_id": message.request_id,
    }
