"""`interrupt`: end the running turn."""

from __future__ import annotations

from ..backends.base import Interrupts
from ..model import INTERRUPTED
from .interruption import end_turn, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def interrupt(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """End the running turn of the session `id`: {"session", "interrupted": [turns], "status", "was", "outcome"}.

    `outcome` is the outcome of the running turn, None if no turn was running. A repeated request returns the first
    result and does not interrupt a later turn.

    Raises:
        TimedOut: the turn has not ended.
    """
    session = context.session(params["id"])
    session.require(Interrupts, "interrupt")
    with session.locked():
        known = session.folder.answers.get("interrupt", request_id)
        if known is not None:
            return known
        before = session.state()
        after = end_turn(session, before)
        running = before.running
        result = {
            "session": session.id,
            "interrupted": [t.number for t in after.turns if t.number in running and t.state == INTERRUPTED],
            "status": after.status,
            "was": before.status,
            "outcome": outcome(before, after),
        }
        session.folder.answers.keep(result, "interrupt", request_id)
    return result
