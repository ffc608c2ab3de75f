"""What agents complain of while a `wait` lasts: trouble that they expect to pass, and of which no fact is made."""

from __future__ import annotations

import time

from ..errors import DevSessionsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..backends.base import Listener, Session
    from ..waiting import Watcher
    from .house import House

# A turn that ends by then has nothing to complain of. Seconds.
_PATIENCE = 2.0


class Ears:
    """Listens to agents that can be heard (see `base.Listens`); tells each complaint once, until it changes.

    Use as a context manager.
    """

    def __init__(self, house: House, watcher: Watcher) -> None:
        self._house, self._watcher = house, watcher
        self._since = time.monotonic()
        self._listeners: dict[str, Listener] = {}
        self._tried: set[str] = set()
        self._last: dict[str, str] = {}

    def attend(self, sessions: Sequence[Session]) -> Iterator[dict[str, Any]]:
        """The new complaints of sessions at work, as events of an operation."""
        if time.monotonic() - self._since < _PATIENCE:
            return
        for session in sessions:
            if session.id not in self._tried:
                yield from self._listen(session)
            if session.id in self._listeners:
                yield from self._heard(session)

    def last(self, session: Session) -> str | None:
        """What a session has complained of last."""
        return self._last.get(session.id)

    def __enter__(self) -> Ears:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners.values():
            listener.close()

    def _listen(self, session: Session) -> Iterator[dict[str, Any]]:
        from ..backends.base import Listens

        self._tried.add(session.id)
        backend = self._house.backend(session)
        listener = None
        try:
            if isinstance(backend, Listens):
                listener = backend.listen(session)
        except DevSessionsError as error:
            self._last[session.id] = error.message
            yield {"note": f"{session.id}: {error.message}"}
        if listener is not None:
            self._listeners[session.id] = listener
            self._watcher.watch_descriptor(listener.descriptor)

    def _heard(self, session: Session) -> Iterator[dict[str, Any]]:
        words = self._listeners[session.id].heard()
        if words is None:
            listener = self._listeners.pop(session.id)
            self._watcher.forget_descriptor(listener.descriptor)
            listener.close()
        elif words and words[-1] != self._last.get(session.id):
            self._last[session.id] = words[-1]
            yield {"note": f"{session.id}: {words[-1]}"}
