"""Agent notices during a wait: an agent asks something, or reports an error that it expects to pass."""

from __future__ import annotations

import time

from ..errors import DevSessionsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..backends.base import Listener
    from ..system.waiting import Watcher
    from .context import Session

# A turn that ends by then has nothing to report. Seconds.
_PATIENCE = 2.0


class Notices:
    """Reads the notices of agents that send some (see `base.Listens`); yields each error once, until it changes.

    Use as a context manager.

    Attributes:
        moved: ids of sessions whose state may have changed, or that have a new error.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._since = time.monotonic()
        self._listeners: dict[str, Listener] = {}
        self._tried: set[str] = set()
        self._silent: set[str] = set()
        self._last: dict[str, str] = {}
        self._new: dict[str, str] = {}
        self.moved: set[str] = set()

    def read(self) -> set[str]:
        """Read what has arrived; returns the ids of sessions that have moved or lost their listener."""
        for id, listener in list(self._listeners.items()):
            if listener.descriptor in self._watcher.changed and not self._read(id):
                self.moved.add(id)
        moved, self.moved = self.moved, set()
        return moved

    def new(self, sessions: Sequence[Session]) -> Iterator[dict[str, Any]]:
        """Listen to the sessions that are working; yields their new errors as events of an operation."""
        for session in sessions:
            if session.id not in self._listeners and session.id not in self._silent:
                yield from self._listen(session)
            error = self._new.pop(session.id, None)
            if error is not None and error != self._last.get(session.id):
                self._last[session.id] = error
                yield {"note": f"{session.id}: {error}"}

    def last(self, session: Session) -> str | None:
        """The last error that a session reported."""
        return self._last.get(session.id)

    def __enter__(self) -> Notices:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners.values():
            listener.close()

    def _listen(self, session: Session) -> Iterator[dict[str, Any]]:
        from ..backends.base import Listens

        backend = session.backend
        if not isinstance(backend, Listens):
            self._silent.add(session.id)
            return
        early = time.monotonic() - self._since < _PATIENCE
        listener = None
        try:
            listener = backend.listen(session, soon=early or session.id in self._tried)
        except DevSessionsError as error:
            self._silent.add(session.id)
            self._last[session.id] = error.message
            yield {"note": f"{session.id}: {error.message}"}
        if not early:
            self._tried.add(session.id)
        if listener is not None:
            self._listeners[session.id] = listener
            self._watcher.watch_descriptor(listener.descriptor)
            self._read(session.id)

    def _read(self, id: str) -> bool:
        """Read what a session's listener has received; False if it was closed and is now removed."""
        heard = self._listeners[id].heard()
        if heard is None:
            listener = self._listeners.pop(id)
            self._watcher.forget_descriptor(listener.descriptor)
            listener.close()
            return False
        if heard.complaints:
            self._new[id] = heard.complaints[-1]
        if heard.moved or heard.complaints:
            self.moved.add(id)
        return True
