"""How a message gets into a thread: as a turn of its own, or into the turn that runs."""

from __future__ import annotations

import time

from ...errors import AgentExited, DeliveryFailed, DeliveryUnknown, WaitingForInput
from ...system.waiting import Watcher
from ..base import Wire
from . import observe, rollout, thread, view
from .connection import Lost, Silent
from .protocol import METHOD_MISSING, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Message
    from ..base import Delivery, Session
    from .connection import Connection

# Codex takes no more than 1,048,576 characters at once. What is longer goes by file.
_LIMIT = 1_000_000
_TICK = 0.25


def wire(text: str, path: str) -> Wire:
    """How `text` travels: as it is, or, if Codex would not take so much, as a line that points to the file `path`."""
    if len(text) <= _LIMIT:
        return Wire("rpc", text)
    return Wire(
        "file", f"[dev-sessions] Your message is in the file {path} - read all of it and act on it as if it stood here."
    )


def deliver(session: Session, delivery: Delivery) -> None:
    """Hand a message over; see `base.Backend.deliver`."""
    if delivery.message.attempted is not None and received(session, delivery.message):
        return
    _refuse_if_gone(session)
    try:
        with thread.connect(session, delivery.timeout) as connection:
            _deliver(session, delivery, connection)
    except (Lost, Silent) as error:
        if received(session, delivery.message):
            return
        raise _unconfirmed(session, delivery, str(error)) from error


def received(session: Session, message: Message) -> bool:
    """True if the thread's record holds the message, or the running turn has it and has not got to it yet."""
    path = observe.rollout_path(session)
    if path is None:
        return False
    if observe.is_steered(session, message.number):
        return True
    story = rollout.read(path, view.past(session).size)
    return observe.client_id(session, message.number) in view.clients(session, story)


def _refuse_if_gone(session: Session) -> None:
    """Raises AgentExited if there is no such thread any more."""
    if observe.rollout_path(session) is None:
        raise AgentExited(
            f"the thread of {session.id} was archived or deleted",
            next=f"dev-sessions revive {session.id} if it was archived, dev-sessions kill {session.id} to clean up",
        )


def _deliver(session: Session, delivery: Delivery, connection: Connection) -> None:
    message = delivery.message
    path = observe.rollout_path(session) or ""
    story = view.keep_past(session, path)
    running = story.open
    _refuse_if_asked(session, connection, story)
    if message.attempted is None:
        delivery.attempt()
    elif observe.client_id(session, message.number) in view.clients(session, story):
        return  # it has come meanwhile
    elif running is None and _runs_untold(session, connection):
        _await_receipt(session, delivery, path, story.size)
        return
    given = {
        "input": [{"type": "text", "text": message.wire}],
        "clientUserMessageId": observe.client_id(session, message.number),
    }
    if running and _steer(session, connection, running, given):
        observe.note_steered(session, message, running, view.clients(session, story))
        return
    try:
        taken = thread.call(session, connection, "turn/start", **given)["turn"]["id"]
    except Refused as error:
        raise DeliveryFailed(
            f"Codex does not take the message: {error.message}", next=f"dev-sessions status {session.id}"
        ) from error
    if taken == running:
        observe.note_steered(session, message, taken, view.clients(session, story))
        return
    _await_receipt(session, delivery, path, story.size)


def _refuse_if_asked(session: Session, connection: Connection, story: rollout.Story) -> None:
    """Raises WaitingForInput if the thread waits for a person's answer: what is said now would not be one."""
    if story.calls and thread.status(session, connection).waiting:
        question = observe.observe([session])[0].facts[-1].question
        raise WaitingForInput(
            f"{session.id} waits for an answer; nothing was sent." + (f" It asks: {question.text}" if question else ""),
            next=f"dev-sessions respond {session.id}, or dev-sessions interrupt {session.id}",
            session=session.id,
            question=question.to_json() if question else None,
        )


def _runs_untold(session: Session, connection: Connection) -> bool:
    """True if a turn runs that is not written down yet: that of an attempt before, which must not be made again."""
    if thread.status(session, connection).kind in ("", "notLoaded"):
        return False
    # Right after a turn has begun, only this tells of it.
    return thread.status(session, connection, "thread/resume", excludeTurns=True).kind == "active"


def _steer(session: Session, connection: Connection, turn: str, given: dict[str, Any]) -> bool:
    """Put the message into the running turn; False if that turn has ended meanwhile."""
    try:
        connection.call("turn/steer", threadId=session.private["thread"], expectedTurnId=turn, **given)
    except Refused as error:
        if error.says(METHOD_MISSING):
            raise DeliveryFailed(
                f"this Codex is too old to take a message while it works: {error.message}",
                next="npm install -g @openai/codex@latest",
            ) from error
        return False
    return True


def _await_receipt(session: Session, delivery: Delivery, path: str, begin: int) -> None:
    """Wait until the message stands in the record, behind the byte `begin`."""
    until = time.monotonic() + delivery.timeout
    wanted = observe.client_id(session, delivery.message.number)
    with Watcher() as watcher:
        watcher.watch_path(path)
        while wanted not in rollout.read(path, begin).clients():
            left = until - time.monotonic()
            if left <= 0:
                raise _unconfirmed(session, delivery, "Codex has not written it down")
            watcher.wait(min(_TICK, left))


def _unconfirmed(session: Session, delivery: Delivery, why: str) -> DeliveryUnknown:
    message = delivery.message
    return DeliveryUnknown(
        f"no receipt from {session.id} for message {message.number} within {delivery.timeout:g} s: {why}",
        next=f"dev-sessions status {session.id}; the same --request-id {message.request_id} again never delivers twice",
        session=session.id,
        turn=message.number,
        request_id=message.request_id,
    )
