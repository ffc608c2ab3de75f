"""The sockets of a gateway, and the time limit for a new connection to send its request."""

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

# Connections that have not sent their request yet; beyond this number the oldest one is closed.
MOST_PENDING = 64


def listener(gateway: Gateway, address: str | tuple[str, int]) -> Listener:
    """Listen on an address: a path, or host and port.

    Raises:
        OSError: the address cannot be used.
    """
    if isinstance(address, str):
        return _UnixListener(gateway, address)
    return (_V6Listener if ":" in address[0] else Listener)(gateway, address)


class Listener(socketserver.ThreadingTCPServer):
    """Listens over TCP on IPv4."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256
    wants_token = True  # not needed for a unix socket, since its mode decides who may open it

    def __init__(self, gateway: Gateway, address: Any) -> None:
        self.gateway = gateway
        self._deadlines: dict[socket.socket, float] = {}
        super().__init__(address, Call)

    @property
    def url(self) -> str:
        address: Any = self.server_address
        if isinstance(address, str):
            return f"unix://{address}"
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"http://{host}:{address[1]}"

    def set_deadline(self, connection: socket.socket, seconds: float) -> None:
        """Close a connection after that many seconds, unless `clear_deadline` is called first."""
        self._deadlines[connection] = time.monotonic() + seconds

    def clear_deadline(self, connection: socket.socket) -> bool:
        """Remove a connection's deadline; False if it had none."""
        return self._deadlines.pop(connection, None) is not None

    def service_actions(self) -> None:
        """Called four times a second."""
        now = time.monotonic()
        for connection, deadline in list(self._deadlines.items()):
            if deadline < now:
                _shut_down(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Called for each new connection, by the one thread that accepts them."""
        pending = list(self._deadlines)
        if len(pending) >= MOST_PENDING:
            _shut_down(pending[0])
            self.clear_deadline(pending[0])
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not log a broken connection: its request has its own line."""


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
        with suppress(OSError):  # before we stop listening: then another gateway may have the path
            os.unlink(str(self.server_address))
        super().server_close()


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
