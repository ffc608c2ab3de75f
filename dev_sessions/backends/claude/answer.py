"""Answers what Claude Code asks, through its own permission hook.

The hook (see `hooks`) waits on a pipe that belongs to this one question. The dialog may be on the screen meanwhile (see
`questions`); either side may answer. Our answer is in a file beside the pipe; a message through the pipe makes the hook
print it. If a person says yes in the dialog, the hook does not notice and waits until the turn ends; if they say no or
press Escape, it gets SIGTERM. If a hook is killed, the question can only be answered in the dialog, and nothing reads
the pipe (2.1.221 to 2.1.332).

An answer must contain `updatedInput`: 2.1.330 ignores a bare "allow" for a plan. The transcript shows who answered
first: once the call has its result, there is an attachment `hook_permission_decision` with the id of the tool call.
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
from . import hooks, observe, paths, permissions, questions, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Question
    from ..base import Answer, Session

# How long the transcript may take to show whose answer counted, after Claude has stopped waiting. Seconds.
_LAG = 3.0
# How much later than the question the tool call may reach the transcript. Seconds.
_SLACK = 2.0
# Beginnings of the results of tools that a person refused.
_REFUSED = ("The user doesn't want to", "User rejected", transcript.INTERRUPT_NOTE)


def respond(session: Session, question: Question, answer: Answer, timeout: float) -> None:
    """Answer a question; see `base.Responds.respond`."""
    reports = hooks.reports(session)
    fields = next((fields for payload, fields in reports if payload.name.partition(".")[0] == question.id), None)
    if fields is None:
        raise _closed(session, "Claude Code has not reported this question by its hook (are its hooks switched off?)")
    since = observe.look(session).since
    output = {"hookEventName": "PermissionRequest", "decision": _decision(fields, answer)}
    folder = paths.questions(session.folder)
    names = set(os.listdir(folder))
    for name in names:  # remove the answers that were used: Claude's Stop hook searches the folder
        if name.endswith(".json") and name.removesuffix(".json") not in names:
            with suppress(OSError):  # the Claude in a container may have created a folder there
                os.unlink(os.path.join(folder, name))
    files.write_json(os.path.join(folder, f"{question.id}.json"), {"hookSpecificOutput": output})
    _wake(session, question)
    if not _is_taken(session, question, fields, answer, since, timeout):
        raise QuestionGone(
            f"somebody else has answered {session.id} in the same moment, and was first",
            next=f"dev-sessions wait {session.id}",
            session=session.id,
            question=question.id,
        )


def _closed(session: Session, why: str) -> QuestionGone:
    return QuestionGone(
        f"the question of {session.id} cannot be answered from here: {why}; nothing was sent",
        next=f"dev-sessions attach {session.id}, or dev-sessions respond {session.id} --key K with a key of its dialog",
        session=session.id,
    )


def _wake(session: Session, question: Question) -> None:
    """Notify the hook that the answer is ready, with one write, which a pipe accepts completely or not at all."""
    try:
        pipe = questions.open_pipe(session.folder, question.id)
        try:
            os.write(pipe, f"{hooks.ANSWERED}\n".encode())
        finally:
            os.close(pipe)
    except OSError as error:
        raise _closed(session, "the hook that would take the answer was ended") from error


def _decision(fields: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The answer in the form that the hook must print."""
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


def _is_taken(
    session: Session, question: Question, fields: dict[str, Any], answer: Answer, since: float, timeout: float
) -> bool:
    """Wait until Claude has continued; return True if our answer made it continue.

    Raises:
        DeliveryUnknown: it still waits, or the transcript does not show whose answer counted.
    """
    until, gone = time.monotonic() + timeout, None
    path = questions.transcript_of(fields)
    # The status shows whether a question was answered only if it is the only open one, and the agent's own.
    alone = question.agent is None and not questions.others_wait(session.folder, question.id)
    with Watcher() as watcher:
        while (now := time.monotonic()) < until:
            watcher.watch(*observe.sources(session))
            watcher.watch_path(path or session.folder.path)
            probe = observe.look(session)
            moved = probe.activity != WAITING_ACTIVITY or probe.since != since
            if gone is None and (moved if alone else questions.has_finished(session.folder, question.id)):
                gone = now
            entries = transcript.since(path, question.since - 60.0) if path else []
            ours = is_ours(entries, fields, answer, question.since)
            if ours is not None:
                return ours
            if gone and now - gone > _LAG and answer.decision in ("allow", "always"):
                return True  # allowed; the transcript shows by whom only after the tool has ended
            watcher.wait(0.5)
    raise DeliveryUnknown(
        f"{session.id} was given the answer and has not shown within {timeout:g} s what became of it",
        next=f"dev-sessions status {session.id}",
        session=session.id,
    )


def is_ours(entries: list[dict[str, Any]], fields: dict[str, Any], answer: Answer, at: float) -> bool | None:
    """True if the transcript shows that the hook decided about the call, False if a person did; None: not yet known."""
    # The call: one of that tool that had no result by then, usually the first one with the same input.
    calls: dict[str, bool] = {}
    for event in transcript.tool_events(entries):
        if event.kind == "tool_use" and event.fields.get("name") == fields.get("tool_name") and event.at <= at + _SLACK:
            calls[event.id] = event.fields.get("input") == fields.get("tool_input")
        elif event.kind == "tool_result" and event.at < at:
            calls.pop(event.id, None)
    call = next((id for id, same in calls.items() if same), next(iter(calls), None))
    for event in transcript.tool_events(entries):
        if event.id == call and event.kind == "hook_permission_decision":
            return True
        if event.id == call and event.kind == "tool_result":
            return _is_result_of(event, answer)
    return None


def _is_result_of(event: transcript.ToolEvent, answer: Answer) -> bool:
    """True if a tool's result matches our answer."""
    decided = event.entry.get("permissionDecision")
    if isinstance(decided, dict) and decided.get("source"):
        return bool(decided["source"] == "hook")
    text = json.dumps(event.fields.get("content"), ensure_ascii=False)
    if answer.decision == "deny":
        return json.dumps(answer.why or "Not allowed.", ensure_ascii=False)[1:-1] in text
    if answer.decision == "answer":
        return all(json.dumps(one, ensure_ascii=False)[1:-1] in text for part in answer.answers for one in part)
    return not (event.fields.get("is_error") and any(words in text for words in _REFUSED))
