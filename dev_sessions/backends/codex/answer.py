"""Answers a question of a thread, by replying to the app-server's own request.

The first answer counts, and the server drops later ones silently; so only the result of the call shows whose answer was
first (0.146 and 0.171). A refusal cannot carry a reason: that is sent to the running turn just before it, and the model
gets both together.
"""

from __future__ import annotations

import json
import re
import time

from ...errors import DeliveryUnknown, QuestionGone, TimedOut
from ...system.waiting import Watcher
from . import daemon, paths, questions, rollout, thread, view
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Question
    from ..base import Answer, Session
    from .connection import Connection
    from .questions import Request
    from .subagents import Thread

_TICK = 0.25
# Until a call that a person has refused has returned: mostly some 20 ms, but not before other calls of the same answer
# of the model. After a refusal of ours the wait is longer: a person's consent, which counts more, should show. Seconds.
_LAG, _LONG_LAG = 0.5, 3.0
# The output of a refused call, and of one whose turn was ended. (An allowed command may print the same words.)
_REFUSED = re.compile(r"(?:\w+ failed\b.*|patch )rejected by user", re.DOTALL)
_DECLINED = "declined"  # the server's word for it
_ABORTED = re.compile(r"(?:Wall time: \S+ seconds\n)?aborted by user")
# "always" is for the same command word by word, or the files of the change; the server keeps it with the loaded thread.
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
        raise _gone(session, "its app-server has ended, and so has the turn")
    with connection:
        try:
            asker, request = _find(session, question, connection)
        except (Lost, Silent) as error:
            raise _gone(session, str(error)) from error
        try:
            if answer.why:
                text, turn = [{"type": "text", "text": answer.why}], request.params.get("turnId")
                connection.call("turn/steer", threadId=asker.id, expectedTurnId=turn, input=text)
            connection.reply(request.number, _result(request, answer))
            ours = _took(connection, asker, request, answer, timeout)
        except Refused as error:
            raise _gone(session, error.message) from error
        except (Lost, Silent) as error:
            raise _unknown(session, str(error)) from error
    if ours is None:
        raise _unknown(session, f"it has not gone on within {timeout:g} s")
    if not ours:
        raise QuestionGone(
            f"somebody else answered {session.id} at the same time, and was first"
            + ("; but the agent got your reason" if answer.why else ""),
            next=f"dev-sessions wait {session.id}",
            session=session.id,
            question=question.id,
        )


def _find(session: Session, question: Question, connection: Connection) -> tuple[Thread, Request]:
    """The thread that asks, and the server's request for this question, if it is still open."""
    path = paths.rollout_path(session)
    for one in view.working(session, path) if path else ():
        if thread.status(one.id, connection).waiting:
            for request in questions.requests(connection, one.id):
                if request.id == question.id:
                    return one, request
    raise _gone(session, "it was answered, or its turn has ended")


def _gone(session: Session, why: str) -> QuestionGone:
    return QuestionGone(
        f"the question of {session.id} cannot be answered any more: {why}; nothing was sent",
        next=f"dev-sessions wait {session.id}",
        session=session.id,
    )


def _result(request: Request, answer: Answer) -> dict[str, Any]:
    if request.method != questions.INPUT:
        return {"decision": _DECISIONS[answer.decision]}
    asked = [str(item.get("id")) for item in request.params.get("questions") or () if isinstance(item, dict)]
    given = dict(zip(asked, answer.answers, strict=False))  # none in a refusal
    return {"answers": {id: {"answers": [*labels]} for id, labels in given.items()}}


def _took(connection: Connection, asker: Thread, request: Request, answer: Answer, timeout: float) -> bool | None:
    """Wait until the agent goes on: True if it got our answer, False if another one, None if it does not go on in time.

    Raises:
        Lost, Silent: the server does not answer.
    """
    until, resolved = time.monotonic() + timeout, 0.0
    calls = rollout.read(asker.path, asker.begin).calls
    by_script = all(call.id != request.call for call in calls)
    consents = answer.decision in ("allow", "always")
    with Watcher() as watcher:
        watcher.watch_path(asker.path)
        watcher.watch_descriptor(connection.descriptor)
        while (now := time.monotonic()) < until:
            for notice in connection.news():
                if notice.method == questions.RESOLVED and notice.params.get("requestId") == request.number:
                    resolved = resolved or now
                # The server reports the end of a call, but not of a command in a script that was refused.
                item = notice.params.get("item") if notice.method == "item/completed" else None
                if by_script and isinstance(item, dict) and item.get("id") == request.call:
                    return (item.get("status") == _DECLINED) is (answer.decision == "deny")
            output = rollout.output(asker.path, request.call, asker.begin)
            if output is not None:
                return is_ours(output, request, answer)
            if resolved and now - resolved > (_LAG if consents else _LONG_LAG):
                # An allowed call may run for a long time, and one of several may return together with the others.
                return by_script or consents or len(rollout.read(asker.path, asker.begin).calls) > 1
            watcher.wait(_TICK)
    return None


def _unknown(session: Session, why: str) -> DeliveryUnknown:
    return DeliveryUnknown(
        f"the answer was sent to {session.id}, but its effect is not known: {why}",
        next=f"dev-sessions status {session.id}",
        session=session.id,
    )


def is_ours(output: str, request: Request, answer: Answer) -> bool:
    """True if the output of a call shows that the call got this answer."""
    if request.method == questions.INPUT:
        try:
            return bool(json.loads(output) == _result(request, answer))
        except ValueError:
            return False
    return (answer.decision == "deny") == bool(_REFUSED.match(output)) and not _ABORTED.match(output)
