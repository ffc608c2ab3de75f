"""Makes questions from the app-server's own requests, by which a thread asks a person.

The server sends an open request only to clients that join the thread (`thread/resume`), each time that one joins. A
request has a number, counted by each server, and names the call of the model that it is about. A call may lead to
several requests, one after the other. The number and the call together are a question's id.
"""

from __future__ import annotations

import json
import re

from ...model import Part, Question
from ...values import NamedTuple, as_number
from .protocol import Refused
from .rollout import SCRIPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .connection import Connection
    from .protocol import Notice
    from .rollout import Call

COMMAND = "item/commandExecution/requestApproval"
CHANGE = "item/fileChange/requestApproval"
INPUT = "item/tool/requestUserInput"
RESOLVED = "serverRequest/resolved"


class Request(NamedTuple):
    """An open request of the server. `number` is its id in this server, `call` the id of the model's call."""

    number: Any
    call: str
    method: str
    params: dict[str, Any]

    @property
    def id(self) -> str:
        return _plain(f"{self.call}.{self.number}")


def requests(connection: Connection, thread: str) -> list[Request]:
    """The open requests of a thread that waits for an answer. Never call it for one at rest: it would pursue its goal.

    Raises:
        Lost, Silent: the server does not answer.
    """
    try:
        connection.call("thread/resume", threadId=thread, excludeTurns=True)
        # The requests come after that answer, and before the answer to another call.
        connection.call("thread/read", threadId=thread)
    except Refused:
        return []
    return still_open(connection.news(), thread)


def still_open(notices: Sequence[Notice], thread: str) -> list[Request]:
    """The requests of a thread in the server's notices, in their order, without those that were answered since."""
    found: dict[Any, Request] = {}
    for notice in notices:
        if notice.params.get("threadId") != thread:
            continue
        if notice.method == RESOLVED:
            found.pop(notice.params.get("requestId"), None)
        elif notice.id is not None:
            call = str(notice.params.get("itemId") or notice.params.get("callId") or notice.method)
            found[notice.id] = Request(notice.id, call, notice.method, notice.params)
    return list(found.values())


def question(request: Request, calls: Sequence[Call], now: float) -> Question:
    """A request as a question; `calls` are the open calls of the model. A script makes its own calls."""
    call = next((call for call in calls if call.id == request.call), None)
    call = call or next((call for call in reversed(calls) if call.name == SCRIPT), None)
    params = request.params
    since = as_number(params.get("startedAtMs")) / 1000 or (call.at if call else now)
    if request.method == INPUT:
        parts = tuple(_part(item) for item in params.get("questions") or () if isinstance(item, dict))
        options = tuple(label for part in parts for label in part.options)
        return Question(request.id, "question", "\n".join(part.text for part in parts), options, since, parts)
    options = ("allow", "always", "deny") if request.method in (COMMAND, CHANGE) else ()
    return Question(request.id, "permission", _permission(request, call), options, since)


def of_call(call: Call) -> Question:
    """The question in a call, as far as the rollout shows it, for a server that does not send its requests."""
    return Question(_plain(call.id), "permission", _shown(call), (), call.at)


def _plain(id: str) -> str:
    """An id made safe for commands and file names, since the model's server chooses it."""
    return "q" * id.startswith(("-", ".")) + re.sub(r"[^A-Za-z0-9._-]", "_", id)[-120:]


def _part(item: dict[str, Any]) -> Part:
    options = [option for option in item.get("options") or () if isinstance(option, dict)]
    labels = tuple(str(option.get("label", "")) for option in options)
    details = tuple(str(option.get("description") or "") for option in options)
    return Part(str(item.get("question", "")), labels, details)


def _permission(request: Request, call: Call | None) -> str:
    """The full text of a request for permission: the command or the change, its folder, and the reason."""
    params = request.params
    if params.get("command") and (call is None or call.name == SCRIPT):
        lines = [f"exec_command: {params['command']}", *([f"workdir: {params['cwd']}"] if params.get("cwd") else [])]
    else:
        lines = [_shown(call) if call else f"{request.method}: {json.dumps(params)}"]
    network = params.get("networkApprovalContext")
    if isinstance(network, dict):
        lines.append(f"network: {network.get('protocol')} to {network.get('host')}")
    if params.get("additionalPermissions"):
        lines.append(f"permissions: {json.dumps(params['additionalPermissions'])}")
    if params.get("grantRoot"):
        lines.append(f"writes below: {params['grantRoot']}")
    reason = str(params.get("reason") or "")
    return "\n".join([*lines, reason] if reason and reason not in lines[0] else lines)


def _shown(call: Call) -> str:
    given = call.given
    what = given.get("cmd") or given.get("command") or given.get("input") or json.dumps(given)
    lines = [f"{call.name}: {' '.join(map(str, what)) if isinstance(what, list) else what}"]
    lines += [f"{name}: {given[name]}" for name in ("workdir", "sandbox_permissions") if given.get(name)]
    return "\n".join([*lines, str(given["justification"])] if given.get("justification") else lines)
