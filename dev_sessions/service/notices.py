"""What agents can be heard of while somebody waits: that they begin to ask, and trouble that they expect to pass."""

from __future__ import annotations

import time

from ..errors import DevSessionsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..backends.base import Listener, Session
    from ..system.waiting import Watcher
    from .context import Context

# A turn that ends by then has nothing to complain of. Seconds.
_PATIENCE = 2.0


class Ears:
    """Listens to agents that can be heard (see `base.Listens`); tells each complaint once, until it changes.

    Use as a context manager.

    Attributes:
        stirred: sessions at which another look may show more.
    """

    def __init__(self, context: Context, watcher: Watcher) -> None:
        self._context, self._watcher = context, watcher
        self._since = time.monotonic()
        self._listeners: dict[str, Listener] = {}
        self._tried: set[str] = set()
        self._deaf: set[str] = set()
        self._last: dict[str, str] = {}
        self._untold: dict[str, str] = {}
        self.stirred: set[str] = set()

    def hear(self) -> set[str]:
        """Take in what has come; the sessions that were stirred since the last call."""
        for id in list(self._listeners):
            self._heard(id)
        stirred, self.stirred = self.stirred, set()
        return stirred

    def attend(self, sessions: Sequence[Session]) -> Iterator[dict[str, Any]]:
        """Listen to those of the sessions that are at work; their new complaints, as events of an operation."""
        for session in sessions:
            if session.id not in self._listeners and session.id not in self._deaf:
                yield from self._listen(session)
            words = self._untold.pop(session.id, None)
            if words is not None and words != self._last.get(session.id):
                self._last[session.id] = words
                yield {"note": f"{session.id}: {words}"}

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

        backend = self._context.backend(session)
        if not isinstance(backend, Listens):
            self._deaf.add(session.id)
            return
        early = time.monotonic() - self._since < _PATIENCE
        listener = None
        try:
            listener = backend.listen(session, soon=early or session.id in self._tried)
        except DevSessionsError as error:
            self._deaf.add(session.id)
            self._last[session.id] = error.message
            yield {"note": f"{session.id}: {error.message}"}
        if not early:
            self._tried.add(session.id)
        if listener is not None:
            self._listeners[session.id] = listener
            self._watcher.watch_descriptor(listener.descriptor)
            self._heard(session.id)

    def _heard(self, id: str) -> None:
        heard = self._listeners[id].heard()
        if heard is None:
            listener = self._listeners.pop(id)
            self._watcher.forget_descriptor(listener.descriptor)
            listener.close()
            return
        if heard.complaints:
            self._untold[id] = heard.complaints[-1]
        if heard.moved:
            self.stirred.add(id)
