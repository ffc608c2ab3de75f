"""`status`, `list` and `last_message`: they only read; they take no lock, write nothing and start nothing."""

from __future__ import annotations

from ..errors import UsageError
from ..model import EXITED, IDLE, LIMIT, STATUSES, WAITING, WORKING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def status(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """What the session `id` is doing: "session", "status", "turn", "question", "background", "left", "queued", "error".

    "reason" and "resets_at" say whether a limit has ended the last turn of an idle agent, or has stopped one that will
    go on by itself; otherwise both are null.
    """
    session = context.session(params["id"])
    state = session.state()
    queued = state.queued
    if queued and state.status != EXITED and not session.folder.courier():
        context.say(
            f"{len(queued)} queued message(s) and no courier to deliver them; "
            f"deliver them with: dev-sessions send {session.id} --queue"
        )
    elif queued and state.status == EXITED:
        context.say(f"{len(queued)} queued message(s) were not delivered: the agent is gone")
    last, paused = state.last if state.status == IDLE else None, state.paused_until
    return {
        "session": session.id,
        "status": state.status,
        "turn": state.turn,
        "question": state.question.to_json() if state.question else None,
        "background": state.background,
        "left": [{"kind": task.kind, "text": task.text} for task in state.left],
        "queued": queued,
        "error": state.error,
        "reason": LIMIT if paused else last.reason if last else None,
        "resets_at": paused or (last.resets_at if last else None),
    }


def list_(context: Context, params: dict[str, Any], request_id: str) -> list[dict[str, Any]]:
    """Every session's public record with its status, the most recently used first; `group` and `status` filter."""
    wanted, group = params.get("status"), params.get("group")
    if wanted is not None and wanted not in STATUSES:
        raise UsageError(
            f"no status called {wanted!r}; there are {', '.join(STATUSES)}", next="dev-sessions list --help"
        )
    sessions = context.group(group)
    rows = [
        {**session.public(), "status": state.status, "last_used": session.last_used(state)}
        for session, state in zip(sessions, context.states(sessions), strict=True)
        if wanted in (None, state.status)
    ]
    return sorted(rows, key=lambda row: row["last_used"], reverse=True)


def last_message(context: Context, params: dict[str, Any], request_id: str) -> list[str]:
    """The last `count` assistant texts of the session `id`; while a turn is running, only those before it."""
    count = int(params.get("count", 1))
    if count < 1:
        raise UsageError(f"the count must be 1 or more, not {count}", next="dev-sessions last-message --help")
    session = context.session(params["id"])
    state = session.state()
    running = state.status in (WORKING, WAITING)
    entries = session.backend.history(session, count, running)
    if running:
        context.say(f"a turn is running; these messages are older. Wait for its end: dev-sessions wait {session.id}")
    elif not entries and state.status == IDLE:
        context.say(f"{session.id} has not written anything yet")
    return [entry.text for entry in entries]
