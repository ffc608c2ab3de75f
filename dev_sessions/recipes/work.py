"""One session from its create to its reply.

Each step is a request with an id of its own and is on record before the next begins. Whoever repeats the whole thing
with the same record, at whatever point it was cut, starts no second agent and sends nothing twice.
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
        """How far the work has come."""

        def state(self) -> dict[str, Any]: ...

        def note(self, **fields: Any) -> dict[str, Any]: ...

    # Called with the new phase: "starting", "working", or the outcome.
    Tell = Callable[[str], None]

STARTING, WORKING = "starting", "working"
# The outcome of work that came to no turn, or whose turn cannot be asked about.
ERROR = "error"


class Notes:
    """A log of this process's own."""

    def __init__(self) -> None:
        self._state: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        return self._state

    def note(self, **fields: Any) -> dict[str, Any]:
        self._state |= fields
        return self._state


def is_over(state: Mapping[str, Any]) -> bool:
    """True if the work can come no further by being waited for again."""
    return state.get("outcome") not in (None, "waiting_for_input", "timeout", ERROR)


def work(client: Client, branch: Branch, request_id: str, log: Log, tell: Tell, keep: bool = False) -> dict[str, Any]:
    """Do what is left to be done, whatever comes of it; returns the log's state, which has an `outcome` then.

    `keep`: leave the session there when it is done.
    """
    try:
        if not is_over(log.state()):
            carry(client, branch, request_id, log, tell)
        if not keep:
            clean_up(client, log)
    except Exception as error:
        log.note(**failure(error))
    tell(str(log.state()["outcome"]))
    return log.state()


def carry(client: Client, branch: Branch, request_id: str, log: Log, tell: Tell) -> dict[str, Any]:
    """Create, send and wait, as far as that was not done; returns what `wait` said, and the `reply`.

    Raises:
        DevSessionsError: there is no session, or its first message was not sent; the message says which.
    """
    if "turn" not in log.state():
        _begin(client, branch, request_id, log, tell)
    tell(WORKING)
    id, turn = log.state()["session"], log.state()["turn"]
    ended = client.wait([id], turn=turn, settled=branch.settled, timeout=branch.timeout)[0]
    reply = next((one["reply"] for one in ended["turns"] if one["turn"] == turn), None)
    done = {"reply": reply, "report": templates.report(reply)} if ended["outcome"] == COMPLETED else {}
    done |= {name: ended.get(name) for name in ("error", "reason", "resets_at", "question")}
    log.note(outcome=ended["outcome"], next=None, **done)
    return {**ended, "reply": reply}


def _begin(client: Client, branch: Branch, request_id: str, log: Log, tell: Tell) -> None:
    tell(STARTING)
    record = client.create(request_id, **branch.options)
    log.note(session=record["id"], cli=record["cli"], path=record["path"])
    log.note(turn=briefing.tell(client, branch.brief, request_id, record)["turn"])


def clean_up(client: Client, log: Log) -> bool:
    """End the session of work that is done, if it is at rest; True if it is no more. One that is blocked may be told
    more.
    """
    state = log.state()
    report = state.get("report")
    blocked = report is not None and report["status"] == "BLOCKED"
    if state.get("outcome") == COMPLETED and not state.get("killed") and not blocked and _rests(client, log):
        end(client, log)
    return bool(log.state().get("killed"))


def _rests(client: Client, log: Log) -> bool:
    """True if the session has nothing unfinished; notes the commands that run on in it, and end with it."""
    try:
        status = client.status(log.state()["session"])
    except DevSessionsError as error:
        return error.code == "not_found"  # to be noted as gone
    log.note(left=[one["text"] for one in status["left"]], busy=status["status"] not in (IDLE, EXITED))
    return not log.state()["busy"]


def end(client: Client, log: Log) -> str | None:
    """End a session that is there; what went wrong, if it is there still."""
    try:
        client.kill([log.state()["session"]])
    except DevSessionsError as error:
        if error.code != "not_found":
            log.note(unkilled=error.message)
            return error.message
    log.note(killed=True)
    return None


def failure(error: Exception) -> dict[str, Any]:
    """What a log says of an error."""
    told = error if isinstance(error, DevSessionsError) else unexpected(error)
    return {"outcome": ERROR, "error": told.message, "next": told.data.get("next")}
