"""Every operation, once. A service answers requests with frames; it never prints and never exits."""

from __future__ import annotations

import time
from importlib import import_module

from ..errors import DevSessionsError, UsageError, unexpected
from ..files import unwritable
from ..operations import SAME_VERSION, checked, checked_request_id
from ..wire import Frame
from .house import House

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config import Settings
    from ..wire import Caller, Request

__all__ = ["OPERATIONS", "House", "Service"]

# Where each operation is: a function of (house, params, request id) that returns a JSON value, or a generator that
# yields events on its way to one. What each takes is declared in `operations`.
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


class Service:
    """Runs operations on the sessions of one state folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def handle(self, request: Request) -> Iterator[Frame]:
        """Run one operation: any number of event frames, then one result or error frame."""
        house = House(self._settings)
        try:
            params = checked(request.op, request.params, from_elsewhere=request.caller is not None)
            id = checked_request_id(request.id)
            house = House(_on_behalf(self._settings, request.caller))
            result = _operation(request.op)(house, params, id)
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
    """The settings for a caller elsewhere: another session stands above what it starts.

    Raises:
        UsageError: the caller says of itself what cannot be.
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
