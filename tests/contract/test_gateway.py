"""The requests that a gateway accepts, and how it refuses others. The client side is a raw socket."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from impostor import Impostor, challenge_answer, header

from dev_sessions import app, config
from dev_sessions.errors import DevSessionsError, HostUnreachable, ProtocolError
from dev_sessions.gateway import call, listeners
from dev_sessions.gateway.replay import Once
from dev_sessions.gateway.server import Gateway
from dev_sessions.transport.http import HttpTransport
from dev_sessions.wire import Frame, Request, encode_request

TOKEN = "s3cret"
ASK = encode_request(Request("echo", {"x": 1}, "r-1"))
HEADERS = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}", "Content-Length": str(len(ASK))}


class Echo:
    """Answers with the request itself; waits if the request says so."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.release = threading.Event()

    def handle(self, request: Request) -> Iterator[Frame]:
        self.asked.append(request)
        while request.op == "wait" and not self.release.wait(0.02):
            yield Frame("alive", 1.0)
        if request.op == "act":
            self.release.wait(10)
        yield Frame("result", {"op": request.op, "number": len(self.asked)})


class Served:
    """A gateway over TCP in front of a service."""

    def __init__(self, service: Any, port: int = 0) -> None:
        self.lines: list[str] = []
        self.gateway = Gateway(service, TOKEN, log=self.lines.append, hosts=["my.box"])
        url = self.gateway.listen(("127.0.0.1", port))
        self.port = int(url.rpartition(":")[2])
        self._serving = threading.Thread(target=self.gateway.serve)
        self._serving.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 15)

    def close(self) -> None:
        self.gateway.stop()
        self._serving.join()

    def send(self, content: bytes) -> tuple[int, list[Any]]:
        """Send these bytes; returns the status (0: no answer) and the lines of the body."""
        with self.connect() as connection:
            try:
                connection.sendall(content)
            except OSError:
                pass  # it has closed the connection; its answer is still there
            return answer(connection)

    def post(self, body: bytes = ASK, path: str = "/v1/call", **headers: str | None) -> tuple[int, list[Any]]:
        return self.send(head("POST", path, {"Content-Length": str(len(body)), **headers}) + body)

    def call(self, op: str, request_id: str, /, **params: Any) -> list[Any]:
        status, lines = self.post(encode_request(Request(op, params, request_id)))
        assert status == 200
        return lines


