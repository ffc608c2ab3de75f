"""`goal`: an objective that an agent pursues over turns by itself."""

from __future__ import annotations

from ..backends.base import Goals
from ..errors import Unsupported, UsageError
from .send import refuse_unless_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..backends.base import Session
    from .context import Context

_ACTS = ("pause", "resume", "clear")
_HELP = "dev-sessions goal --help"


def goal(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any] | None:
    """The goal of the session `id`, or None; set to `objective` (with `budget`, in tokens), or changed by an `act`.

    Acts are "pause", "resume" and "clear". Without any of these nothing is changed, and nothing is started. A
    repeated change returns the first result and changes nothing.
    """
    session = context.session(params["id"])
    backend = pursuing(context, session)
    objective, budget, act = params.get("objective"), params.get("budget"), params.get("act")
    _refuse_nonsense(objective, budget, act)
    if objective is None and budget is None and act is None:
        return backend.goal(session)
    with context.store.lock(session.folder.lock_path):
        known = session.folder.answers.get("goal", request_id)
        if known is not None:
            return known.get("goal")
        refuse_unless_there(session, context.state(session))
        if objective is None and backend.goal(session) is None:
            raise UsageError(f"{session.id} has no goal", next=f"dev-sessions goal {session.id} OBJECTIVE")
        changed = backend.change_goal(session, objective, budget, act)
        session.folder.answers.keep({"goal": changed}, "goal", request_id)
    return changed


def _refuse_nonsense(objective: Any, budget: Any, act: Any) -> None:
    if act is not None and act not in _ACTS:
        raise UsageError(f"no such act on a goal: {act!r}", next=_HELP)
    if act is not None and (objective is not None or budget is not None):
        raise UsageError(f"--{act} goes alone", next=_HELP)
    if objective is not None and not objective.strip():
        raise UsageError("the objective is empty", next=_HELP)
    if budget is not None and budget < 1:
        raise UsageError(f"the budget must be a number of tokens, not {budget}", next=_HELP)


def pursuing(context: Context, session: Session) -> Goals:
    """The backend of a session that can pursue goals; `Unsupported` if it cannot. Called by `goal` and `wait`."""
    backend = context.backend(session)
    if not isinstance(backend, Goals):
        raise Unsupported(
            f"{session.record['cli']} pursues no goals",
            next=f"dev-sessions send {session.id} 'MESSAGE'",
            capability="goal",
        )
    return backend
