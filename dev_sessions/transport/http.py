"""A service behind a gateway, over HTTP. Written on sockets: the library's client would double the start-up time."""

from __future__ import annotations

import json
import socket
import time

from ..errors import DevSessionsError, HostUnreachable, ProtocolError, from_wire
from ..wire import Caller, decode_frame, encode_request
from .paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..config import Gateway
    from ..wire import Frame, Request

# Seconds: for the connection, and for each read of the challenge's answer; without a sign of life; between two tries
# after a cut.
_CONNECT, _SILENCE, _PAUSE = 10.0, 300.0, 0.2
_LONGEST_HEAD = 65_536


class _Cut(Exception):
    """The connection ended before the answer did."""


class HttpTransport:
    """Carries requests to a gateway.

    Args:
        gateway: where it is, and what it wants to see.
        parent: the session that the caller runs in, or None.
        depth: how many sessions stand above one that it creates.
        cwd: where relative paths begin.
    """

    def __init__(self, gateway: Gateway, parent: str | None, depth: int, cwd: str) -> None:
        self._gateway = gateway
        self._caller = Caller(parent, depth, gateway.host_path)
        self._paths = Paths(gateway.workspace, gateway.host_path, cwd)

    def handle(self, request: Request) -> Iterator[Frame]:
        """Run the request; see `wire.Transport`. A cut connection is made again, with the same request id.

        Raises:
            HostUnreachable: no way to the gateway, or no more; or the peer has not proved that it is the gateway.
            ProtocolError: the peer does not answer as a gateway of this version does.
            UsageError: a path that cannot be told to the host.
        """
        outward = self._paths.outward(request)._replace(caller=self._caller)
        begun, news = time.monotonic(), _News()
        cut: float | None = None  # when the connection was
        while True:
            try:
                asked = outward if cut is None else _what_is_left(outward, begun)
                for frame in self._frames(asked, again=cut is not None):
                    cut = None
                    if frame.kind != "event" or news.is_new(frame):
                        yield self._paths.homeward(frame)
                    if frame.final:
                        return
                raise _Cut("the answer has no end")
            except (OSError, _Cut) as error:
                cut = cut or time.monotonic()
                if time.monotonic() - cut > self._gateway.patience:
                    raise self._lost(request, error) from error
                time.sleep(_PAUSE)  # nothing tells when the gateway is back
                news.repeat()

    def _frames(self, request: Request, again: bool) -> Iterator[Frame]:
        with self._connect(again) as connection:
            status, lines = self._ask(connection, "POST /v1/call", encode_request(request), again)
            for line in lines:
                try:
                    frame = decode_frame(line)
                except ProtocolError as error:
                    raise self._foreign(status) from error
                if status != 200 and frame.kind != "error":
                    raise self._foreign(status)
                yield frame

    def _connect(self, again: bool) -> socket.socket:
        try:
            return _connected(self._gateway.address)
        except OSError as error:
            if again:
                raise
            raise self._unreachable(error) from error

    def _ask(self, connection: socket.socket, what: str, body: bytes, again: bool) -> tuple[int, Iterator[bytes]]:
        """Send the one request of a connection. Returns the status, and the lines of the body as they come.

        Any user of the host may listen on a TCP port while the gateway is down, so the peer there gets the request only
        after it has proved that it has the token, and never the token. A unix socket is guarded by its folder's mode.
        """
        token = self._gateway.token
        if isinstance(self._gateway.address, str):
            shown = f"Bearer {token}" if token else None
        else:
            try:
                shown = self._signature(connection, what, body)
            except DevSessionsError as error:
                if again:  # the gateway may still come back; if it does not, the error names the request that was sent
                    raise _Cut(error.message) from error
                raise
        connection.settimeout(_SILENCE)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        if shown:
            headers["Authorization"] = shown
        try:
            connection.sendall(self._head(what, headers) + body)
        except OSError:
            pass  # refused before it had read all: it says why
        status, _, rest = _answer(connection)
        return status, _lines(connection, rest)

    def _signature(self, connection: socket.socket, what: str, body: bytes) -> str:
        """Have the gateway prove that it has the token, and sign the request with it; see `proof`.

        The user sees no text of a peer that has not proved itself: an agent might act on it.

        Raises:
            HostUnreachable: no token is set, or the peer has another, or does not know the challenge.
            ProtocolError: the answer is not HTTP.
        """
        from .. import proof

        token, url = self._gateway.token, self._gateway.url
        if not token:
            raise HostUnreachable(
                f"cannot check that the gateway listens at {url}: no token is set", next=proof.HAND_OVER
            )
        nonce = proof.nonce()
        connection.sendall(self._head(proof.CHALLENGE, {proof.NONCE: nonce}))
        status, headers, rest = _answer(connection)
        if status == 403:
            name = self._gateway.host
            raise HostUnreachable(f"the gateway at {url} does not accept the name {name!r}", next=proof.OTHER_NAME)
        if status != 204 or rest:
            raise HostUnreachable(
                f"no answer to the challenge from {url} (HTTP status {status}): the gateway has another version, or "
                "something else listens at that address",
                next="install the same version of dev-sessions on both sides; on the host, dev-sessions gateway status "
                "shows whether the gateway runs",
                url=url,
            )
        nonces = (nonce, headers.get(proof.NONCE.lower(), ""))
        if not proof.same(headers.get(proof.PROOF.lower(), ""), proof.of_gateway(token, nonces)):
            raise HostUnreachable(
                f"wrong answer to the challenge from {url}: the gateway has another token, or something else listens "
                "at that address; the request was not sent",
                next=proof.HAND_OVER,
                url=url,
            )
        digest = proof.digest(body)
        return f"{proof.SCHEME} {proof.of_client(token, nonces, what, digest)} {digest}"

    def health(self) -> dict[str, Any]:
        """What the gateway says of itself.

        Raises:
            HostUnreachable: nobody is there, or not for us.
            ProtocolError: it is no gateway.
        """
        with self._connect(again=False) as connection:
            try:
                status, lines = self._ask(connection, "GET /v1/health", b"", again=False)
                told = json.loads(b"".join(lines))
            except (OSError, ValueError, _Cut) as error:
                raise self._foreign(0) from error
        if status != 200:
            raise from_wire(told["error"]) if isinstance(told, dict) and "error" in told else self._foreign(status)
        return dict(told)

    def _head(self, what: str, headers: dict[str, str]) -> bytes:
        lines = [f"{what} HTTP/1.1", f"Host: {self._gateway.host}", *(f"{name}: {headers[name]}" for name in headers)]
        return "\r\n".join([*lines, "", ""]).encode()

    def _unreachable(self, error: OSError) -> HostUnreachable:
        return HostUnreachable(
            f"no gateway at {self._gateway.url} ({error.strerror or error})",
            next=f"on the host: {self._gateway.start}",
            url=self._gateway.url,
        )

    def _lost(self, request: Request, error: Exception) -> HostUnreachable:
        return HostUnreachable(
            f"the connection to the gateway at {self._gateway.url} was cut ({error}), and does not come back; "
            f"what became of request {request.id} is unknown",
            next=f"on the host: {self._gateway.start}; then the same command with --request-id {request.id}, if it "
            "has that option",
            url=self._gateway.url,
            request_id=request.id,
        )

    def _foreign(self, status: int) -> ProtocolError:
        return ProtocolError(
            f"what answers at {self._gateway.url} is no gateway of this version (HTTP status {status})",
            next="check DEV_SESSIONS_GATEWAY_URL; install the same version of dev-sessions on both sides",
        )