def head(verb: str, path: str, headers: dict[str, str | None]) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (HEADERS | headers).items() if value is not None]
    return "\r\n".join([f"{verb} {path} HTTP/1.1", *lines, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, list[Any]]:
    content = b""
    try:
        while piece := connection.recv(65_536):
            content += piece
    except ConnectionResetError:
        pass
    before, _, body = content.partition(b"\r\n\r\n")
    status = int(before.split()[1]) if before else 0
    return status, [json.loads(line) for line in body.splitlines()]


@pytest.fixture
def service() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def one_for_all() -> Iterator[Served]:
    made = Served(Echo())
    yield made
    made.close()


@pytest.fixture
def served(one_for_all: Served, service: Echo) -> Iterator[Served]:
    """A gateway in front of a new service."""
    one_for_all.gateway.transport, one_for_all.gateway.once = service, Once()
    one_for_all.lines.clear()
    yield one_for_all
    service.release.set()


def refused(answered: tuple[int, list[Any]], status: int, *words: str) -> dict[str, Any]:
    """Check that the answer is a refusal with an error that a client can read."""
    assert answered[0] == status, answered
    error: dict[str, Any] = answered[1][0]["error"]
    for word in words:
        assert word in error["message"] + str(error["data"]), error
    return error


def test_an_allowed_call(served: Served, service: Echo) -> None:
    assert served.post() == (200, [{"result": {"op": "echo", "number": 1}}])
    for host in ("localhost:1", "127.0.0.1", "[::1]:6767", "HOST.docker.internal:6767", "My.Box"):
        assert served.post(Host=host)[0] == 200
    assert len(served.lines) == 6
    assert "'echo' 'r-1' result" in served.lines[0]
    assert service.asked[0].caller is not None


@pytest.mark.parametrize(
    "shown", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"]
)
def test_a_call_without_the_token_is_refused(served: Served, service: Echo, shown: str | None) -> None:
    error = refused(served.post(Authorization=shown), 401, "token", "DEV_SESSIONS_GATEWAY_TOKEN_FILE")
    assert error["code"] == "unreachable"
    assert service.asked == []
    refused(served.send(head("GET", "/v1/health", {"Authorization": shown, "Content-Length": None})), 401, "token")


def test_a_caller_without_the_token_is_refused_before_its_body_is_read(served: Served) -> None:
    """The caller announces 30 MB and is refused before it has sent any of it."""
    with served.connect() as connection:
        connection.sendall(head("POST", "/v1/call", {"Authorization": None, "Content-Length": "30000000"}))
        refused(answer(connection), 401)


@pytest.mark.parametrize("host", [None, "", "evil.example", "localhost.evil.example", "evil.example:6767", "0.0.0.0"])
def test_an_unknown_host_name_is_refused(served: Served, service: Echo, host: str | None) -> None:
    refused(served.post(Host=host), 403, "does not accept as its name", "DEV_SESSIONS_GATEWAY_HOSTS")
    assert service.asked == []


def test_two_host_names_are_refused(served: Served) -> None:
    refused(served.post(Host="localhost\r\nHost: localhost"), 403)


@pytest.mark.parametrize("origin", ["http://localhost", "null", "", "https://evil.example"])
def test_a_request_from_a_web_page_is_refused(served: Served, service: Echo, origin: str) -> None:
    refused(served.post(Origin=origin), 403, "web page")
    status, _ = served.send(head("OPTIONS", "/v1/call", {"Origin": origin, "Content-Length": None}))
    assert status == 501
    assert service.asked == []


@pytest.mark.parametrize("length", [None, "", "-1", "+5", "1e3", "0x10", "5, 5", "٣"])
def test_an_invalid_content_length_is_refused(served: Served, service: Echo, length: str | None) -> None:
    refused(served.post(Content_Length=length, **{"Content-Length": None}), 411, "Content-Length")
    assert service.asked == []


def test_two_lengths_or_chunks_are_refused(served: Served, service: Echo) -> None:
    """What one server takes for a body another takes for the next request: neither is let in."""
    two = f"{len(ASK)}\r\nContent-Length: 3"
    refused(served.post(**{"Content-Length": two}), 411)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ASK), ASK)
    refused(served.send(head("POST", "/v1/call", {"Transfer-Encoding": "chunked"}) + chunks), 411)
    refused(
        served.send(head("POST", "/v1/call", {"Transfer-Encoding": "chunked", "Content-Length": None}) + chunks), 411
    )
    assert service.asked == []


def test_a_second_request_behind_the_first_is_not_served(served: Served, service: Echo) -> None:
    once = head("POST", "/v1/call", {}) + ASK
    assert served.send(once + once.replace(b"r-1", b"r-2"))[0] == 200
    assert [request.id for request in service.asked] == ["r-1"]


@pytest.mark.parametrize("length", [str(call.LONGEST_BODY + 1), "9" * 30])
def test_too_large(served: Served, service: Echo, length: str) -> None:
    error = refused(served.send(head("POST", "/v1/call", {"Content-Length": length})), 413, "the limit is")
    assert error["code"] == "usage"
    assert service.asked == []


def test_a_body_that_ends_early(served: Served, service: Echo) -> None:
    with served.connect() as connection:
        connection.sendall(head("POST", "/v1/call", {}) + ASK[:-5])
        connection.shutdown(socket.SHUT_WR)
        refused(answer(connection), 400, "is incomplete")
    assert service.asked == []


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"v": 1}', b'{"v": 2, "op": "a", "params": {}, "id": "r"}']
    + [b'{"v":1,"op":"goal","params":{"id":"a","budget":%s},"id":"r"}' % one for one in (b"NaN", b"-Infinity")],
)
def test_lines_that_are_not_requests(served: Served, service: Echo, body: bytes) -> None:
    assert refused(served.post(body), 400)["code"] == "protocol"
    assert service.asked == []


