"""What agents ask, and answers to it: `pending`, `respond`."""

from __future__ import annotations

from ..backends.base import PressesKeys, Responds
from ..errors import QuestionGone, Unsupported, UsageError
from ..model import Question, asker
from .answers import answer, summary
from .send import refuse_unless_there, still_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..backends.base import Session
    from ..model import State
    from .context import Context

# How long an agent may take to go on with an answer. Seconds.
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

    Exactly one of `allow`, `always`, `deny` (with `why`), `choose`, `text`, `answers` and `key` says how; `question` is
    the id of the question, if several are open. The same request id again gives the first answer's result.
    """
    session = context.session(params["id"])
    with context.store.lock(session.folder.lock_path):
        still_there(context, session)
        known = session.folder.answers.get(request_id)
        if known is not None:
            return known
        state = context.state(session)
        refuse_unless_there(session, state)
        question = _meant(session, state, params.get("question"), _on_screen(context, session, params))
        result = {
            "session": session.id,
            "question": question.id,
            "kind": question.kind,
            "agent": question.agent and question.agent._asdict(),
            **_given(context, session, question, params),
            "request_id": request_id,
        }
        session.folder.answers.keep(result, request_id)
        return result


def _given(context: Context, session: Session, question: Question, params: dict[str, Any]) -> dict[str, Any]:
    """Answer the question: what was said, and of a key the screen that followed."""
    backend = context.backend(session)
    if params.get("key") is not None:
        if not isinstance(backend, PressesKeys):
            raise _unsupported(session, "press")
        key = str(params["key"])
        return {"answer": key, "screen": backend.press(session, question, key)}
    if not isinstance(backend, Responds):
        raise _unsupported(session, "respond")
    said = answer(session.id, question, _ways(params))
    backend.respond(session, question, said, _TAKEN_SECONDS)
    return {"answer": summary(said), "screen": None}


def _ways(params: dict[str, Any]) -> dict[str, Any]:
    """What the caller says, apart from what it is said to."""
    decisions = {"allow": params.get("allow"), "always": params.get("always"), "deny": params.get("deny")}
    words = {"choose": params.get("choose"), "text": params.get("text"), "answers": params.get("answers")}
    return {**decisions, **words, "why": params.get("why")}


def _unsupported(session: Session, capability: str) -> Unsupported:
    return Unsupported(
        f"{session.record['cli']} takes no answer this way",
        next=f"dev-sessions attach {session.id}",
        capability=capability,
    )


def _on_screen(context: Context, session: Session, params: dict[str, Any]) -> Question | None:
    """What a key is for where the agent reports no question: a view or menu that a person has left open, if any is."""
    if params.get("key") is None or not isinstance(context.backend(session), PressesKeys):
        return None
    return Question("screen", "dialog", "", (), 0.0)


def _meant(session: Session, state: State, wanted: Any, unreported: Question | None) -> Question:
    """The question to answer; `unreported`, if there is none.

    Raises:
        QuestionGone: that one is not open, or none is. UsageError: several are open, and none was named.
    """
    shown = [{"session": session.id, **question.to_json()} for question in state.questions]
    if wanted is not None:
        found = next((question for question in state.questions if question.id == wanted), None)
        if found is None:
            raise QuestionGone(
                f"{session.id} does not ask {wanted!r} (any more); nothing was sent",
                next="dev-sessions pending",
                questions=shown,
            )
        return found
    if not state.questions and unreported is not None:
        return unreported
    if not state.questions:
        raise QuestionGone(
            f"{session.id} asks nothing; nothing was sent. It is {state.status}",
            next=f"dev-sessions wait {session.id}",
            questions=[],
        )
    if len(state.questions) > 1:
        listed = "".join(f"\n  {one['id']} ({one['kind']}{asker(one)}): {one['text']}" for one in shown)
        raise UsageError(
            f"{session.id} asks several things; say which one is meant:{listed}",
            next=f"dev-sessions respond {session.id} --question Q ...",
            questions=shown,
        )
    return state.questions[0]
