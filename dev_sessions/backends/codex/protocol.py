"""What Codex's app-server says and is told: JSON-RPC 2.0 without its "jsonrpc" field. Pure: no input, no output.

Shapes as of Codex 0.169.0; what older versions said differently is read as well.
"""

from __future__ import annotations

import json

from ...values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLIENT = {"name": "dev-sessions", "title": "dev-sessions"}
# Word by word what the model says: nothing that a command of ours would ever read.
_UNWANTED = (
    "item/agentMessage/delta",
    "item/commandExecution/outputDelta",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/textDelta",
    "thread/tokenUsage/updated",
)
# Servers have one code for every refusal (-32600); that they do not know a request, only their words tell.
METHOD_MISSING = ("unknown variant", "method not found")


class Refused(Exception):
    """The app-server answered with an error.

    Args:
        code: JSON-RPC's number.
        message: the server's words.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message

    def says(self, words: tuple[str, ...]) -> bool:
        """True if the server's words hold one of these."""
        return any(word.lower() in self.message.lower() for word in words)


class Answer(NamedTuple):
    """The end of the request `id`: a result, or an error."""

    id: Any
    result: Any
    error: Refused | None


class Notice(NamedTuple):
    """What the server says unasked; with an `id`, it waits for an answer."""

    method: str
    params: dict[str, Any]
    id: Any = None


class Status(NamedTuple):
    """What a thread does: `kind` is "notLoaded", "idle", "active", "systemError" or "" (the version does not tell)."""

    kind: str
    flags: tuple[str, ...] = ()

    @property
    def waiting(self) -> bool:
        """It waits for a person's answer."""
        return any(flag.lower().startswith("waitingon") for flag in self.flags)


def request(id: int, method: str, params: dict[str, Any]) -> str:
    """A request as it goes over the wire."""
    return json.dumps({"id": id, "method": method, "params": params})


def reply(id: Any, result: Any) -> str:
    """Our answer to what the server asks under that id."""
    return json.dumps({"id": id, "result": result})


def notification(method: str) -> str:
    return json.dumps({"method": method})


def initialization(version: str) -> dict[str, Any]:
    """The parameters of `initialize`, the first request on every connection."""
    capabilities = {"experimentalApi": True, "optOutNotificationMethods": list(_UNWANTED)}
    return {"clientInfo": {**CLIENT, "version": version}, "capabilities": capabilities}


def parse(text: str | bytes) -> Answer | Notice | None:
    """One message of the server; None for what is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("method"), str):
        params = value.get("params")
        return Notice(value["method"], params if isinstance(params, dict) else {}, value.get("id"))
    if "id" not in value:
        return None
    return Answer(value["id"], value.get("result"), _refusal(value.get("error")))


def _refusal(error: Any) -> Refused | None:
    if error is None:
        return None
    fields = error if isinstance(error, dict) else {"message": str(error)}
    code = fields.get("code")
    return Refused(code if isinstance(code, int) else 0, str(fields.get("message", "no reason given")))


def status(value: Any) -> Status:
    """A thread's status in any of its recorded shapes: a word, a tagged object, or a word with details inside."""
    if isinstance(value, str):
        return Status(value)
    if not isinstance(value, dict) or not value:
        return Status("")
    if isinstance(value.get("type"), str):
        return Status(value["type"], _flags(value))
    kind, details = next(iter(value.items()))
    return Status(str(kind), _flags(details if isinstance(details, dict) else {}))


def complaint(notice: Notice, thread: str) -> str | None:
    """What that thread's turn has run into and tries again, in the server's words."""
    error = notice.params.get("error")
    if notice.method != "error" or notice.params.get("threadId") != thread or not isinstance(error, dict):
        return None
    if not notice.params.get("willRetry"):
        return None  # the turn fails by it, and will say so
    details = error.get("additionalDetails")
    return f"{error.get('message')} ({details})" if details else str(error.get("message"))


def _flags(fields: dict[str, Any]) -> tuple[str, ...]:
    found = fields.get("activeFlags") or fields.get("active_flags") or ()
    return tuple(str(flag) for flag in found) if isinstance(found, (list, tuple)) else ()
