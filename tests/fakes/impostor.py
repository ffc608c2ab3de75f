"""A program of another user that listens on the gateway's port while the gateway is down."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Impostor:
    """Listens on a port of the loopback, records all that it gets, and answers each connection once.

    Args:
        answer: what it says to the first bytes that come; b"" to hang up.
        port: 0 takes a free one.
    """

    def __init__(self, answer: Callable[[bytes], bytes], port: int = 0) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.got: list[bytes] = []  # an item for each connection
        self._thread = threading.Thread(target=self._listen)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Impostor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # ends accept
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    self._meet(connection)

    def _meet(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        got = connection.recv(65_536)
        self.got.append(got)
        if said := self._answer(got):
            connection.sendall(said)
            while more := connection.recv(65_536):
                self.got[-1] += more


def header(head: bytes, name: str) -> str:
    """The value of a header, or ""."""
    for line in head.decode("latin-1").split("\r\n"):
        if line.lower().startswith(f"{name.lower()}:"):
            return line.partition(":")[2].strip()
    return ""


def challenge_answer(nonce: str, proof: str) -> bytes:
    """A gateway's answer to a challenge."""
    return f"HTTP/1.1 204 No Content\r\nDev-Sessions-Nonce: {nonce}\r\nDev-Sessions-Proof: {proof}\r\n\r\n".encode()