@pytest.mark.parametrize(
    "content",
    [
        b"hello\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\0\1\2\3\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v1/call HTTP/9.9\r\n\r\n",
        b"BREW /v1/call HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/call HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"POST /v1/call HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["word", "empty", "bytes", "half", "version", "verb", "tls", "long line", "long header", "many headers"],
)
def test_bytes_that_are_not_http(served: Served, service: Echo, content: bytes) -> None:
    with served.connect() as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        connection.settimeout(5)
        try:
            while connection.recv(65_536):
                pass
        except ConnectionResetError:
            pass
    assert service.asked == []
    assert served.post()[0] == 200


def test_other_paths_are_not_found(served: Served) -> None:
    for path in ("/", "/v1/call/", "/v1/../v1/call", "/v2/call", "/v1/call?x=1", "/v1/health"):
        refused(served.post(path=path), 404, "nothing at")
    refused(served.send(head("GET", "/v1/call", {"Content-Length": None})), 404)
    status, (told,) = served.send(head("GET", "/v1/health", {"Content-Length": None}))
    assert (status, told["pid"], told["addresses"]) == (200, os.getpid(), [f"http://127.0.0.1:{served.port}"])


def test_no_header_that_allows_a_page(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("POST", "/v1/call", {}) + ASK)
        content = b""
        while piece := connection.recv(65_536):
            content += piece
    assert b"access-control" not in content.lower()


def test_the_log_quotes_no_message(served: Served) -> None:
    served.call("send\nforged line", "id\x1b[31m", text="the secret message")
    (line,) = served.lines
    assert "secret" not in line
    assert "\n" not in line
    assert "\x1b" not in line


def test_silent_connections_do_not_block_others(served: Served) -> None:
    """There are more than the limit: the oldest is disconnected, and a proper request is still served."""
    silent = [served.connect() for _ in range(listeners.MOST_PENDING + 8)]
    try:
        assert served.post()[0] == 200
        silent[0].settimeout(10)
        assert silent[0].recv(1) == b""
    finally:
        for connection in silent:
            connection.close()


def test_the_same_request_again_is_the_same_answer(served: Served, service: Echo) -> None:
    service.release.set()
    first = served.call("act", "r-9")
    assert served.call("act", "r-9") == first
    assert len(service.asked) == 1
    assert served.call("act", "r-9", other=1) != first  # another request: the service may say what it thinks of it
    assert len(service.asked) == 2


def test_many_large_requests_leave_nothing_behind(served: Served, service: Echo) -> None:
    """Each with an id of its own, of which one is as large as the rest: 100 MB, if they were kept."""
    service.release.set()
    tracemalloc.start()
    try:
        served.call("act", "r-0")
        before = tracemalloc.get_traced_memory()[0]
        for number in range(10):
            served.call("act", f"r-{number}" if number else "r" * 10_000_000, text="x" * 10_000_000)
            service.asked.clear()
        until(lambda: tracemalloc.get_traced_memory()[0] - before < 1_000_000)
    finally:
        tracemalloc.stop()


def test_answers_of_reading_operations_are_not_kept(served: Served, service: Echo) -> None:
    served.gateway.once = Once(lambda op: op == "act")
    service.release.set()
    first = served.call("act", "r-1")
    for number in range(502):
        with served.gateway.once.of(Request("echo", {}, f"e-{number}"), b"") as answer:
            answer.keep(Frame("result", number))
    assert served.call("act", "r-1") == first
    assert served.call("echo", "e-501") == [{"result": {"op": "echo", "number": 2}}]


def test_a_repetition_during_the_call_gets_the_same_answer(served: Served, service: Echo) -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(served.call("act", "r-5"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    until(lambda: bool(service.asked))
    service.release.set()
    for thread in threads:
        thread.join()
    assert answers == [[{"result": {"op": "act", "number": 1}}]] * 5
    assert len(service.asked) == 1


def test_an_operation_that_acts_is_completed_without_its_caller(served: Served, service: Echo) -> None:
    with served.connect() as connection:
        connection.sendall(request_bytes("act", "r-7"))
        until(lambda: bool(service.asked))
    service.release.set()
    until(lambda: any("'r-7'" in line for line in served.lines))
    assert served.call("act", "r-7") == [{"result": {"op": "act", "number": 1}}]


def test_a_wait_ends_with_its_caller(served: Served, service: Echo) -> None:
    with served.connect() as connection:
        connection.sendall(request_bytes("wait", "r-8"))
        until(lambda: bool(service.asked))
    until(lambda: any("'r-8' gone" in line for line in served.lines))


def test_a_repeated_wait_is_not_blocked_by_the_first_one(served: Served, service: Echo) -> None:
    """The caller has lost its connection, and the gateway does not know."""
    with served.connect() as forgotten:
        forgotten.sendall(request_bytes("wait", "r-3"))
        until(lambda: len(service.asked) == 1)
        again = threading.Thread(target=lambda: answers.append(served.call("wait", "r-3")))
        answers: list[Any] = []
        again.start()
        until(lambda: len(service.asked) == 2)
        service.release.set()
        again.join()
    assert answers[0][-1] == {"result": {"op": "wait", "number": 2}}


def request_bytes(op: str, id: str) -> bytes:
    body = encode_request(Request(op, {}, id))
    return head("POST", "/v1/call", {"Content-Length": str(len(body))}) + body


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# The challenge: both ends prove that they have the token, and neither sends it.

NONCE = "0123456789abcdef" * 2


def mac(*parts: str, token: str = TOKEN) -> str:
    return hmac.new(token.encode(), "\n".join(parts).encode(), "sha256").hexdigest()


def challenge(**headers: str | None) -> bytes:
    return head(
        "GET", "/v1/challenge", {"Authorization": None, "Content-Length": None, "Dev-Sessions-Nonce": NONCE, **headers}
    )


def challenged(connection: socket.socket) -> str:
    """Make the challenge, and check the answer. Returns the gateway's nonce."""
    connection.sendall(challenge())
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65_536)
    assert got.startswith(b"HTTP/1.1 204 ")
    nonce = header(got, "Dev-Sessions-Nonce")
    assert len(nonce) == 32
    assert header(got, "Dev-Sessions-Proof") == mac("gateway", NONCE, nonce)
    return nonce


def signed(nonce: str, what: str = "POST /v1/call", body: bytes = ASK, token: str = TOKEN) -> str:
    """The header of a request that is signed for a connection."""
    digest = hashlib.sha256(body).hexdigest()
    return f"DevSessions {mac('client', NONCE, nonce, what, digest, token=token)} {digest}"


def test_a_signed_request_is_answered_and_no_second_one(served: Served, service: Echo) -> None:
    with served.connect() as connection:
        nonce = challenged(connection)
        once = head("POST", "/v1/call", {"Authorization": signed(nonce)}) + ASK
        connection.sendall(once + once)
        assert answer(connection) == (200, [{"result": {"op": "echo", "number": 1}}])
    with served.connect() as connection:
        assert challenged(connection) != nonce
        connection.sendall(once)  # overheard on the connection before
        refused(answer(connection), 401, "token")
    refused(served.post(Authorization=signed(nonce)), 401, "token")  # without a challenge
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "shown",
    [
        lambda nonce: None,
        lambda nonce: "DevSessions",
        lambda nonce: "DevSessions  ",
        lambda nonce: signed(nonce, token="another"),
        lambda nonce: signed(nonce, token=""),
        lambda nonce: signed(NONCE),
        lambda nonce: signed(nonce, "GET /v1/health"),
        lambda nonce: signed(nonce, "POST /v1/call/"),
        lambda nonce: signed(nonce).rpartition(" ")[0],
        lambda nonce: f"{signed(nonce).rpartition(' ')[0]} {hashlib.sha256(b'x').hexdigest()}",
        lambda nonce: f"DevSessions {mac('gateway', NONCE, nonce)} {hashlib.sha256(ASK).hexdigest()}",
        lambda nonce: signed(nonce).replace("DevSessions", "Bearer"),
    ],
)
def test_a_request_with_a_wrong_signature(served: Served, service: Echo, shown: Callable[[str], str | None]) -> None:
    with served.connect() as connection:
        connection.sendall(head("POST", "/v1/call", {"Authorization": shown(challenged(connection))}))
        refused(answer(connection), 401, "token")  # before its body is read: none was sent
    assert service.asked == []


def test_a_body_other_than_the_signed_one(served: Served, service: Echo) -> None:
    with served.connect() as connection:
        shown = signed(challenged(connection))
        connection.sendall(head("POST", "/v1/call", {"Authorization": shown}) + ASK.replace(b"r-1", b"r-2"))
        refused(answer(connection), 400, "signature")
    assert service.asked == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Dev-Sessions-Nonce": nonce}, 400) for nonce in (None, "", NONCE[1:], "x" * 32, "é" * 32, "a" * 129)]
    + [
        ({"Dev-Sessions-Nonce": f"{NONCE}\r\nDev-Sessions-Nonce: {NONCE}"}, 400),
        ({"Content-Length": str(len(ASK))}, 400),
        ({"Transfer-Encoding": "chunked"}, 400),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://localhost"}, 403),
    ],
)
def test_a_challenge_that_is_refused(
    served: Served, service: Echo, headers: dict[str, str | None], status: int
) -> None:
    """The bytes after it are not read as a request."""
    refused(served.send(challenge(**headers) + head("POST", "/v1/call", {}) + ASK), status)
    assert service.asked == []


