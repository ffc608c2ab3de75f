"""Answering what Claude Code asks, through its own permission hook.

The hook (see `hooks`) waits on a pipe that belongs to this one question, while the dialog stands on the screen, if it
does (see `questions`); either side may answer. A word through the pipe makes it print the answer, which is in a file
beside the pipe. If a person says yes in the dialog, the hook is not told and waits until the turn ends; with no, or
Escape, it gets SIGTERM. A hook that was killed leaves the question to the dialog, with nobody at the other end of the
pipe (2.1.150 to 2.1.332).

An answer has to hold `updatedInput`: 2.1.330 ignores a bare "allow" to a plan. Who was first is told by the transcript:
an attachment `hook_permission_decision` with the id of the tool call, or the call's result, which older ones have only.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress

from ...errors import DeliveryUnknown, QuestionGone
from ...system import files
from ...system.waiting import Watcher
from ...turns import WAITING_ACTIVITY
from . import hooks, observe, permissions, questions, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Question
    from ..base import Answer, Session

# After Claude has stopped waiting, how long the transcript may take to say whose answer it took. Seconds.
_LAG = 3.0
# The tool call may reach the transcript so long after the question has reached us. Seconds.
_SLACK = 2.0
# How tool results begin that a person has refused.
_REFUSED = ("The user doesn't want to", "User rejected", "[Request interrupted")


def respond(session: Session, question: Question, answer: Answer, timeout: float) -> None:
    """Answer a question; see `base.Responds.respond`."""
    fields = _asked(session, question)
    since = observe.look(session).since
    output = {"hookEventName": "PermissionRequest", "decision": _decision(fields, answer)}
    folder = questions.pipes_path(session.folder)
    _tidy(folder)
    files.write_json(os.path.join(folder, f"{question.id}.json"), {"hookSpecificOutput": output})
    _wake(session, question)
    if not _took(session, question, fields, answer, since, timeout):
        raise QuestionGone(
            f"somebody else has answered {session.id} in the same moment, and was first",
            next=f"dev-sessions wait {session.id}",
            session=session.id,
            question=question.id,
        )


def _tidy(folder: str) -> None:
    """Remove the answers that were taken: Claude's Stop hook looks through the folder."""
    names = set(os.listdir(folder))
    for name in names:
        if name.endswith(".json") and name.removesuffix(".json") not in names:
            with suppress(OSError):  # a container's Claude may have put a folder there
                os.unlink(os.path.join(folder, name))


def _asked(session: Session, question: Question) -> dict[str, Any]:
    """The payload of the hook that waits for this question's answer."""
    for payload, fields in observe.reports(session):
        if payload.name.partition(".")[0] == question.id:
            return fields
    raise _closed(session, "Claude Code has not reported this question by its hook (are its hooks switched off?)")


def _closed(session: Session, why: str) -> QuestionGone:
    return QuestionGone(
        f"the question of {session.id} cannot be answered from here: {why}; nothing was sent",
        next=f"dev-sessions attach {session.id}, or dev-sessions respond {session.id} --key K with a key of its dialog",
        session=session.id,
    )


def _wake(session: Session, question: Question) -> None:
    """Tell the hook that the answer is there; one write, which a pipe takes whole or not at all."""
    try:
        pipe = questions.open_pipe(session.folder, question.id)
    except OSError as error:
        raise _closed(session, "the hook that would take the answer was ended") from error
    try:
        os.write(pipe, f"{hooks.ANSWERED}\n".encode())
    except OSError as error:
        raise _closed(session, "the hook that would take the answer has just ended") from error
    finally:
        os.close(pipe)


