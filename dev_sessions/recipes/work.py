"""One session from its create to its reply.

Each step is a request with an id of its own, and is recorded before the next begins. Repeating all steps with the same
record, wherever they were interrupted, starts no second agent and sends nothing twice.
"""

from __future__ import annotations

from .. import templates
from ..errors import DevSessionsError, unexpected
from ..model import COMPLETED, EXITED, IDLE
from . import briefing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from ..client import Client
    from .plan import Branch

    class Log(Protocol):
        """The record of how far the work has come."""

        def state(self) -> dict[str, Any]: ...

        def note(self, **fields: Any) -> dict[str, Any]: ...

    # Called with the new phase: STARTING, WORKING, or the outcome.
    OnPhase = Callable[[str], None]

STARTING, WORKING = "starting", "working"
# The outcome if there was no turn, or its outcome cannot be found out.
ERROR = "error"


class Notes:
    """A log in memory."""

    def __init__(self) -> None:
        self._state: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        return self._state

    def note(self, **fields: Any) -> dict[str, Any]:
        self._state |= fields
        return self._state


def is_over(state: Mapping[str, Any]) -> bool:
    """True if waiting again cannot change the outcome."""
    return state.get("outcome") not in (None, "waiting_for_input", "timeout", ERROR)


def work(
    client: Client, branch: Branch, request_id: str, log: Log, on_phase: OnPhase, keep: bool = False
) -> dict[str, Any]:
    """Do what is left to do, and end the session unless `keep`; returns the log's state, with an `outcome`."""
    try:
        if not is_over(log.state()):
            carry(client, branch, request_id, log, on_phase)
        if not keep:
            clean_up(client, log)
    except Exception as error:
        log.note(**failure(error))
    on_phase(str(log.state()["outcome"]))
    return log.state()


def carry(client: Client, branch: Branch, request_id: str, log: Log, on_phase: OnPhase) -> dict[str, Any]:
    """Create, send and wait, as far as that is not done; returns the result of `wait`, with the `reply`.

    Raises:
        DevSessionsError: there is no session, or its first message was not sent; the message says which.
    """
    if "turn" not in log.state():
        on_phase(STARTING)
        record = client.create(request_id, **branch.options)
        log.note(session=record["id"], cli=record["cli"], path=record["path"])
        log.note(turn=briefing.send(client, branch.brief, request_id, record)["turn"])
    on_phase(WORKING)
    id, turn = log.state()["session"], log.state()["turn"]
    ended = client.wait([id], turn=turn, settled=branch.settled, timeout=branch.timeout)[0]
    reply = next((one["reply"] for one in ended["turns"] if one["turn"] == turn), None)
    done = {"reply": reply, "report": templates.report(reply)} if ended["outcome"] == COMPLETED else {}
    done |= {name: ended.get(name) for name in ("error", "reason", "resets_at", "question")}
    log.note(outcome=ended["outcome"], next=None, **done)
    return {**ended, "reply": reply}


def clean_up(client: Client, log: Log) -> bool:
    """End the session when its work is done and it is idle; True if it has ended.

    One that reports that it is blocked is kept, since it can be helped.
    """
    state = log.state()
    blocked = (state.get("report") or {}).get("status") == "BLOCKED"
    if state.get("outcome") == COMPLETED and not state.get("killed") and not blocked and _is_idle(client, log):
        end(client, log)
    return bool(log.state().get("killed"))


def _is_idle(client: Client, log: Log) -> bool:
    """True if the session is not working, or is gone; notes the commands that still run in it, and end with it."""
    try:
        status = client.status(log.state()["session"])
    except DevSessionsError as error:
        return error.code == "not_found"
    log.note(left=[one["text"] for one in status["left"]], busy=status["status"] not in (IDLE, EXITED))
    return not log.state()["busy"]


def end(client: Client, log: Log) -> str | None:
    """End a session; returns what went wrong if it still exists."""
    try:
        client.kill([log.state()["session"]])
    except DevSessionsError as error:
        if error.code != "not_found":
            log.note(unkilled=error.message)
            return error.message
    log.note(killed=True)
    return None


def failure(error: Exception) -> dict[str, Any]:
    """What a log records of an error."""
    known = error if isinstance(error, DevSessionsError) else unexpected(error)
    return {"outcome": ERROR, "error": known.message, "next": known.data.get("next")}