def test_a_second_challenge(served: Served) -> None:
    with served.connect() as connection:
        challenged(connection)
        connection.sendall(challenge())
        refused(answer(connection), 400, "must come first")


def test_a_connection_that_stops_after_the_challenge_is_dropped_first(served: Served) -> None:
    silent = [served.connect() for _ in range(listeners.MOST_PENDING)]
    try:
        challenged(silent[0])
        silent.append(served.connect())
        silent[0].settimeout(10)
        assert silent[0].recv(1) == b""
    finally:
        for connection in silent:
            connection.close()


def test_no_proofs_over_a_unix_socket(service: Echo, tmp_path: Path) -> None:
    """With such a proof, a caller of the socket could impersonate the gateway on a port."""
    gateway = Gateway(service, TOKEN, log=lambda line: None)
    gateway.listen(str(tmp_path / "s"))
    serving = threading.Thread(target=gateway.serve)
    serving.start()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "s"))
            connection.sendall(challenge())
            refused(answer(connection), 404)
    finally:
        gateway.stop()
        serving.join()


def client(port: int, **env: str) -> HttpTransport:
    there = {"DEV_SESSIONS_GATEWAY_URL": f"http://127.0.0.1:{port}", "DEV_SESSIONS_GATEWAY_TOKEN": TOKEN, **env}
    return HttpTransport(config.gateway_there(there), None, 0, "/")


