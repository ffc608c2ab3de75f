"""The messages of Codex's app-server: JSON-RPC 2.0 without its "jsonrpc" field. Pure: no input, no output.

Shapes as of Codex 0.146.0 to 0.171.0.
"""

from __future__ import annotations

import json

from ...values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLIENT = {"name": "dev-sessions", "title": "dev-sessions"}
# The output of the model and of commands, piece by piece, which we do not read.
_UNWANTED = (
    "item/agentMessage/delta",
    "item/commandExecution/outputDelta",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/textDelta",
    "thread/tokenUsage/updated",
)


class Refused(Exception):
    """The app-server answered with an error.

    Args:
        code: JSON-RPC's number.
        message: the server's message.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Answer(NamedTuple):
    """The end of the request `id`: a result, or an error."""

    id: Any
    result: Any
    error: Refused | None


class Notice(NamedTuple):
    """A message of the server that is not an answer; one with an `id` is a request that expects our answer."""

    method: str
    params: dict[str, Any]
    id: Any = None


class Status(NamedTuple):
    """The status of a thread: `kind` is "notLoaded", "idle", "active", "systemError" or "" (not reported)."""

    kind: str
    flags: tuple[str, ...] = ()

    @property
    def waiting(self) -> bool:
        """True if it waits for a person's answer."""
        return any(flag.lower().startswith("waitingon") for flag in self.flags)


def initialization(version: str) -> dict[str, Any]:
    """The parameters of `initialize`, the first request on every connection."""
    capabilities = {"experimentalApi": True, "optOutNotificationMethods": list(_UNWANTED)}
    return {"clientInfo": {**CLIENT, "version": version}, "capabilities": capabilities}


def version(greeting: dict[str, Any]) -> str:
    """The version of a server, by its answer to `initialize`; empty if it does not name one."""
    return str(greeting.get("userAgent") or "").partition("/")[2].partition(" ")[0]


def parse(text: str | bytes) -> Answer | Notice | None:
    """One message of the server; None for anything else."""
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
    error = value.get("error")
    if error is None:
        return Answer(value["id"], value.get("result"), None)
    fields = error if isinstance(error, dict) else {"message": error}
    code = fields["code"] if isinstance(fields.get("code"), int) else 0
    return Answer(value["id"], value.get("result"), Refused(code, str(fields.get("message", "no reason given"))))


def status(value: Any) -> Status:
    """A thread's status, from an answer of the server."""
    fields = value if isinstance(value, dict) else {}
    flags = fields.get("activeFlags")
    return Status(str(fields.get("type") or ""), tuple(map(str, flags)) if isinstance(flags, list) else ())


def complaint(notice: Notice, thread: str) -> str | None:
    """The error that this thread's turn is retrying, in the server's words; None if the notice is about none."""
    error = notice.params.get("error")
    if notice.method != "error" or notice.params.get("threadId") != thread or not isinstance(error, dict):
        return None
    if not notice.params.get("willRetry"):
        return None  # the turn fails with it, and its end has the error
    details = error.get("additionalDetails")
    return f"{error.get('message')} ({details})" if details else str(error.get("message"))
