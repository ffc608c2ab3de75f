"""A connection to an app-server: WebSocket over its unix socket. The only module that knows websockets.

The protocol part of websockets alone is used: half the import of its clients, no threads, and a descriptor to poll on.
"""

from __future__ import annotations

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
# sun_path of unix(7) holds no longer ones.
_LONGEST_PATH = 100


class Lost(Exception):
    """Nobody listens, or the connection has broken."""


class Silent(Exception):
    """Somebody listens, and does not answer within the bound."""


class Connection:
    """An initialized connection. Use as a context manager.

    Args:
        path: the app-server's socket.
        timeout: seconds for connection and greeting, and for each call that names no other.

    Raises:
        Lost: nobody listens there.
        Silent: no answer in time.
        Refused: the server does not want us.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._timeout = timeout
        self._count = 0
        self._parts: list[bytes] = []
        self._answers: dict[int, protocol.Answer] = {}
        self.notices: list[protocol.Notice] = []
        # No extension is offered: older servers close a handshake with permessage-deflate in it.
        self._protocol = ClientProtocol(parse_uri("ws://localhost/"), max_size=None)
        self._socket = _connected(os.path.realpath(path), timeout)
        try:
            self._greet()
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

    def call(self, method: str, timeout: float | None = None, /, **params: Any) -> Any:
        """The result of a request.

        Raises:
            Refused, Lost, Silent: there is none.
        """
        self._count += 1
        number = self._count
        self._protocol.send_text(protocol.request(number, method, params).encode())
        self._flush()
        self._read_until(lambda: number in self._answers, timeout)
        answer = self._answers.pop(number)
        if answer.error is not None:
            raise answer.error
        return answer.result

    def reply(self, id: Any, result: Any) -> None:
        """Answer what the server asks under that id. Whether the answer counts, the server does not say.

        Raises:
            Lost, Silent: it may not have got it.
        """
        self._protocol.send_text(protocol.reply(id, result).encode())
        self._flush()

    @property
    def descriptor(self) -> int:
        """Readable when the server has said something; see `news`."""
        return self._socket.fileno()

    def news(self) -> list[protocol.Notice]:
        """What the server has said unasked since the last call; waits for nothing.

        Raises:
            Lost: it has hung up.
        """
        ready = select.poll()
        ready.register(self._socket, select.POLLIN)
        while ready.poll(0):
            self._receive(self._timeout)
        found, self.notices = self.notices, []
        return found

    def _greet(self) -> None:
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        self._read_until(lambda: self._opened, None)
        self.call("initialize", **protocol.initialization(__version__))
        self._protocol.send_text(protocol.notification("initialized").encode())
        self._flush()

    _opened = False

    def _read_until(self, done: Callable[[], bool], timeout: float | None) -> None:
        until = time.monotonic() + (self._timeout if timeout is None else timeout)
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
            self._take(event)
        self._flush()  # answers to pings
        if not content or self._protocol.handshake_exc is not None:
            raise Lost(str(self._protocol.handshake_exc or "the app-server closed the connection"))

    def _take(self, event: Any) -> None:
        if isinstance(event, Response):
            self._opened = True
        elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
            self._parts.append(bytes(event.data))
            if event.fin:
                content, self._parts = b"".join(self._parts), []
                self._sort(protocol.parse(content))

    def _sort(self, message: protocol.Answer | protocol.Notice | None) -> None:
        if isinstance(message, protocol.Answer):
            self._answers[message.id] = message
        elif message is not None:
            self.notices.append(message)

    def _flush(self) -> None:
        self._socket.settimeout(self._timeout)
        try:
            for content in self._protocol.data_to_send():
                if content:
                    self._socket.sendall(content)
        except TimeoutError as error:
            raise Silent("the app-server does not read what it is told") from error
        except OSError as error:
            raise Lost(str(error)) from error


def _connected(path: str, timeout: float) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.settimeout(timeout)
        found.connect(path if len(os.fsencode(path)) <= _LONGEST_PATH else os.path.relpath(path))
    except TimeoutError as error:
        found.close()
        raise Silent(f"nobody accepts at {path}") from error
    except OSError as error:
        found.close()
        raise Lost(f"nobody listens at {path}: {error.strerror or error}") from error
    return found