def tries(port: int) -> list[DevSessionsError]:
    """The errors of a call and of a health request."""
    found = []
    far = client(port, DEV_SESSIONS_GATEWAY_PATIENCE="0.1")
    for attempt in (far.health, lambda: list(far.handle(Request("send", {"text": "the secret message"}, "r-1")))):
        with pytest.raises(DevSessionsError) as caught:
            attempt()
        found.append(caught.value)
    return found


LIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "hangs up": (lambda got: b"", ""),
    "no HTTP": (lambda got: b"hello\r\n\r\n", "not HTTP"),
    "echo": (lambda got: got, "not HTTP"),
    "echoed nonce": (lambda got: challenge_answer(header(got, "Dev-Sessions-Nonce"), "0" * 64), "another token"),
    "echoed twice": (lambda got: challenge_answer(*[header(got, "Dev-Sessions-Nonce")] * 2), "another token"),
    "replayed": (lambda got: challenge_answer(NONCE, mac("gateway", NONCE, NONCE)), "another token"),
    "no proof": (lambda got: b"HTTP/1.1 204 No Content\r\n\r\n", "another token"),
    "other token": (
        lambda got: challenge_answer(NONCE, mac("gateway", header(got, "Dev-Sessions-Nonce"), NONCE, token="another")),
        "another token",
    ),
    "a page": (lambda got: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "another version"),
    "an older gateway": (
        lambda got: b'HTTP/1.1 401 Unauthorized\r\n\r\n{"error":{"code":"usage","message":"say it","data":{}}}\n',
        "another version",
    ),
    "other name": (lambda got: b"HTTP/1.1 403 Forbidden\r\n\r\n", "the name"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_impostor_gets_neither_token_nor_message(lie: str) -> None:
    said, word = LIES[lie]
    with Impostor(said) as impostor:
        for error in tries(impostor.port):
            assert isinstance(error, HostUnreachable if word != "not HTTP" else ProtocolError) or lie == "hangs up"
            assert word in error.message
            assert "say it" not in error.message
            assert error.data["next"]
    assert len(impostor.got) >= 2
    for got in impostor.got:
        assert got.startswith(b"GET /v1/challenge ")
        assert TOKEN.encode() not in got
        assert b"secret" not in got
        assert b"Authorization" not in got
        assert got.count(b"\r\n\r\n") == 1  # and nothing after it


def test_without_a_token_nothing_is_sent(served: Served) -> None:
    with Impostor(lambda got: b"") as impostor:
        with pytest.raises(HostUnreachable, match="no token") as caught:
            client(impostor.port, DEV_SESSIONS_GATEWAY_TOKEN="").health()
        assert "DEV_SESSIONS_GATEWAY_TOKEN_FILE" in caught.value.data["next"]
    assert b"".join(impostor.got) == b""


def test_another_program_has_the_port_after_a_lost_connection(service: Echo) -> None:
    """The error names the request, whose outcome is unknown."""
    first, found = Served(service), []

    def ask() -> None:
        with pytest.raises(HostUnreachable) as caught:
            list(client(first.port, DEV_SESSIONS_GATEWAY_PATIENCE="1").handle(Request("wait", {}, "r-1")))
        found.append(caught.value)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: bool(service.asked))
    first.close()
    with Impostor(lambda got: challenge_answer(NONCE, "0" * 64), first.port) as impostor:
        asking.join()
    assert impostor.got
    assert "another token" in found[0].message
    assert found[0].data["request_id"] == "r-1"


