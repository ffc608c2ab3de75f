"""Delivers a message to a thread: as its own turn, or into the running turn."""

from __future__ import annotations

import time

from ...errors import AgentExited, DeliveryFailed, DeliveryUnknown, WaitingForInput
from ...system.waiting import Watcher
from ..base import Wire
from . import observe, paths, rollout, thread, view
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...model import Message
    from ..base import Delivery, Session
    from .connection import Connection

# Codex accepts at most 1,048,576 characters at once. A longer message is sent as a file.
_LIMIT = 1_000_000
_TICK = 0.25


def wire(text: str, path: str) -> Wire:
    """The form in which the agent gets `text`: the text itself, or, if too long for Codex, a line that names `path`."""
    if len(text) <= _LIMIT:
        return Wire("rpc", text)
    return Wire(
        "file", f"[dev-sessions] Your message is in the file {path} - read all of it and act on it as if it stood here."
    )


def deliver(session: Session, delivery: Delivery) -> None:
    """Deliver a message; see `base.Backend.deliver`."""
    if delivery.message.attempted is not None and received(session, delivery.message):
        return
    path = paths.rollout_path(session)
    if path is None:
        raise AgentExited(
            f"the thread of {session.id} was archived or deleted",
            next=f"dev-sessions revive {session.id} if it was archived, dev-sessions kill {session.id} to clean up",
        )
    try:
        with thread.connect(session, delivery.timeout) as connection:
            _deliver(session, delivery, connection, path)
    except (Lost, Silent) as error:
        if not received(session, delivery.message):
            raise _unconfirmed(session, delivery, str(error)) from error


def received(session: Session, message: Message) -> bool:
    """True if the message is in the thread's rollout, or waits in the running turn."""
    path = paths.rollout_path(session)
    if path is None:
        return False
    if observe.is_steered(session, message.number):
        return True
    story = rollout.read(path, view.past(session).size)
    return view.client_id(session, message.number) in view.clients(session, story)


def _deliver(session: Session, delivery: Delivery, connection: Connection, path: str) -> None:
    message, id = delivery.message, session.private["thread"]
    story = view.keep_past(session, path)
    running, known = story.open, view.clients(session, story)
    client = view.client_id(session, message.number)
    if story.calls and thread.status(id, connection).waiting:
        # A message would not count as the answer.
        question = observe.observe([session])[0].facts[-1].question
        raise WaitingForInput(
            f"{session.id} is waiting for an answer; nothing was sent."
            + (f" It asks: {question.text}" if question else ""),
            next=f"dev-sessions respond {session.id}, or dev-sessions interrupt {session.id}",
            session=session.id,
            question=question.to_json() if question else None,
        )
    if message.attempted is None:
        delivery.attempt()
    elif client in known:
        return  # it has already arrived
    elif running is None and _runs_unwritten(id, connection):
        _await_receipt(session, delivery, path, story.size)
        return
    given = {"input": [{"type": "text", "text": message.wire}], "clientUserMessageId": client}
    turn = None
    if running:
        try:
            connection.call("turn/steer", threadId=id, expectedTurnId=running, **given)
            turn = running
        except Refused:
            pass  # that turn has just ended
    if turn is None:
        try:
            turn = thread.call(session, connection, "turn/start", **given)["turn"]["id"]
        except Refused as error:
            raise DeliveryFailed(
                f"Codex rejects the message: {error.message}", next=f"dev-sessions status {session.id}"
            ) from error
    if running and turn == running:
        observe.note_steered(session, message, running, known)
    else:
        _await_receipt(session, delivery, path, story.size)


def _runs_unwritten(id: str, connection: Connection) -> bool:
    """True if a running turn is not in the rollout yet: an earlier attempt has begun it, and must not be repeated."""
    if thread.status(id, connection).kind in ("", "notLoaded"):
        return False
    # Right after a turn has begun, only the answer to this call shows it.
    return thread.status(id, connection, "thread/resume", excludeTurns=True).kind == "active"


def _await_receipt(session: Session, delivery: Delivery, path: str, begin: int) -> None:
    """Wait until the message is in the rollout, after the byte `begin`."""
    until = time.monotonic() + delivery.timeout
    wanted = view.client_id(session, delivery.message.number)
    with Watcher() as watcher:
        watcher.watch_path(path)
        while wanted not in rollout.read(path, begin).clients():
            left = until - time.monotonic()
            if left <= 0:
                raise _unconfirmed(session, delivery, "it is not in Codex's log")
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
