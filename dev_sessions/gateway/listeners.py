"""The sockets that a gateway listens on, and the patience that it has with those who connect."""

from __future__ import annotations

import os
import socket
import socketserver
import time
from contextlib import suppress

from .call import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .server import Gateway

# How many may be about to say what they want; one more, and the one that has taken longest is hung up on.
MOST_STRANGERS = 64


def listener(gateway: Gateway, address: str | tuple[str, int]) -> Listener:
    """One that listens already.

    Raises:
        OSError: the address is not to be had.
    """
    if isinstance(address, str):
        return _UnixListener(gateway, address)
    return (_V6Listener if ":" in address[0] else Listener)(gateway, address)


def told(address: Any) -> str:
    """An address of a listener as a URL."""
    if isinstance(address, str):
        return f"unix://{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"


class Listener(socketserver.ThreadingTCPServer):
    """Listens over TCP on IPv4."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256
    # Whoever can open a unix socket has shown who he is.
    wants_token = True

    def __init__(self, gateway: Gateway, address: Any) -> None:
        self.gateway = gateway
        self._deadlines: dict[socket.socket, float] = {}
        super().__init__(address, Call)

    def expect(self, connection: socket.socket, seconds: float) -> None:
        """Hang up on a connection in so many seconds, unless it is trusted or gone by then."""
        self._deadlines[connection] = time.monotonic() + seconds

    def trust(self, connection: socket.socket) -> bool:
        """Let a connection take its time; False if it was trusted before."""
        return self._deadlines.pop(connection, None) is not None

    def service_actions(self) -> None:
        """Called four times a second."""
        now = time.monotonic()
        for connection, deadline in list(self._deadlines.items()):
            if deadline < now:
                _hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A connection has come; called by the one thread that accepts."""
        strangers = list(self._deadlines)
        if len(strangers) >= MOST_STRANGERS:
            _hang_up(strangers[0])
            self.trust(strangers[0])
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no matter for the log: whatever was asked has its own line."""


class _V6Listener(Listener):
    address_family = socket.AF_INET6


class _UnixListener(Listener):
    address_family = socket.AF_UNIX
    allow_reuse_address = False
    wants_token = False

    def server_bind(self) -> None:
        before = os.umask(0o177)
        try:
            self.socket.bind(self.server_address)
        finally:
            os.umask(before)

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = super().get_request()
        return connection, ("unix", 0)

    def server_close(self) -> None:
        # As long as it is listened on, nobody else takes the path for his own.
        with suppress(OSError):
            os.unlink(str(self.server_address))
        super().server_close()


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
