"""A gateway: an HTTP server in front of any transport.

It answers `POST /v1/call` (one request in, frames out as they arrive) and `GET /v1/health`. Each connection has its own
thread and carries one request: operations block, 200 open waits need about ten megabytes, and without keep-alive no
request can be smuggled in behind another.

A caller can start agents with full rights. So a caller over TCP must prove that it has the token before the gateway
reads any of the body: it sends the token, or signs the request after `GET /v1/challenge` (see `proof`). A caller over
the unix socket needs no token, since only the owner may open it. The gateway does not know the operations.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

from .. import __version__
from .listeners import Listener, listener
from .replay import Once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    from ..wire import Transport

# The names of this machine, as used by itself and its containers.
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1", "host.docker.internal")
_LEAVE = 20.0  # seconds that open calls have to finish when the gateway ends


class Gateway:
    """One gateway.

    Args:
        transport: where requests go.
        token: the token that a caller over TCP must have.
        log: called with a line for each request; it contains no text of a message.
        hosts: names by which callers may address the gateway, besides `LOCAL_NAMES`.
        acts: see `Once`.
    """

    def __init__(
        self,
        transport: Transport,
        token: str,
        log: Callable[[str], None],
        hosts: Collection[str] = (),
        acts: Callable[[str], bool] = lambda op: True,
    ) -> None:
        self.transport, self.token, self.log = transport, token, log
        self.hosts = {*LOCAL_NAMES, *(host.lower() for host in hosts)}
        self.once = Once(acts)
        self.stopping = threading.Event()
        self.large = threading.Lock()  # large requests are read one at a time: a few could fill the memory
        self._since = time.time()
        self._listeners: list[Listener] = []
        self._calls = 0
        self._changed = threading.Condition()

    def listen(self, address: str | tuple[str, int]) -> str:
        """Listen on a unix socket's path, or on host and port. Returns the URL.

        Raises:
            OSError: the address cannot be used.
        """
        self._listeners.append(listener(self, address))
        return self._listeners[-1].url

    def serve(self) -> None:
        """Serve requests until another thread or a signal handler calls `stop`."""
        for one in self._listeners:
            threading.Thread(target=one.serve_forever, args=(0.25,), daemon=True).start()
        self.stopping.wait()
        for one in self._listeners:
            one.shutdown()
            one.server_close()
        with self._changed:
            self._changed.wait_for(lambda: self._calls == 0, _LEAVE)

    def stop(self) -> None:
        """End `serve`. Open waits are disconnected, and their callers try again; operations that act are completed."""
        self.stopping.set()

    @contextmanager
    def calling(self) -> Iterator[int]:
        """Count a call that `serve` must wait for at its end; yields the number of open calls."""
        with self._changed:
            self._calls += 1
            calls = self._calls
        try:
            yield calls
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def health(self) -> dict[str, Any]:
        """The answer to `GET /v1/health`."""
        return {
            "name": "dev-sessions gateway",
            "version": __version__,
            "pid": os.getpid(),
            "since": self._since,
            "addresses": [one.url for one in self._listeners],
        }