def _decision(fields: dict[str, Any], answer: Answer) -> dict[str, Any]:
    given = fields.get("tool_input")
    given = given if isinstance(given, dict) else {}
    if answer.decision == "deny":
        return {"behavior": "deny", "message": answer.why or "Not allowed."}
    if answer.decision == "answer":
        asked = [item for item in given.get("questions", []) if isinstance(item, dict)]
        chosen = {item.get("question"): ", ".join(one) for item, one in zip(asked, answer.answers, strict=True)}
        return {"behavior": "allow", "updatedInput": {**given, "answers": chosen}}
    decision = {"behavior": "allow", "updatedInput": given}
    return {**decision, "updatedPermissions": permissions.always(fields)} if answer.decision == "always" else decision


def _took(
    session: Session, question: Question, fields: dict[str, Any], answer: Answer, since: float, timeout: float
) -> bool:
    """Wait until Claude has gone on; True if it did so by our answer.

    Raises:
        DeliveryUnknown: it still waits, or does not tell.
    """
    until, gone = time.monotonic() + timeout, None
    path = questions.transcript_of(fields)
    # The status tells only of a question that is the only one, and the agent's own.
    alone = question.agent is None and not questions.others_wait(session.folder, question.id)
    with Watcher() as watcher:
        while (now := time.monotonic()) < until:
            watcher.watch(*observe.sources(session))
            watcher.watch_path(path or session.folder.path)
            probe = observe.look(session)
            moved = probe.activity != WAITING_ACTIVITY or probe.since != since
            if gone is None and (moved if alone else questions.is_through(session.folder, question.id)):
                gone = now
            entries = transcript.since(path, question.since - 60.0) if path else []
            ours = whose(entries, fields, answer, question.since)
            if ours is not None:
                return ours
            if gone and now - gone > _LAG and answer.decision in ("allow", "always"):
                return True  # it goes on as allowed; older ones do not tell by whom before the tool has ended
            watcher.wait(0.5)
    raise DeliveryUnknown(
        f"{session.id} was given the answer and has not shown within {timeout:g} s what became of it",
        next=f"dev-sessions status {session.id}",
        session=session.id,
    )


def whose(entries: list[dict[str, Any]], fields: dict[str, Any], answer: Answer, at: float) -> bool | None:
    """True if the transcript says that the hook decided the call asked about, False if a person did; None: not yet."""
    call = _call(entries, fields, at)
    if call is None:
        return None
    for entry in entries:
        attached = entry.get("attachment")
        told = attached if isinstance(attached, dict) else {}
        if told.get("type") == "hook_permission_decision" and told.get("toolUseID") == call:
            return True
        for block in transcript.blocks(entry):
            if block.get("type") == "tool_result" and block.get("tool_use_id") == call:
                return _told(entry, block, answer)
    return None


def _call(entries: list[dict[str, Any]], fields: dict[str, Any], at: float) -> str | None:
    """The id of the tool call that the question is about: the first such call that had no result by then."""
    name, given = fields.get("tool_name"), fields.get("tool_input")
    calls: dict[str, bool] = {}
    for entry in entries:
        when = transcript.stamp(entry)
        for block in transcript.blocks(entry):
            if block.get("type") == "tool_use" and block.get("name") == name and when <= at + _SLACK:
                calls[str(block.get("id"))] = block.get("input") == given
            elif block.get("type") == "tool_result" and when < at:
                calls.pop(str(block.get("tool_use_id")), None)
    same = [id for id, equal in calls.items() if equal]
    return next(iter(same or calls), None)


def _told(entry: dict[str, Any], result: dict[str, Any], answer: Answer) -> bool:
    decided = entry.get("permissionDecision")
    if isinstance(decided, dict) and decided.get("source"):
        return bool(decided["source"] == "hook")
    text = json.dumps(result.get("content"), ensure_ascii=False)
    if answer.decision == "deny":
        return json.dumps(answer.why or "Not allowed.", ensure_ascii=False)[1:-1] in text
    if answer.decision == "answer":
        return all(json.dumps(one, ensure_ascii=False)[1:-1] in text for part in answer.answers for one in part)
    return not (result.get("is_error") and any(words in text for words in _REFUSED))
