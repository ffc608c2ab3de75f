"""`attach`: the command that connects a person's terminal to a session."""

from __future__ import annotations

from ..backends.base import Attaches
from . import guards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def attach(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """The command that attaches a terminal to the session `id`: {"session", "argv"}."""
    session = context.session(params["id"])
    backend = session.require(Attaches, "attach")
    guards.refuse_exited(session, session.state())
    return {"session": session.id, "argv": backend.attach_command(session)}
