"""A connection to an app-server: WebSocket over its unix socket. The only module that imports websockets.

It uses only the protocol part of websockets, which takes half the time to import, starts no threads, and has a
descriptor to poll.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from ... import __version__
from . import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CHUNK = 1 << 18
_LINUX = sys.platform.startswith("linux")
# The longest path that fits into sun_path of unix(7), on every system.
_LONGEST_PATH = 100


class Lost(Exception):
    """Nothing listens there, or the connection was lost."""


class Silent(Exception):
    """A server listens, but does not answer in time."""


class Connection:
    """An initialized connection. Use as a context manager.

    Attributes:
        version: of the server, see `protocol.version`.

    Args:
        path: the app-server's socket.
        timeout: seconds for the connection and the handshake, and for each call without its own timeout.

    Raises:
        Lost: nothing listens there.
        Silent: no answer in time.
        Refused: the server does not accept us.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._timeout = timeout
        self._count = 0
        self._opened = False
        self._parts: list[bytes] = []
        self._answers: dict[int, protocol.Answer] = {}
        self._notices: list[protocol.Notice] = []
        # No extensions: older servers close a handshake with permessage-deflate in it.
        self._protocol = ClientProtocol(parse_uri("ws://localhost/"), max_size=None)
        self._socket = _connected(os.path.realpath(path), timeout)
        try:
            self._protocol.send_request(self._protocol.connect())
            self._flush()
            self._read_until(lambda: self._opened, timeout)
            greeting = self.call("initialize", **protocol.initialization(__version__))
            self.version = protocol.version(greeting)
            self._send(method="initialized")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def peer(self) -> tuple[int, int]:
        """Pid and uid of the process that listens."""
        if _LINUX:
            credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid, uid, _ = struct.unpack("3i", credentials)
            return pid, uid
        return struct.unpack("i", self._socket.getsockopt(0, 0x002, 4))[0], os.geteuid()  # SOL_LOCAL, LOCAL_PEERPID

    @property
    def descriptor(self) -> int:
        """Readable when the server has sent something; see `news`."""
        return self._socket.fileno()

    def call(self, method: str, timeout: float | None = None, /, **params: Any) -> Any:
        """The result of a request.

        Raises:
            Refused, Lost, Silent: there is no result.
        """
        self._count += 1
        number = self._count
        self._send(id=number, method=method, params=params)
        self._read_until(lambda: number in self._answers, self._timeout if timeout is None else timeout)
        answer = self._answers.pop(number)
        if answer.error is not None:
            raise answer.error
        return answer.result

    def reply(self, id: Any, result: Any) -> None:
        """Answer a request of the server, which does not report whether the answer counts.

        Raises:
            Lost, Silent: the server may not have received it.
        """
        self._send(id=id, result=result)

    def news(self) -> list[protocol.Notice]:
        """The server's notices since the last call; does not wait.

        Raises:
            Lost: the server has closed the connection.
        """
        ready = select.poll()
        ready.register(self._socket, select.POLLIN)
        while ready.poll(0):
            self._receive(self._timeout)
        found, self._notices = self._notices, []
        return found

    def _send(self, **message: Any) -> None:
        self._protocol.send_text(json.dumps(message).encode())
        self._flush()

    def _flush(self) -> None:
        self._socket.settimeout(self._timeout)
        try:
            for content in self._protocol.data_to_send():
                if content:
                    self._socket.sendall(content)
        except TimeoutError as error:
            raise Silent("the app-server does not read its messages") from error
        except OSError as error:
            raise Lost(str(error)) from error

    def _read_until(self, done: Callable[[], bool], timeout: float) -> None:
        until = time.monotonic() + timeout
        while not done():
            left = until - time.monotonic()
            if left <= 0:
                raise Silent("the app-server does not answer")
            self._receive(left)

    def _receive(self, seconds: float) -> None:
        self._socket.settimeout(seconds)
        try:
            content = self._socket.recv(_CHUNK)
        except TimeoutError:
            return
        except OSError as error:
            raise Lost(str(error)) from error
        if content:
            self._protocol.receive_data(content)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._opened = True
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._parts.append(bytes(event.data))
                if event.fin:
                    self._take(protocol.parse(b"".join(self._parts)))
                    self._parts = []
        self._flush()  # answers to pings
        if not content or self._protocol.handshake_exc is not None:
            raise Lost(str(self._protocol.handshake_exc or "the app-server closed the connection"))

    def _take(self, message: protocol.Answer | protocol.Notice | None) -> None:
        if isinstance(message, protocol.Answer):
            self._answers[message.id] = message
        elif message is not None:
            self._notices.append(message)


def _connected(path: str, timeout: float) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(timeout)
    try:
        client.connect(path if len(os.fsencode(path)) <= _LONGEST_PATH else os.path.relpath(path))
    except OSError as error:
        client.close()
        if isinstance(error, TimeoutError):
            raise Silent(f"the server at {path} does not accept connections") from error
        raise Lost(f"nothing listens at {path}: {error.strerror or error}") from error
    return client
