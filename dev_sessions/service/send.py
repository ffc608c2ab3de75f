"""`send`: a message to an agent."""

from __future__ import annotations

from ..errors import UsageError
from ..model import QUEUED
from . import guards
from .delivery import receipt, start_courier, submit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context, Session


def send(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Send the session `id` the message `text`: {"session", "turn", "receipt", "via", "request_id"}.

    With `queue` it waits for a turn of its own; with `interrupt` the running turn is ended first. `queue` without a
    text makes sure that queued messages are being delivered.
    """
    session = context.session(params["id"])
    if params.get("text") is None and params.get("queue"):
        return _deliver_queued(session)
    text = guards.checked_text(params.get("text"))
    return submit(session, text, request_id, bool(params.get("queue")), bool(params.get("interrupt")))


def _deliver_queued(session: Session) -> dict[str, Any]:
    state = session.state()
    queued = state.queued
    if not queued:
        raise UsageError(
            f"nothing is queued for {session.id}", next=f"dev-sessions send {session.id} 'MESSAGE' --queue"
        )
    guards.refuse_exited(session, state)
    start_courier(session)
    message = session.folder.message(queued[-1])
    assert message is not None
    return receipt(session, message, QUEUED)
