"""Serves one connection to a gateway: checks the caller, reads the request, passes on the answer as it arrives."""

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
    from collections.abc import Generator, Iterator
    from typing import Any

    from ..wire import Request, Transport
    from .listeners import Listener
    from .replay import Answer

# A message of 5 MB with every character escaped by JSON. Bytes.
LONGEST_BODY = 32 * 1024 * 1024
_LARGE = 256 * 1024
MOST_CALLS = 512
# Time limits in seconds: for the head of a request, for its body, for one write to a client that does not read, and for
# a refused caller to hang up; the last one is the time between two keep-alives.
_HEAD, _BODY, _WRITE, _DRAIN, _ALIVE = 10.0, 60.0, 30.0, 2.0, 1.0


class Refusal(Exception):
    """A refusal of the request with an HTTP status; the caller gets `error`."""

    def __init__(self, status: int, error: DevSessionsError) -> None:
        super().__init__(error.message)
        self.status, self.error = status, error


class Call(BaseHTTPRequestHandler):
    """One connection with one request, or with a challenge and one request.

    The base class parses the head and limits its size (64 KiB a line, 100 lines).
    """

    server: Listener
    protocol_version = "HTTP/1.1"
    timeout = _WRITE
    _nonces: tuple[str, str] | None = None  # the caller's and ours, after the challenge
    _digest: str | None = None  # of the body, if the caller has signed its request

    def setup(self) -> None:
        self._begun = time.monotonic()
        self.server.set_deadline(self.request, _HEAD)
        super().setup()

    def handle(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.handle_one_request()
            if self._nonces:
                self.handle_one_request()  # within the time for the first head
            if self.server.clear_deadline(self.request):
                # Read what a refused caller is still sending, or the system discards our answer too.
                self.server.set_deadline(self.request, _DRAIN)
                self.connection.shutdown(socket.SHUT_WR)
                while self.connection.recv(65_536):
                    pass

    def finish(self) -> None:
        self.server.clear_deadline(self.request)
        with suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        self.close_connection = True  # even if the caller asked to keep it open
        acts = {"POST /v1/call": self._call, "GET /v1/health": self._health}
        if self.server.wants_token:
            acts[proof.CHALLENGE] = self._challenge
        try:
            self._check_caller()
            if self._asked not in acts:
                error = ProtocolError(f"there is nothing at {self.path[:100]!r}", "POST /v1/call or GET /v1/health")
                raise Refusal(404, error)
            acts[self._asked]()
        except Refusal as refusal:
            self._refuse(refusal)

    def do_GET(self) -> None:
        self.do_POST()

    @property
    def _asked(self) -> str:
        return f"{self.command} {self.path}"

    def _check_caller(self) -> None:
        """Refuse a caller that may not use this gateway.

        Raises:
            Refusal: it may not.
        """
        gateway = self.server.gateway
        if self.headers.get("Origin") is not None:
            raise Refusal(403, HostUnreachable("the request comes from a web page; this gateway serves commands only"))
        hosts = self.headers.get_all("Host") or []
        host = hosts[0].lower() if len(hosts) == 1 else ""
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if name not in gateway.hosts:
            why = f"the request was made to {', '.join(hosts)[:100]!r}, which this gateway does not accept as its name"
            raise Refusal(403, HostUnreachable(why, next=proof.OTHER_NAME))
        if self.server.wants_token and self._asked != proof.CHALLENGE and not self._has_token(gateway.token):
            why = "the gateway requires its token, but got none or a wrong one"
            raise Refusal(401, HostUnreachable(why, proof.HAND_OVER))

    def _has_token(self, token: str) -> bool:
        """True if the caller sends the token, or has signed this request with it."""
        given = self.headers.get_all("Authorization") or []
        kind, _, shown = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if kind.lower() == "bearer":
            return proof.same(shown.strip(), token)
        if kind != proof.SCHEME or self._nonces is None:
            return False
        mac, _, self._digest = shown.partition(" ")
        return proof.same(mac, proof.of_client(token, self._nonces, self._asked, self._digest))

    def _challenge(self) -> None:
        """Prove to a caller over TCP that we have the token; the caller then signs its request."""
        given, length = self.headers.get_all(proof.NONCE) or [], self.headers.get_all("Content-Length") or ["0"]
        body = length != ["0"] or self.headers.get("Transfer-Encoding") is not None
        if self._nonces or body or len(given) != 1 or not proof.is_nonce(given[0]):
            rule = f"a challenge must come first, without a body, and with one {proof.NONCE} of 32 to 128 hex digits"
            raise Refusal(400, ProtocolError(rule, next="install the same version of dev-sessions on both sides"))
        self._nonces = (given[0], proof.nonce())
        self.send_response_only(204)
        self.send_header(proof.NONCE, self._nonces[1])
        self.send_header(proof.PROOF, proof.of_gateway(self.server.gateway.token, self._nonces))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def _health(self) -> None:
        self._head(200, "application/json")
        self.wfile.write(json.dumps(self.server.gateway.health()).encode() + b"\n")
        self._note("health", "200")

    def _call(self) -> None:
        with self.server.gateway.calling() as calls:
            if calls > MOST_CALLS:
                raise Refusal(503, HostUnreachable(f"the gateway already has {MOST_CALLS} calls", next="try later"))
            request, contents = self._request()
            self.server.clear_deadline(self.request)
            self._head(200, "application/x-ndjson")
            self._note(f"{request.op[:40]!r} {request.id[:40]!r}", self._relay(request, contents))

    def _request(self) -> tuple[Request, bytes]:
        """The request, and the hash of its body."""
        length = self._content_length()
        with self.server.gateway.large if length > _LARGE else nullcontext():
            self.server.set_deadline(self.request, _BODY)
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(length)
            if len(body) < length:
                raise Refusal(400, ProtocolError("the request is incomplete"))
            if self._digest is not None and not proof.same(proof.digest(body), self._digest):
                raise Refusal(400, ProtocolError("the body does not match its signature"))
            try:
                return decode_request(body), hashed(body)
            except ProtocolError as error:
                raise Refusal(400, error) from error

    def _content_length(self) -> int:
        lengths = self.headers.get_all("Content-Length") or []
        number = lengths[0] if len(lengths) == 1 else ""
        if self.headers.get("Transfer-Encoding") is not None or not (number.isascii() and number.isdecimal()):
            raise Refusal(411, ProtocolError("a request needs one Content-Length, and no Transfer-Encoding"))
        if len(number) > 12 or int(number) > LONGEST_BODY:
            why = f"the request has {number[:20]} bytes; the limit is {LONGEST_BODY}"
            raise Refusal(413, UsageError(why, next="send less, or the path of a file in the workspace"))
        return int(number)

    def _relay(self, request: Request, contents: bytes) -> str:
        """Pass on the answer as it arrives. Returns its outcome for the log."""
        with self.server.gateway.once.of(request, contents) as answer:
            frames = _frames(self.server.gateway.transport, request, answer)
            try:
                return self._pass_on(frames, answer)
            except OSError:
                for frame in frames:  # the caller is gone: complete an operation that acts, but not one that waits
                    if frame.kind == "alive":
                        break
                return "gone"
            finally:
                frames.close()

    def _pass_on(self, frames: Iterator[Frame], answer: Answer) -> str:
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
        """Called by the base class for an invalid head."""
        self.close_connection = True
        self._refuse(Refusal(int(code), ProtocolError(f"not a request to a gateway (HTTP status {int(code)})")))

    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing: `_note` logs each request."""

    def _note(self, what: str, outcome: str) -> None:
        took = time.monotonic() - self._begun
        self.server.gateway.log(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {what} {outcome} {took:.3f}s")


def _frames(transport: Transport, request: Request, answer: Answer) -> Generator[Frame, None, None]:
    """The frames of an answer, the last of which is kept; for a repeated request, only the one that was kept."""
    if answer.frame is not None:
        yield answer.frame
        return
    try:
        for frame in transport.handle(request):
            if frame.final:
                answer.keep(frame)
            yield frame
            if frame.final:
                return
        error: DevSessionsError = ProtocolError(
            "the service ended without an answer", next="run the same command again"
        )
    except Exception as raised:
        error = unexpected(raised)
    yield Frame("error", error.to_wire())
