"""A thread's goal: an objective that Codex pursues by itself over several turns. Reading it never starts anything."""

from __future__ import annotations

from typing import Any

from ...errors import DeliveryFailed
from . import daemon, paths, rollout, thread
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session
    from .connection import Connection

ACTIVE, PAUSED = "active", "paused"
_SECONDS = 10.0


def read(session: Session) -> dict[str, Any] | None:
    """The goal that the server reports, if it is running; otherwise the last one in the rollout."""
    path = paths.rollout_path(session)
    try:
        connection = daemon.reach(paths.place_of(session), _SECONDS)
        if connection is not None:
            with connection:
                return _shown(connection.call("thread/goal/get", threadId=session.private["thread"]).get("goal"))
    except (Refused, Lost, Silent):
        pass
    return _shown(rollout.read(path).goal) if path else None


def change(session: Session, objective: str | None, budget: int | None, act: str | None) -> dict[str, Any] | None:
    """See `base.Goals.change_goal`. An active goal starts work at once; pausing or clearing it ends its turn."""
    thread_id = session.private["thread"]
    with thread.connect(session, _SECONDS) as connection:
        try:
            if act == "clear":
                connection.call("thread/goal/clear", threadId=thread_id)
                return None
            if act != "pause":
                thread.load(session, connection)  # a goal is pursued only while its thread is loaded
            status = PAUSED if act == "pause" else ACTIVE
            given = {"objective": objective, "tokenBudget": budget, "status": status}
            fields = {name: value for name, value in given.items() if value is not None}
            return _shown(connection.call("thread/goal/set", threadId=thread_id, **fields).get("goal"))
        except Refused as error:
            raise DeliveryFailed(
                f"Codex rejects the goal: {error.message}", next=f"dev-sessions status {session.id}"
            ) from error


def pause(session: Session, connection: Connection) -> None:
    """Pause an active goal, so that it starts no more turns; an interrupt alone would not stop it."""
    try:
        goal = connection.call("thread/goal/get", threadId=session.private["thread"]).get("goal")
        if goal and goal.get("status") == ACTIVE:
            connection.call("thread/goal/set", threadId=session.private["thread"], status=PAUSED)
    except Refused:
        pass  # it has none


def _shown(goal: Any) -> dict[str, Any] | None:
    """The fields of a goal as `goal --json` shows them."""
    if not isinstance(goal, dict):
        return None
    names = {"objective": "objective", "status": "status", "tokens_used": "tokensUsed", "token_budget": "tokenBudget"}
    more = {"seconds_used": "timeUsedSeconds", "created_at": "createdAt", "updated_at": "updatedAt"}
    return {ours: goal.get(theirs) for ours, theirs in {**names, **more}.items()}
