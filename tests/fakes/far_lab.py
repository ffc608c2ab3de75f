"""A lab whose commands all go through gateways, like those of a container.

The tests of the commands that have the mark `gateway` run a second time like this: paths, streams, news, cuts, request
ids, exit codes, and each command once. The code behind the seam is the same for both ways, and
`tests/contract/test_transport.py` shows the seam itself. Each environment that a test gives its commands is that of the
host too: there is a gateway for each, in this process, behind a unix socket. Paths are the same on both sides.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import Lab

from dev_sessions import app, config
from dev_sessions.errors import DevSessionsError
from dev_sessions.gateway.server import Gateway

if TYPE_CHECKING:
    from dev_sessions.wire import Frame, Request, Transport

THROUGH_A_GATEWAY = bool(os.environ.get("DEV_SESSIONS_TEST_GATEWAY"))


class _Waiting:
    """Knows which threads of this process are in a `wait`."""

    def __init__(self) -> None:
        self._threads: set[int] = set()

    def noting(self, transport: Transport) -> Transport:
        """The transport, whose waits are known."""
        return _Noting(transport, self._threads)

    def all_rest(self) -> bool:
        """True if there is one, and each has had its first look (Linux)."""
        waits = list(self._threads)
        return bool(waits) and all("poll" in Path(f"/proc/self/task/{one}/wchan").read_text() for one in waits)


class _Noting:
    def __init__(self, transport: Transport, threads: set[int]) -> None:
        self._transport, self._threads = transport, threads

    def handle(self, request: Request) -> Iterator[Frame]:
        if request.op != "wait":
            yield from self._transport.handle(request)
            return
        self._threads.add(threading.get_native_id())
        try:
            yield from self._transport.handle(request)
        finally:
            self._threads.discard(threading.get_native_id())


class LabBehindAGateway(Lab):
    """Starts the gateways as they are needed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._waiting = _Waiting()
        self._gateways: dict[frozenset[tuple[str, str]], tuple[str, Gateway, threading.Thread]] = {}

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        env = super().environment(more)
        if any(name.startswith("DEV_SESSIONS_GATEWAY") or name == "DEV_SESSIONS_SANDBOX" for name in more or ()):
            return env  # a test of that itself
        try:
            url = self._url(env)
        except DevSessionsError:
            return env  # no host could have it either
        return {**env, "DEV_SESSIONS_SANDBOX": "1", "DEV_SESSIONS_GATEWAY_URL": url, **SAME_PATHS}

    def _url(self, env: dict[str, str]) -> str:
        key = frozenset(env.items())
        if key not in self._gateways:
            settings = config.load(env)._replace(allowed=("/",))
            gateway = Gateway(self._waiting.noting(app.local(settings)), "", log=lambda line: None)
            url = gateway.listen(str(self.tmux_folder / f"gateway-{len(self._gateways)}"))
            serving = threading.Thread(target=gateway.serve)
            serving.start()
            self._gateways[key] = url, gateway, serving
        return self._gateways[key][0]

    def is_waiting(self, pid: int) -> bool:
        try:
            asked = "poll" in Path(f"/proc/{pid}/wchan").read_text()
        except FileNotFoundError:
            return False
        return asked and self._waiting.all_rest()

    def close(self) -> None:
        for _, gateway, _ in self._gateways.values():
            gateway.stop()
        for _, _, serving in self._gateways.values():
            serving.join()
        super().close()


SAME_PATHS = {"HOST_PATH": "/", "CONTAINER_WORKSPACE": "/"}
