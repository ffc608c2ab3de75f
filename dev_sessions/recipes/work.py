"""One session from its start to its reply.

Each step is a request with its own id, and is recorded before the next step begins. If the steps are interrupted at any
point and repeated with the same record, no second agent is started and nothing is sent twice.
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
        """The record of the work's progress."""

        def state(self) -> dict[str, Any]: ...

        def note(self, **fields: Any) -> dict[str, Any]: ...

    # Called with the new phase: STARTING, WORKING, or the outcome.
    OnPhase = Callable[[str], None]

STARTING, WORKING = "starting", "working"
# The outcome if there was no turn, or if its outcome is unknown.
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
    """Do the remaining steps, and end the session unless `keep`; returns the log's state, with an `outcome`."""
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
    """Create, send and wait, without the steps already done; returns the result of `wait`, with the `reply`.

    Raises:
        DevSessionsError: the session was not created, or its first message was not sent.
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
    """End the session if its work is done and it is idle; True if it has ended.

    A session that reports that it is blocked is kept, since a person can help it.
    """
    state = log.state()
    blocked = (state.get("report") or {}).get("status") == "BLOCKED"
    if state.get("outcome") == COMPLETED and not state.get("killed") and not blocked and _is_idle(client, log):
        end(client, log)
    return bool(log.state().get("killed"))


def _is_idle(client: Client, log: Log) -> bool:
    """True if the session is not working, or no longer exists; notes the commands that are still running in it."""
    try:
        status = client.status(log.state()["session"])
    except DevSessionsError as error:
        return error.code == "not_found"
    log.note(left=[one["text"] for one in status["left"]], busy=status["status"] not in (IDLE, EXITED))
    return not log.state()["busy"]


def end(client: Client, log: Log) -> str | None:
    """End a session; returns the error if it still exists."""
    try:
        client.kill([log.state()["session"]])
    except DevSessionsError as error:
        if error.code != "not_found":
            log.note(unkilled=error.message)
            return error.message
    log.note(killed=True)
    return None


def failure(error: Exception) -> dict[str, Any]:
    """An error as a log records it."""
    known = error if isinstance(error, DevSessionsError) else unexpected(error)
    return {"outcome": ERROR, "error": known.message, "next": known.data.get("next")}
