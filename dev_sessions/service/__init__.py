"""Every operation, once. A service answers requests with frames; it never prints and never exits."""

from __future__ import annotations

import time
from importlib import import_module

from ..errors import DevSessionsError, UsageError, unexpected
from ..files import unwritable
from ..wire import Frame
from .house import House

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config import Settings
    from ..wire import Caller, Request

__all__ = ["OPERATIONS", "House", "Service"]

# Where each operation is: a function of (house, params, request id) that returns a JSON value, or a generator that
# yields events on its way to one.
OPERATIONS = {
    "create": "creating:create",
    "kill": "sessions:kill",
    "attach": "sessions:attach",
    "list": "reading:list_",
    "status": "reading:status",
    "last_message": "reading:last_message",
    "logs": "telling:logs",
    "inspect": "inspecting:inspect",
    "names": "inspecting:names",
    "events": "happening:events",
    "wait": "watching:wait",
    "send": "conversation:send",
    "interrupt": "conversation:interrupt",
    "revive": "reviving:revive",
    "goal": "goals:goal",
    "pending": "questions:pending",
    "respond": "questions:respond",
    "courier": "courier:run",
}
# For processes of this machine only: it takes the process that runs it for its own.
_OURS = {"courier"}


class Service:
    """Runs operations on the sessions of one state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def handle(self, request: Request) -> Iterator[Frame]:
        """Run one operation: any number of event frames, then one result or error frame."""
        house = House(_on_behalf(self._settings, request.caller))
        try:
            result = _operation(request)(house, request.params, request.id)
            if hasattr(result, "__next__"):
                result = yield from _events(house, result)
            yield from house.said()
            yield Frame("result", result)
        except DevSessionsError as error:
            yield from house.said()
            yield Frame("error", error.to_wire())
        except OSError as error:
            if self._settings.debug:
                raise
            yield from house.said()
            yield Frame("error", unwritable(str(error.filename or self._settings.home), error).to_wire())
        except Exception as error:
            if self._settings.debug:
                raise
            yield from house.said()
            yield Frame("error", unexpected(error).to_wire())


def _on_behalf(settings: Settings, caller: Caller | None) -> Settings:
    """The settings for a caller elsewhere: another session stands above what it starts."""
    if caller is None:
        return settings
    return settings._replace(parent=caller.parent, depth=caller.depth, root=caller.root)


def _operation(request: Request):  # type: ignore[no-untyped-def]
    where = OPERATIONS.get(request.op)
    if where is None or (request.op in _OURS and request.caller is not None):
        raise UsageError(
            f"no operation called {request.op!r}", next="use the same version of dev-sessions on both sides"
        )
    module, _, function = where.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), function)


def _events(house: House, operation):  # type: ignore[no-untyped-def]
    """What an operation yields; nothing (None) is a sign of life."""
    began = time.monotonic()
    while True:
        try:
            event = next(operation)
        except StopIteration as end:
            return end.value
        yield from house.said()
        yield Frame("alive", round(time.monotonic() - began, 1)) if event is None else Frame("event", event)
