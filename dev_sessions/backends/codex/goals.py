"""A thread's goal: an objective that Codex pursues over turns by itself. Reading it never starts anything."""

from __future__ import annotations

from typing import Any

from ...errors import DeliveryFailed, Unsupported
from . import daemon, paths, thread
from .connection import Lost, Silent
from .protocol import METHOD_MISSING, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session
    from .connection import Connection

ACTIVE, PAUSED = "active", "paused"
_SECONDS = 10.0


def read(session: Session) -> dict[str, Any] | None:
    """The goal, if the server runs that can be asked; else what the rollout told last."""
    from . import observe, rollout

    path = observe.rollout_path(session)
    try:
        connection = daemon.reach(paths.place_of(session), _SECONDS)
        if connection is not None:
            with connection:
                return _shown(connection.call("thread/goal/get", threadId=session.private["thread"]).get("goal"))
    except (Refused, Lost, Silent):
        pass
    return _shown(rollout.read(path).goal) if path else None


def change(session: Session, objective: str | None, budget: int | None, act: str | None) -> dict[str, Any] | None:
    """See `base.Goals.change_goal`. An active goal sets to work at once; what is paused or cleared ends its turn."""
    with thread.connect(session, _SECONDS) as connection:
        if act == "clear":
            _call(session, connection, "thread/goal/clear")
            return None
        if act != "pause":
            thread.load(session, connection)  # on a thread that is not loaded it would wait for somebody's look
        status = PAUSED if act == "pause" else ACTIVE
        given = {"objective": objective, "tokenBudget": budget, "status": status}
        answer = _call(session, connection, "thread/goal/set", **{k: v for k, v in given.items() if v is not None})
        return _shown(answer.get("goal"))


def pause(session: Session, connection: Connection) -> None:
    """Have an active goal start no more turns; before an interrupt, which alone would not stop it."""
    try:
        goal = connection.call("thread/goal/get", threadId=session.private["thread"]).get("goal")
        if goal and goal.get("status") == ACTIVE:
            connection.call("thread/goal/set", threadId=session.private["thread"], status=PAUSED)
    except Refused:
        pass  # a version without goals


def _call(session: Session, connection: Connection, method: str, **params: Any) -> dict[str, Any]:
    try:
        return dict(connection.call(method, threadId=session.private["thread"], **params))
    except Refused as error:
        if error.says(METHOD_MISSING):
            raise Unsupported(
                "this Codex knows no goals", next="npm install -g @openai/codex@latest", capability="goal"
            ) from error
        raise DeliveryFailed(
            f"Codex refuses the goal: {error.message}", next=f"dev-sessions status {session.id}"
        ) from error


def _shown(goal: Any) -> dict[str, Any] | None:
    """The fields of a goal as `goal --json` shows them."""
    if not isinstance(goal, dict):
        return None
    names = {"objective": "objective", "status": "status", "tokens_used": "tokensUsed", "token_budget": "tokenBudget"}
    more = {"seconds_used": "timeUsedSeconds", "created_at": "createdAt", "updated_at": "updatedAt"}
    return {ours: goal.get(theirs) for ours, theirs in {**names, **more}.items()}
