"""HTTP in front of any transport: `POST /v1/call` (one request in, frames out as they come), `GET /v1/health`.

A thread for each connection and one request for each connection, by the standard library: the operations block, 200
open waits cost some ten megabytes, and without keep-alive nothing can be smuggled behind a request. Whoever may call
can start agents that may do anything, so a caller over TCP proves that it has the token before a byte of its body is
read (by `GET /v1/challenge`, see `proof`, or by showing it); a caller over the unix socket has shown that it may open
it. No module here knows any operation.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

from .. import __version__
from .listeners import Listener, listener, told
from .replay import Once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    from ..wire import Transport

# Names of this machine, as it and the containers on it call it.
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1", "host.docker.internal")
# For operations that act, when the gateway is told to end. Seconds.
_LEAVE = 20.0


class Gateway:
    """What all listeners of one gateway share.

    Args:
        transport: where requests go.
        token: what a caller over TCP has to have.
        log: called with a line for each request; it holds nothing of what was said.
        hosts: names by which the gateway may be called, besides those of this machine.
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
        # What is large is taken in one at a time, or a few callers could fill the memory.
        self.large = threading.Lock()
        self._since = time.time()
        self._listeners: list[Listener] = []
        self._calls = 0
        self._changed = threading.Condition()

    def listen(self, address: str | tuple[str, int]) -> str:
        """Take an address: a path for a unix socket, or host and port. Returns it as a URL.

        Raises:
            OSError: it is not to be had.
        """
        self._listeners.append(listener(self, address))
        return told(self._listeners[-1].server_address)

    def serve(self) -> None:
        """Answer until `stop` is called, by another thread or by a signal."""
        for one in self._listeners:
            threading.Thread(target=one.serve_forever, args=(0.25,), daemon=True).start()
        self.stopping.wait()
        for one in self._listeners:
            one.shutdown()
            one.server_close()
        with self._changed:
            self._changed.wait_for(lambda: self._calls == 0, _LEAVE)

    def stop(self) -> None:
        """End `serve`: open waits are cut, and their callers ask again; what acts is brought to its end."""
        self.stopping.set()

    @contextmanager
    def calling(self) -> Iterator[int]:
        """A call, which `serve` waits for at its end; gives how many there are."""
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
        """What `GET /v1/health` tells."""
        return {
            "name": "dev-sessions gateway",
            "version": __version__,
            "pid": os.getpid(),
            "since": self._since,
            "addresses": [told(one.server_address) for one in self._listeners],
        }