class _News:
    """Tells the events that come again after a cut from those that are new; an answer begins anew then."""

    def __init__(self) -> None:
        self._passed_on: dict[int, int] = {}  # how often, by hash
        self._to_come_again: dict[int, int] = {}

    def is_new(self, frame: Frame) -> bool:
        key = hash(repr(frame.value))
        if self._to_come_again.get(key, 0) > 0:
            self._to_come_again[key] -= 1
            return False
        self._passed_on[key] = self._passed_on.get(key, 0) + 1
        return True

    def repeat(self) -> None:
        """The connection was cut."""
        self._to_come_again = dict(self._passed_on)


def _connected(where: str | tuple[str, int]) -> socket.socket:
    if not isinstance(where, str):
        return socket.create_connection(where, _CONNECT)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT)
        connection.connect(where)
    except BaseException:
        connection.close()
        raise
    return connection


def _what_is_left(request: Request, begun: float) -> Request:
    """The request with what is left of its time; see `wire.Request`."""
    timeout = request.params.get("timeout") if isinstance(request.params, dict) else None
    if not isinstance(timeout, int | float):
        return request
    return request._replace(params={**request.params, "timeout": max(0.0, timeout - (time.monotonic() - begun))})


def _answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The head of an answer (its status, and its headers by their names in lower case), and what has come behind it."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(65_536)
        if not more:
            raise _Cut("it was closed")
        head += more
        if len(head) > _LONGEST_HEAD and b"\r\n\r\n" not in head:
            raise ProtocolError("the gateway's answer is no HTTP", next="check DEV_SESSIONS_GATEWAY_URL")
    head, _, rest = head.partition(b"\r\n\r\n")
    first, *more_lines = head.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not (words[1].isdecimal() and len(words[1]) == 3):
        raise ProtocolError("the gateway's answer is no HTTP", next="check DEV_SESSIONS_GATEWAY_URL")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in more_lines)}
    return int(words[1]), headers, rest


def _lines(connection: socket.socket, rest: bytes) -> Iterator[bytes]:
    pieces = [rest]
    while True:
        *whole, last = pieces[-1].split(b"\n")
        if whole:
            yield b"".join([*pieces[:-1], whole[0]])
            yield from whole[1:]
            pieces = [last]
        more = connection.recv(1 << 18)
        if not more:
            return
        pieces.append(more)
