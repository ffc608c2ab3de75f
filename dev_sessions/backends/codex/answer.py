"""Answering what a thread asks: a reply to the app-server's own request.

The first answer counts, and later ones are dropped without a word; so who was first is told by what became of the call
(0.139 and 0.169). A refusal has no words of its own: they are said to the running turn just before it, and the model
gets both together.
"""

from __future__ import annotations

import json
import re
import time

from ...errors import DeliveryUnknown, QuestionGone, TimedOut
from ...system.waiting import Watcher
from . import daemon, observe, paths, questions, rollout, thread, view
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Question
    from ..base import Answer, Session
    from .connection import Connection
    from .protocol import Notice
    from .questions import Request
    from .subagents import Thread

_TICK = 0.25
# Until a call that was refused has returned: mostly some 20 ms, and not before other calls of the same answer of the
# model. A person's refusal, which would show, is worth less patience than his consent to what we refuse. Seconds.
_LAG, _LONG_LAG = 0.5, 3.0
# What a refused call returns, and one whose turn was ended. (What an allowed command prints may hold the same words.)
_REFUSED = re.compile(r"(?:\w+ failed\b.*|patch )rejected by user", re.DOTALL)
_DECLINED = "declined"  # the server's word for it
_ABORTED = re.compile(r"(?:Wall time: \S+ seconds\n)?aborted by user")
# For the command word by word, and the files of the change; kept by the server alone, as long as it has the thread.
_DECISIONS = {"allow": "accept", "always": "acceptForSession", "deny": "decline"}


def respond(session: Session, question: Question, answer: Answer, timeout: float) -> None:
    """Answer a question; see `base.Responds.respond`."""
    try:
        connection = daemon.reach(paths.place_of(session))
    except Silent as error:
        raise TimedOut(
            f"the Codex app-server does not answer; nothing was sent to {session.id}",
            next=f"dev-sessions interrupt {session.id}",
        ) from error
    if connection is None:
        raise _gone(session, "its app-server has ended, and the turn with it")
    with connection:
        asker, request = _asked(session, question, connection)
        _send(session, connection, request, answer)
        if not _took(session, connection, asker, request, answer, timeout):
            raise QuestionGone(
                f"somebody else has answered {session.id} in the same moment, and was first"
                + ("; but it was told your reason" if answer.why else ""),
                next=f"dev-sessions wait {session.id}",
                session=session.id,
                question=question.id,
            )


def _asked(session: Session, question: Question, connection: Connection) -> tuple[Thread, Request]:
    """The thread that asks, and the request that the question was made of, if it is open still."""
    path = observe.rollout_path(session)
    try:
        for one in view.at_work(session, path) if path else ():
            if thread.status_of(one.id, connection).waiting:
                for request in questions.requests(connection, one.id):
                    if request.id == question.id:
                        return one, request
    except (Lost, Silent) as error:
        raise _gone(session, str(error)) from error
    raise _gone(session, "it was answered, or its turn has ended")


def _gone(session: Session, why: str) -> QuestionGone:
    return QuestionGone(
        f"the question of {session.id} cannot be answered any more: {why}; nothing was sent",
        next=f"dev-sessions wait {session.id}",
        session=session.id,
    )


def _send(session: Session, connection: Connection, request: Request, answer: Answer) -> None:
    try:
        if answer.why:
            _explain(session, connection, request, answer.why)
        connection.reply(request.number, _result(request, answer))
    except (Lost, Silent) as error:
        raise _unknown(session, str(error)) from error


def _explain(session: Session, connection: Connection, request: Request, why: str) -> None:
    said = [{"type": "text", "text": why}]
    asker, turn = request.params.get("threadId"), request.params.get("turnId")
    try:
        connection.call("turn/steer", threadId=asker, expectedTurnId=turn, input=said)
    except Refused as error:
        raise _gone(session, error.message) from error


def _result(request: Request, answer: Answer) -> dict[str, Any]:
    if request.method != questions.INPUT:
        return {"decision": _DECISIONS[answer.decision]}
    asked = [str(item.get("id")) for item in request.params.get("questions") or () if isinstance(item, dict)]
    given = dict(zip(asked, answer.answers, strict=False))  # none, of a refusal
    return {"answers": {id: {"answers": [*words]} for id, words in given.items()}}


def _took(
    session: Session, connection: Connection, asker: Thread, request: Request, answer: Answer, timeout: float
) -> bool:
    """Wait until the agent has gone on; True if it did so by our answer.

    Raises:
        DeliveryUnknown: it still waits, or does not tell.
    """
    until, resolved = time.monotonic() + timeout, 0.0
    by_script = all(call.id != request.call for call in rollout.read(asker.path, asker.begin).calls)
    with Watcher() as watcher:
        watcher.watch_path(asker.path)
        watcher.watch_descriptor(connection.descriptor)
        while (now := time.monotonic()) < until:
            said = _said(session, connection)
            if not resolved and any(_is_about(one, request) and one.method == questions.RESOLVED for one in said):
                resolved = now
            status = next((str(one.params["item"].get("status")) for one in said if _is_end_of(one, request)), None)
            if status is not None and by_script:
                return (status == _DECLINED) is (answer.decision == "deny")
            output = rollout.output(asker.path, request.call, asker.begin)
            if output is not None:
                return is_ours(output, request, answer)
            if resolved and now - resolved > (_LAG if answer.decision in ("allow", "always") else _LONG_LAG):
                return by_script or _goes_on(asker, answer)
            watcher.wait(_TICK)
    raise _unknown(session, f"nothing came of it within {timeout:g} s")


def _goes_on(asker: Thread, answer: Answer) -> bool:
    """True if a call that has not returned may have had that answer: a command that was allowed may run for long."""
    several = len(rollout.read(asker.path, asker.begin).calls) > 1
    return several or answer.decision in ("allow", "always")


def _said(session: Session, connection: Connection) -> list[Notice]:
    try:
        return connection.news()
    except (Lost, Silent) as error:
        raise _unknown(session, str(error)) from error


def _is_about(notice: Notice, request: Request) -> bool:
    return bool(notice.params.get("requestId") == request.number)


def _is_end_of(notice: Notice, request: Request) -> bool:
    """True if the server says that the call is over. It does not say so of a command in a script that was refused."""
    item = notice.params.get("item")
    return notice.method == "item/completed" and isinstance(item, dict) and item.get("id") == request.call


def _unknown(session: Session, why: str) -> DeliveryUnknown:
    return DeliveryUnknown(
        f"{session.id} was given the answer, and what became of it is not known: {why}",
        next=f"dev-sessions status {session.id}",
        session=session.id,
    )


def is_ours(output: str, request: Request, answer: Answer) -> bool:
    """True if what a call has returned is what comes of that answer to it."""
    if request.method == questions.INPUT:
        try:
            return bool(json.loads(output) == _result(request, answer))
        except ValueError:
            return False
    return (answer.decision == "deny") == bool(_REFUSED.match(output)) and not _ABORTED.match(output)
