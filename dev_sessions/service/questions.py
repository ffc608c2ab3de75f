"""`pending` and `respond`: the questions of agents, and answers to them."""

from __future__ import annotations

from ..backends.base import PressesKeys, Responds
from ..errors import QuestionGone, UsageError
from ..model import Question, asker
from . import guards
from .answers import answer, summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..model import State
    from .context import Context, Session

# How long an agent may take to go on after an answer. Seconds.
_TAKEN_SECONDS = 20.0


def pending(context: Context, params: dict[str, Any], request_id: str) -> list[dict[str, Any]]:
    """Every open question of every session, or of those in `group`, the oldest first."""
    sessions = context.group(params.get("group"))
    found = [
        {"session": session.id, **question.to_json()}
        for session, state in zip(sessions, context.states(sessions), strict=True)
        for question in state.questions
    ]
    return sorted(found, key=lambda one: float(one["since"]))


def respond(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Answer one question of `id`: {"session", "question", "kind", "agent", "answer", "screen", "request_id"}.

    Exactly one of `allow`, `always`, `deny` (with `why`), `choose`, `text`, `answers` and `key` is the answer;
    `question` is the id of the question, if several are open. A repeated request returns the first result.
    """
    session = context.session(params["id"])
    with session.locked():
        known = session.folder.answers.get(request_id)
        if known is not None:
            return known
        state = session.state()
        guards.refuse_exited(session, state)
        key = params.get("key")
        # A key may be for a view or menu that a person left open: the agent does not report these.
        screen = key is not None and isinstance(session.backend, PressesKeys)
        question = _selected(session, state, params.get("question"), screen)
        result = {
            "session": session.id,
            "question": question.id,
            "kind": question.kind,
            "agent": question.agent and question.agent._asdict(),
            **(_answered(session, question, params) if key is None else _pressed(session, question, str(key))),
            "request_id": request_id,
        }
        session.folder.answers.keep(result, request_id)
        return result


def _answered(session: Session, question: Question, params: dict[str, Any]) -> dict[str, Any]:
    backend = session.require(Responds, "respond")
    decisions = {"allow": params.get("allow"), "always": params.get("always"), "deny": params.get("deny")}
    words = {"choose": params.get("choose"), "text": params.get("text"), "answers": params.get("answers")}
    given = answer(session.id, question, {**decisions, **words, "why": params.get("why")})
    backend.respond(session, question, given, _TAKEN_SECONDS)
    return {"answer": summary(given), "screen": None}


def _pressed(session: Session, question: Question, key: str) -> dict[str, Any]:
    screen = session.require(PressesKeys, "press").press(session, question, key)
    return {"answer": key, "screen": screen}


def _selected(session: Session, state: State, id: Any, screen: bool) -> Question:
    """The question to answer; if none is open and `screen` is set, the screen itself.

    Raises:
        QuestionGone: that question is not open, or none is.
        UsageError: several are open, and no id was given.
    """
    shown = [{"session": session.id, **question.to_json()} for question in state.questions]
    if id is not None:
        found = next((question for question in state.questions if question.id == id), None)
        if found is None:
            raise QuestionGone(
                f"{session.id} has no open question {id!r}; nothing was sent",
                next="dev-sessions pending",
                questions=shown,
            )
        return found
    if not state.questions and screen:
        return Question("screen", "dialog", "", (), 0.0)
    if not state.questions:
        raise QuestionGone(
            f"{session.id} has no open question; nothing was sent. Its status is {state.status}",
            next=f"dev-sessions wait {session.id}",
            questions=[],
        )
    if len(state.questions) > 1:
        listed = "".join(f"\n  {one['id']} ({one['kind']}{asker(one)}): {one['text']}" for one in shown)
        raise UsageError(
            f"{session.id} has several open questions; choose one with --question:{listed}",
            next=f"dev-sessions respond {session.id} --question Q ...",
            questions=shown,
        )
    return state.questions[0]
