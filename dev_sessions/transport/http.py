"""The transport to a gateway, over HTTP. It uses plain sockets: `http.client` would double the start-up time."""

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

# Seconds: to connect, and for each read of the answer to a challenge; without a keep-alive; between two attempts to
# reconnect.
_CONNECT, _SILENCE, _PAUSE = 10.0, 300.0, 0.2
_LONGEST_HEAD = 65_536


class _Cut(Exception):
    """The connection ended before the answer did."""


class HttpTransport:
    """Carries requests to a gateway.

    Args:
        parent: the session that the caller runs in, or None.
        depth: how many sessions a session created now has above it.
        cwd: relative paths start there.
    """

    def __init__(self, gateway: Gateway, parent: str | None, depth: int, cwd: str) -> None:
        self._gateway = gateway
        self._caller = Caller(parent, depth, gateway.host_path)
        self._paths = Paths(gateway.workspace, gateway.host_path, cwd)

    def handle(self, request: Request) -> Iterator[Frame]:
        """Run the request; see `wire.Transport`. After a lost connection it is sent again with the same request id.

        Raises:
            HostUnreachable: the gateway cannot be reached, or the peer did not prove that it is the gateway.
            ProtocolError: the peer does not answer like a gateway of this version.
            UsageError: see `Paths.outward`.
        """
        outward = self._paths.outward(request)._replace(caller=self._caller)
        timeout = request.params.get("timeout") if isinstance(request.params, dict) else None
        begun, events = time.monotonic(), _Events()
        cut: float | None = None  # when the connection was lost
        while True:
            try:
                if cut is not None and isinstance(timeout, int | float):  # what is left of it; see `wire.Request`
                    left = max(0.0, timeout - (time.monotonic() - begun))
                    outward = outward._replace(params={**outward.params, "timeout": left})
                for frame in self._frames(outward, again=cut is not None):
                    cut = None
                    if frame.kind != "event" or events.is_new(frame):
                        yield self._paths.homeward(frame)
                    if frame.final:
                        return
                raise _Cut("the answer has no end")
            except (OSError, _Cut) as error:
                cut = cut or time.monotonic()
                if time.monotonic() - cut > self._gateway.patience:
                    raise HostUnreachable(
                        f"the connection to the gateway at {self._gateway.url} was lost ({error}) and could not be "
                        f"restored; the outcome of request {request.id} is unknown",
                        next=f"on the host: {self._gateway.start}; then the same command with --request-id "
                        f"{request.id}, if it has that option",
                        url=self._gateway.url,
                        request_id=request.id,
                    ) from error
                time.sleep(_PAUSE)  # there is no event for a gateway that is back
                events.start_again()

    def _frames(self, request: Request, again: bool) -> Iterator[Frame]:
        for status, line in self._lines("POST /v1/call", encode_request(request), again):
            try:
                frame = decode_frame(line)
            except ProtocolError as error:
                raise self._foreign(status) from error
            if status != 200 and frame.kind != "error":
                raise self._foreign(status)
            yield frame

    def _lines(self, what: str, body: bytes, again: bool) -> Iterator[tuple[int, bytes]]:
        """Send one request on a connection of its own. Yields the HTTP status and each line of the body.

        Any user of the host may listen on a TCP port while the gateway is down. So over TCP the peer has to prove that
        it has the token before it gets the request, and it never gets the token. A unix socket is protected by the mode
        of its folder.
        """
        try:
            connection = _connected(self._gateway.address)
        except OSError as error:
            if again:
                raise
            raise HostUnreachable(
                f"no gateway at {self._gateway.url} ({error.strerror or error})",
                next=f"on the host: {self._gateway.start}",
                url=self._gateway.url,
            ) from error
        with connection:
            shown = f"Bearer {self._gateway.token}" if self._gateway.token else None
            if not isinstance(self._gateway.address, str):
                try:
                    shown = self._signature(connection, what, body)
                except DevSessionsError as error:
                    if again:  # the gateway may still come back; if not, the error names the request that was sent
                        raise _Cut(error.message) from error
                    raise
            connection.settimeout(_SILENCE)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            if shown:
                headers["Authorization"] = shown
            try:
                connection.sendall(self._head(what, headers) + body)
            except OSError:
                pass  # the gateway refused the request before it had read all of it; its answer says why
            status, _, rest = _answer(connection)
            pieces = [rest]
            while True:
                *whole, last = pieces[-1].split(b"\n")
                if whole:
                    for line in (b"".join([*pieces[:-1], whole[0]]), *whole[1:]):
                        yield status, line
                    pieces = [last]
                more = connection.recv(1 << 18)
                if not more:
                    return
                pieces.append(more)

    def _signature(self, connection: socket.socket, what: str, body: bytes) -> str:
        """Make the gateway prove that it has the token, and sign the request with it; see `proof`.

        No error quotes a peer that has not proved this: an agent might act on the text.

        Raises:
            HostUnreachable: no token is set, or the peer has another one, or does not know the challenge.
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
        """The gateway's answer to `GET /v1/health`.

        Raises:
            HostUnreachable: nothing listens there, or the gateway refuses us.
            ProtocolError: it is not a gateway.
        """
        try:
            answer = list(self._lines("GET /v1/health", b"", again=False))
            value, status = json.loads(b"".join(line for _, line in answer)), answer[0][0]
        except (OSError, ValueError, _Cut) as error:
            raise self._foreign(0) from error
        if status == 200:
            return dict(value)
        raise from_wire(value["error"]) if isinstance(value, dict) and "error" in value else self._foreign(status)

    def _head(self, what: str, headers: dict[str, str]) -> bytes:
        lines = [f"{what} HTTP/1.1", f"Host: {self._gateway.host}", *(f"{name}: {headers[name]}" for name in headers)]
        return "\r\n".join([*lines, "", ""]).encode()

    def _foreign(self, status: int) -> ProtocolError:
        return ProtocolError(
            f"the server at {self._gateway.url} is not a gateway of this version (HTTP status {status})",
            next="check DEV_SESSIONS_GATEWAY_URL; install the same version of dev-sessions on both sides",
        )


class _Events:
    """The events passed on so far. After a lost connection the answer starts again, and none may be passed on twice."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}  # how often each one was passed on, by hash
        self._expected: dict[int, int] = {}  # how often it is still to be repeated

    def is_new(self, frame: Frame) -> bool:
        key = hash(repr(frame.value))
        if self._expected.get(key, 0) > 0:
            self._expected[key] -= 1
            return False
        self._seen[key] = self._seen.get(key, 0) + 1
        return True

    def start_again(self) -> None:
        """Expect all events so far once more, since the connection was lost."""
        self._expected = dict(self._seen)


def _connected(address: str | tuple[str, int]) -> socket.socket:
    if not isinstance(address, str):
        return socket.create_connection(address, _CONNECT)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """An answer's status, its headers by lower-case names, and the bytes received after them."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(65_536)
        if not more:
            raise _Cut("it was closed")
        head += more
        if len(head) > _LONGEST_HEAD and b"\r\n\r\n" not in head:
            raise _not_http()
    head, _, rest = head.partition(b"\r\n\r\n")
    first, *more_lines = head.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not (words[1].isdecimal() and len(words[1]) == 3):
        raise _not_http()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in more_lines)}
    return int(words[1]), headers, rest


def _not_http() -> ProtocolError:
    return ProtocolError("the gateway's answer is not HTTP", next="check DEV_SESSIONS_GATEWAY_URL")
