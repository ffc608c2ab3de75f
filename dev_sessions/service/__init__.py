"""The operations: a service answers each request with frames. It never prints and never exits."""

from __future__ import annotations

import time
from importlib import import_module

from ..errors import DevSessionsError, UsageError, unexpected
from ..operations import SAME_VERSION, checked, checked_request_id
from ..system.files import unwritable
from ..wire import Frame
from .context import Context, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config import Settings
    from ..wire import Caller, Request

__all__ = ["OPERATIONS", "Context", "Service", "Session"]

# The function of each operation takes (context, params, request id) and returns a JSON value, or is a generator that
# yields events before it returns one. The parameters are declared in `operations`.
OPERATIONS = {
    "create": "create:create",
    "kill": "kill:kill",
    "attach": "attach:attach",
    "list": "status:list_",
    "status": "status:status",
    "last_message": "status:last_message",
    "logs": "logs:logs",
    "inspect": "inspect:inspect",
    "names": "inspect:names",
    "events": "events:events",
    "wait": "wait:wait",
    "send": "send:send",
    "interrupt": "interrupt:interrupt",
    "revive": "revive:revive",
    "goal": "goal:goal",
    "pending": "questions:pending",
    "respond": "questions:respond",
    "courier": "courier:run",
}


class Service:
    """Runs operations on the sessions of one state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def handle(self, request: Request) -> Iterator[Frame]:
        """Run one operation: any number of event frames, then one result or error frame."""
        context = Context(self._settings)
        try:
            params = checked(request.op, request.params, remote=request.caller is not None)
            id = checked_request_id(request.id)
            context = Context(_settings_for(self._settings, request.caller))
            result = _operation(request.op)(context, params, id)
            if hasattr(result, "__next__"):
                result = yield from _events(context, result)
            yield from context.notes()
            yield Frame("result", result)
        except Exception as error:
            if self._settings.debug and not isinstance(error, DevSessionsError):
                raise
            if isinstance(error, OSError):
                error = unwritable(str(error.filename or self._settings.home), error)
            elif not isinstance(error, DevSessionsError):
                error = unexpected(error)
            yield from context.notes()
            yield Frame("error", error.to_wire())


def _settings_for(settings: Settings, caller: Caller | None) -> Settings:
    """The settings for a remote caller; its own session becomes the parent of the sessions that it creates.

    Raises:
        UsageError: the name of its session or its root folder is invalid.
    """
    if caller is None:
        return settings
    for text in (caller.parent or "", caller.root or ""):
        if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
            raise UsageError("the caller's session and folder must be UTF-8 text without NUL", next=SAME_VERSION)
    return settings._replace(parent=caller.parent, depth=caller.depth, root=caller.root)


def _operation(op: str):  # type: ignore[no-untyped-def]
    module, _, function = OPERATIONS[op].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), function)


def _events(context: Context, operation):  # type: ignore[no-untyped-def]
    """The events of an operation as frames; None becomes a keep-alive."""
    began = time.monotonic()
    while True:
        try:
            event = next(operation)
        except StopIteration as end:
            return end.value
        yield from context.notes()
        yield Frame("alive", round(time.monotonic() - began, 1)) if event is None else Frame("event", event)