def test_the_gateway_must_prove_itself_again_after_a_lost_connection(service: Echo) -> None:
    """The gateway ends while a request waits; another program takes its port, then the gateway comes back."""
    first = Served(service)
    frames: list[Frame] = []
    asking = threading.Thread(target=lambda: frames.extend(client(first.port).handle(Request("wait", {}, "r-1"))))
    asking.start()
    until(lambda: bool(service.asked))
    first.close()
    with Impostor(lambda got: challenge_answer(NONCE, "0" * 64), first.port) as impostor:
        until(lambda: len(impostor.got) >= 2)
    nonces = {header(got, "Dev-Sessions-Nonce") for got in impostor.got}
    assert len(nonces) == len(impostor.got)
    assert all(got.count(b"\r\n\r\n") == 1 and got.startswith(b"GET /v1/challenge ") for got in impostor.got)
    service.release.set()
    second = Served(service, first.port)
    try:
        asking.join()
    finally:
        second.close()
    assert frames[-1] == Frame("result", {"op": "wait", "number": 2})


# Paths, with the real service.


@pytest.fixture
def host(one_for_all: Served, tmp_path: Path) -> Served:
    """A gateway that allows one folder; there is no agent to start."""
    (tmp_path / "work" / "inside").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "work" / "relative").symlink_to("../other")
    environ = {"HOME": str(tmp_path), "DEV_SESSIONS_HOME": str(tmp_path / "state"), "PATH": "/nonexistent"}
    allowed = config.load(environ)._replace(allowed=(str(tmp_path / "work"),))
    one_for_all.gateway.transport, one_for_all.gateway.once = app.local(allowed), Once()
    return one_for_all


PLACES = ["/etc", "{}", "{}/other", "{}/work/..", "{}/work/inside/../../other", "{}/work/link", "{}/work/relative/."]


@pytest.mark.parametrize("path", [*PLACES, "{}/work-not", "{}/work/link/../other", "", "~", "inside", "{}/work/\0"])
def test_a_path_outside_the_allowed_folder_is_refused(host: Served, tmp_path: Path, path: str) -> None:
    (answered,) = host.call("create", "r", cli="claude", permissions="full", path=path.format(tmp_path))
    assert answered["error"]["code"] == "usage", answered
    assert not (tmp_path / "state" / "sessions").exists()


def test_an_error_does_not_reveal_whether_a_path_outside_exists(host: Served, tmp_path: Path) -> None:
    """A caller must not learn whether the path exists."""
    there, missing = (
        host.call("create", name, cli="claude", permissions="full", path=str(tmp_path / name))[0]["error"]["message"]
        for name in ("other", "missing")
    )
    assert there.replace("other", "missing") == missing


