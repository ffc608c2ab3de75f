"""`goal`: an objective that an agent pursues over several turns by itself."""

from __future__ import annotations

from ..backends.base import Goals
from ..errors import UsageError
from . import guards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context

_ACTS = ("pause", "resume", "clear")
_HELP = "dev-sessions goal --help"


def goal(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any] | None:
    """Set or change the goal of the session `id`; returns the goal, or None.

    `objective` sets a new one, `budget` its limit in tokens; `act` is "pause", "resume" or "clear". Without any of
    these, nothing is changed or started. A repeated change returns the first result and changes nothing.
    """
    session = context.session(params["id"])
    backend = session.require(Goals, "goal")
    objective, budget, act = params.get("objective"), params.get("budget"), params.get("act")
    _check(objective, budget, act)
    if objective is None and budget is None and act is None:
        return backend.goal(session)
    with session.locked():
        known = session.folder.answers.get("goal", request_id)
        if known is not None:
            return known.get("goal")
        guards.refuse_exited(session, session.state())
        if objective is None and backend.goal(session) is None:
            raise UsageError(f"{session.id} has no goal", next=f"dev-sessions goal {session.id} OBJECTIVE")
        changed = backend.change_goal(session, objective, budget, act)
        session.folder.answers.keep({"goal": changed}, "goal", request_id)
    return changed


def _check(objective: Any, budget: Any, act: Any) -> None:
    if act is not None and act not in _ACTS:
        raise UsageError(f"invalid act {act!r}: it must be one of {', '.join(_ACTS)}", next=_HELP)
    if act is not None and (objective is not None or budget is not None):
        raise UsageError(f"--{act} cannot be combined with an objective or a budget", next=_HELP)
    if objective is not None and not objective.strip():
        raise UsageError("the objective is empty", next=_HELP)
    if budget is not None and budget < 1:
        raise UsageError(f"the budget must be a number of tokens, not {budget}", next=_HELP)
