"""One connection to a gateway: who it is, what it wants, and the answer passed on as it comes."""

from __future__ import annotations

import json
import socket
import time
from contextlib import nullcontext, suppress
from http.server import BaseHTTPRequestHandler

from .. import proof
from ..errors import DevSessionsError, HostUnreachable, ProtocolError, UsageError, unexpected
from ..wire import Frame, decode_request, encode_frame
from .replay import hashed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from ..wire import Request, Transport
    from .listeners import Listener
    from .replay import Answer

# A message of 5 MB, every character of which JSON escapes. Bytes.
LONGEST_BODY = 32 * 1024 * 1024
_LARGE = 256 * 1024
MOST_CALLS = 512
# Seconds: for the head of a request, for its body, for one write to a client that does not read, for a refused caller
# to hang up, and between two signs of life.
_HEAD, _BODY, _WRITE, _DRAIN, _ALIVE = 10.0, 60.0, 30.0, 2.0, 1.0


class Refusal(Exception):
    """A request that goes no further; `error` is what the caller is told."""

    def __init__(self, status: int, error: DevSessionsError) -> None:
        super().__init__(error.message)
        self.status, self.error = status, error


class Call(BaseHTTPRequestHandler):
    """One connection, one request, or a challenge and one request.

    The base class parses the head, and bounds it (64 KiB a line, 100 lines).
    """

    server: Listener
    protocol_version = "HTTP/1.1"
    timeout = _WRITE
    _nonces: tuple[str, str] | None = None  # the caller's and ours, once the caller has made its challenge
    _digest: str | None = None  # what the body has to be, if the caller has signed its request

    def setup(self) -> None:
        self._begun = time.monotonic()
        self.server.expect(self.request, _HEAD)
        super().setup()

    def handle(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.handle_one_request()
            if self._nonces:
                self.handle_one_request()  # within the time for the first head
            self._drain()

    def finish(self) -> None:
        self.server.trust(self.request)
        with suppress(OSError):
            super().finish()

    def _drain(self) -> None:
        """Read what a refused caller still sends, or the system throws our answer away with it."""
        if self.server.trust(self.request):
            self.server.expect(self.request, _DRAIN)
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(65_536):
                pass

    def do_POST(self) -> None:
        self._answered(self._call)

    def do_GET(self) -> None:
        self._answered(self._challenge if self._asked == proof.CHALLENGE else self._health)

    @property
    def _asked(self) -> str:
        return f"{self.command} {self.path}"

    def _answered(self, act: Callable[[], None]) -> None:
        self.close_connection = True  # the base class has read the caller's wish
        try:
            self._admit()
            act()
        except Refusal as refusal:
            self._refuse(refusal)

    def _admit(self) -> None:
        """Raises `Refusal` for whoever may not call."""
        gateway = self.server.gateway
        if self.headers.get("Origin") is not None:
            raise _denied("a page in a browser called; this gateway serves commands only")
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or _name_of(hosts[0]) not in gateway.hosts:
            raise _denied(
                f"the request was made to {', '.join(hosts)[:100]!r}, which is no name of this gateway",
                next=proof.OTHER_NAME,
            )
        if self.server.wants_token and self._asked != proof.CHALLENGE and not self._has_token(gateway.token):
            raise Refusal(401, HostUnreachable("the gateway wants its token, and got none or another", proof.HAND_OVER))

    def _has_token(self, token: str) -> bool:
        """Whether the caller shows the token itself, or has signed this very request with it."""
        given = self.headers.get_all("Authorization") or []
        kind, _, shown = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if kind.lower() == "bearer":
            return proof.same(shown.strip(), token)
        if kind != proof.SCHEME or self._nonces is None:
            return False
        mac, _, self._digest = shown.partition(" ")
        return proof.same(mac, proof.of_client(token, self._nonces, self._asked, self._digest))

    def _challenge(self) -> None:
        """Prove to a caller over TCP that we have the token, before it signs its request."""
        if not self.server.wants_token:
            raise _nothing_here(self.path)
        given, length = self.headers.get_all(proof.NONCE) or [], self.headers.get_all("Content-Length") or ["0"]
        body = length != ["0"] or self.headers.get("Transfer-Encoding") is not None
        if self._nonces or body or len(given) != 1 or not proof.is_nonce(given[0]):
            told = f"a challenge comes first, without a body, and with one {proof.NONCE} of 32 to 128 hex digits"
            raise Refusal(400, ProtocolError(told, next="install the same version of dev-sessions on both sides"))
        self._nonces = (given[0], proof.nonce())
        self.send_response_only(204)
        self.send_header(proof.NONCE, self._nonces[1])
        self.send_header(proof.PROOF, proof.of_gateway(self.server.gateway.token, self._nonces))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def _health(self) -> None:
        if self.path != "/v1/health":
            raise _nothing_here(self.path)
        self._head(200, "application/json")
        self.wfile.write(json.dumps(self.server.gateway.health()).encode() + b"\n")
        self._note("health", "200")

    def _call(self) -> None:
        if self.path != "/v1/call":
            raise _nothing_here(self.path)
        with self.server.gateway.calling() as calls:
            if calls > MOST_CALLS:
                raise Refusal(503, HostUnreachable(f"the gateway has {MOST_CALLS} calls already", next="try later"))
            request, contents = self._request()
            self.server.trust(self.request)
            self._head(200, "application/x-ndjson")
            self._note(f"{request.op[:40]!r} {request.id[:40]!r}", self._relay(request, contents))

    def _request(self) -> tuple[Request, bytes]:
        """What is asked, and the hash of its body."""
        length = self._length()
        with self.server.gateway.large if length > _LARGE else nullcontext():
            self.server.expect(self.request, _BODY)
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(length)
            if len(body) < length:
                raise Refusal(400, ProtocolError("the request ended before its end"))
            if self._digest is not None and not proof.same(proof.digest(body), self._digest):
                raise Refusal(400, ProtocolError("the body is not the one that was signed"))
            try:
                return decode_request(body), hashed(body)
            except ProtocolError as error:
                raise Refusal(400, error) from error

    def _length(self) -> int:
        lengths = self.headers.get_all("Content-Length") or []
        number = lengths[0] if len(lengths) == 1 else ""
        if self.headers.get("Transfer-Encoding") is not None or not (number.isascii() and number.isdecimal()):
            raise Refusal(411, ProtocolError("a request needs one Content-Length, and no Transfer-Encoding"))
        if len(number) > 12 or int(number) > LONGEST_BODY:
            told = f"a request of {number[:20]} bytes; {LONGEST_BODY} are the most"
            raise Refusal(413, UsageError(told, next="send less, or the path of a file in the workspace"))
        return int(number)

    def _relay(self, request: Request, contents: bytes) -> str:
        """Pass the answer on as it comes. Returns what to log of it."""
        with self.server.gateway.once.of(request, contents) as answer:
            frames = _frames(self.server.gateway.transport, request, answer)
            try:
                return self._passed_on(frames, answer)
            except OSError:
                _run_out(frames)
                return "gone"
            finally:
                frames.close()

    def _passed_on(self, frames: Iterator[Frame], answer: Answer) -> str:
        last = time.monotonic()
        for frame in frames:
            if frame.kind == "alive":
                if self.server.gateway.stopping.is_set() or answer.asked_again:
                    return "cut"
                if time.monotonic() - last < _ALIVE:
                    continue
            last = time.monotonic()
            self.wfile.write(encode_frame(frame))
            if frame.final:
                return frame.kind if frame.kind == "result" else f"error {frame.value.get('code')}"
        return "no answer"

    def _refuse(self, refusal: Refusal) -> None:
        self._head(refusal.status, "application/x-ndjson")
        self.wfile.write(encode_frame(Frame("error", refusal.error.to_wire())))
        self._note("refused", str(refusal.status))

    def _head(self, status: int, kind: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class finds wrong with a head."""
        self.close_connection = True
        self._refuse(Refusal(int(code), ProtocolError(f"no request that this gateway knows (HTTP status {int(code)})")))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: each request has its line by `_note`."""

    def _note(self, what: str, outcome: str) -> None:
        took = time.monotonic() - self._begun
        self.server.gateway.log(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {what} {outcome} {took:.3f}s")


def _frames(transport: Transport, request: Request, answer: Answer) -> Generator[Frame, None, None]:
    """The frames of an answer; the last one is kept, and is all there is if it was given before."""
    if answer.frame is not None:
        yield answer.frame
        return
    try:
        for frame in transport.handle(request):
            if frame.final:
                answer.keep(frame)
                yield frame
                return
            yield frame
        error: DevSessionsError = ProtocolError(
            "the service ended without an answer", next="run the same command again"
        )
    except Exception as raised:
        error = unexpected(raised)
    yield Frame("error", error.to_wire())


def _run_out(frames: Iterator[Frame]) -> None:
    """Nobody listens any more: what acts is brought to its end, what waits (and says that it is alive) is left."""
    for frame in frames:
        if frame.kind == "alive":
            return


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _denied(message: str, next: str | None = None) -> Refusal:
    return Refusal(403, HostUnreachable(message, next=next))


def _nothing_here(path: str) -> Refusal:
    return Refusal(404, ProtocolError(f"there is nothing at {path[:100]!r}", next="POST /v1/call or GET /v1/health"))