def test_a_path_inside_is_accepted(host: Served, tmp_path: Path) -> None:
    (answered,) = host.call("create", "r", cli="claude", permissions="full", path=str(tmp_path / "work" / "inside"))
    assert "is not installed" in answered["error"]["message"]  # it got as far as the agent


def test_a_folder_that_is_replaced_after_the_check_is_refused(host: Served, tmp_path: Path) -> None:
    """The agent's program replaces the folder with a link when it is asked for its version."""
    inside = tmp_path / "work" / "inside"
    program = tmp_path / "claude"
    program.write_text(f"#!/bin/sh\nmv {inside} {inside}.away; ln -s {tmp_path}/other {inside}; echo 2.1.332\n")
    program.chmod(0o755)
    environ = {
        "HOME": str(tmp_path),
        "DEV_SESSIONS_HOME": str(tmp_path / "state"),
        "PATH": os.defpath,
        "IS_SANDBOX": "1",
    }
    allowed = config.load({**environ, "DEV_SESSIONS_CLAUDE": str(program)})._replace(allowed=(str(tmp_path / "work"),))
    host.gateway.transport = app.local(allowed)
    (answered,) = host.call("create", "r", cli="claude", permissions="full", path=str(inside))
    assert inside.is_symlink()
    assert "was replaced by a link" in answered["error"]["message"], answered
    assert list((tmp_path / "state" / "sessions").iterdir()) == []


def test_the_callers_own_folder_is_a_limit_too(host: Served, tmp_path: Path) -> None:
    """The caller names its workspace: a link that leads out of it is refused."""
    caller = {"parent": None, "depth": 0, "root": str(tmp_path / "work" / "inside")}
    for path in (tmp_path / "work", tmp_path / "work" / "link"):
        params = {"cli": "claude", "permissions": "full", "path": str(path)}
        value = {"op": "create", "params": params, "id": path.name, "v": 1, "caller": caller}
        _, (answered,) = host.post(json.dumps(value).encode())
        assert "HOST_PATH" in answered["error"]["message"]


@pytest.mark.parametrize("wrong", [{"root": "/a\0b"}, {"root": "\ud800"}, {"parent": "a\0"}, {"depth": 10**30}])
def test_an_invalid_caller(host: Served, tmp_path: Path, wrong: dict[str, Any]) -> None:
    params = {"cli": "claude", "permissions": "full", "path": str(tmp_path / "work")}
    value = {"op": "create", "params": params, "id": "r", "v": 1, "caller": wrong}
    _, (answered,) = host.post(json.dumps(value).encode())
    assert answered["error"]["code"] == "usage"
    assert "unexpected" not in answered["error"]["message"]


@pytest.mark.parametrize("id", ["--help", "-rf", "../../etc", "a b", "$(id)", "a;b", "\n", "\0"])
def test_an_id_may_look_like_something_else(host: Served, id: str) -> None:
    one, several = {"id": id}, {"ids": [id]}
    calls = {"status": one, "send": {**one, "text": "x"}, "kill": several, "wait": several, "logs": one, "attach": one}
    for op, params in calls.items():
        (answered,) = host.call(op, f"{op}{id}", **params)
        assert answered["error"]["code"] == "not_found"
    options = {"cli": "claude", "permissions": "full", "path": "work"}
    assert host.call("create", f"new{id}", id=id, **options)[0]["error"]["code"] == "usage"


def test_local_operations_do_not_exist_for_remote_callers(host: Served) -> None:
    (answered,) = host.call("courier", "r", id="a")
    assert "no operation called 'courier'" in answered["error"]["message"]


@pytest.mark.parametrize("model", ["--settings=/tmp/x", "-x", "a\nb", ""])
def test_a_model_that_looks_like_an_option_is_refused(host: Served, tmp_path: Path, model: str) -> None:
    path = str(tmp_path / "work")
    (answered,) = host.call("create", "r", cli="claude", permissions="full", path=path, model=model)
    assert "model" in answered["error"]["message"]


@pytest.mark.parametrize("cli", ["os:system", "../x", "--help", "dev_sessions.backends.claude.backend:ClaudeBackend"])
def test_an_unknown_agent(host: Served, tmp_path: Path, cli: str) -> None:
    (answered,) = host.call("create", "r", cli=cli, permissions="full", path=str(tmp_path / "work"))
    assert "no agent called" in answered["error"]["message"]
