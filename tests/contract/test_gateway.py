"""What a gateway lets in, and what it does to those who come with something else. Raw sockets on one side."""

from __future__ import annotations

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

from dev_sessions import app, config
from dev_sessions.gateway import call, listeners
from dev_sessions.gateway.once import Once
from dev_sessions.gateway.server import Gateway
from dev_sessions.wire import Frame, Request, encode_request

TOKEN = "s3cret"
ASK = encode_request(Request("echo", {"x": 1}, "r-1"))
HEADERS = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}", "Content-Length": str(len(ASK))}


class Echo:
    """Answers with what it was asked; holds back where the request says so."""

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

    def __init__(self, service: Any) -> None:
        self.lines: list[str] = []
        self.gateway = Gateway(service, TOKEN, log=self.lines.append, hosts=["my.box"])
        url = self.gateway.listen(("127.0.0.1", 0))
        self.port = int(url.rpartition(":")[2])
        self._serving = threading.Thread(target=self.gateway.serve)
        self._serving.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 15)

    def close(self) -> None:
        self.gateway.stop()
        self._serving.join()

    def send(self, content: bytes) -> tuple[int, list[Any]]:
        """What comes back for these bytes: the status (0: nothing), and the lines of the body."""
        with self.connect() as connection:
            try:
                connection.sendall(content)
            except OSError:
                pass  # it has hung up; what it said is there all the same
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
    """A gateway in front of a service that nobody has used yet."""
    one_for_all.gateway.transport, one_for_all.gateway.once = service, Once()
    one_for_all.lines.clear()
    yield one_for_all
    service.release.set()


def refused(answered: tuple[int, list[Any]], status: int, *words: str) -> dict[str, Any]:
    """A refusal, as an error that a client can read."""
    assert answered[0] == status, answered
    error: dict[str, Any] = answered[1][0]["error"]
    for word in words:
        assert word in error["message"] + str(error["data"]), error
    return error


def test_a_call_that_may(served: Served, service: Echo) -> None:
    assert served.post() == (200, [{"result": {"op": "echo", "number": 1}}])
    for host in ("localhost:1", "127.0.0.1", "[::1]:6767", "HOST.docker.internal:6767", "My.Box"):
        assert served.post(Host=host)[0] == 200
    assert len(served.lines) == 6
    assert "'echo' 'r-1' result" in served.lines[0]
    assert service.asked[0].caller is not None


@pytest.mark.parametrize(
    "shown", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"]
)
def test_without_the_token_nothing(served: Served, service: Echo, shown: str | None) -> None:
    error = refused(served.post(Authorization=shown), 401, "token", "DEV_SESSIONS_GATEWAY_TOKEN_FILE")
    assert error["code"] == "unreachable"
    assert service.asked == []
    refused(served.send(head("GET", "/v1/health", {"Authorization": shown, "Content-Length": None})), 401, "token")


def test_a_stranger_is_turned_away_before_his_body_is_read(served: Served) -> None:
    """He says that he brings 30 MB, and is answered without having sent any."""
    with served.connect() as connection:
        connection.sendall(head("POST", "/v1/call", {"Authorization": None, "Content-Length": "30000000"}))
        refused(answer(connection), 401)


@pytest.mark.parametrize("host", [None, "", "evil.example", "localhost.evil.example", "evil.example:6767", "0.0.0.0"])
def test_a_name_that_is_not_ours(served: Served, service: Echo, host: str | None) -> None:
    refused(served.post(Host=host), 403, "no name of this gateway", "DEV_SESSIONS_GATEWAY_HOSTS")
    assert service.asked == []


def test_two_names_at_once(served: Served) -> None:
    refused(served.post(Host="localhost\r\nHost: localhost"), 403)


@pytest.mark.parametrize("origin", ["http://localhost", "null", "", "https://evil.example"])
def test_a_page_in_a_browser(served: Served, service: Echo, origin: str) -> None:
    refused(served.post(Origin=origin), 403, "browser")
    status, _ = served.send(head("OPTIONS", "/v1/call", {"Origin": origin, "Content-Length": None}))
    assert status == 501
    assert service.asked == []


@pytest.mark.parametrize("length", [None, "", "-1", "+5", "1e3", "0x10", "5, 5", "٣"])
def test_a_length_that_is_none(served: Served, service: Echo, length: str | None) -> None:
    refused(served.post(Content_Length=length, **{"Content-Length": None}), 411, "Content-Length")
    assert service.asked == []


def test_two_lengths_and_chunks(served: Served, service: Echo) -> None:
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
    error = refused(served.send(head("POST", "/v1/call", {"Content-Length": length})), 413, "the most")
    assert error["code"] == "usage"
    assert service.asked == []


def test_a_body_that_ends_early(served: Served, service: Echo) -> None:
    with served.connect() as connection:
        connection.sendall(head("POST", "/v1/call", {}) + ASK[:-5])
        connection.shutdown(socket.SHUT_WR)
        refused(answer(connection), 400, "ended before its end")
    assert service.asked == []


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"v": 1}', b'{"v": 2, "op": "a", "params": {}, "id": "r"}']
    + [b'{"v":1,"op":"goal","params":{"id":"a","budget":%s},"id":"r"}' % one for one in (b"NaN", b"-Infinity")],
)
def test_what_is_no_request(served: Served, service: Echo, body: bytes) -> None:
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
def test_what_is_no_http(served: Served, service: Echo, content: bytes) -> None:
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


def test_other_places(served: Served) -> None:
    for path in ("/", "/v1/call/", "/v1/../v1/call", "/v2/call", "/v1/call?x=1", "/v1/health"):
        refused(served.post(path=path), 404, "nothing at")
    refused(served.send(head("GET", "/v1/call", {"Content-Length": None})), 404)
    status, (told,) = served.send(head("GET", "/v1/health", {"Content-Length": None}))
    assert (status, told["pid"], told["addresses"]) == (200, os.getpid(), [f"http://127.0.0.1:{served.port}"])


def test_no_word_that_lets_a_page_in(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(head("POST", "/v1/call", {}) + ASK)
        content = b""
        while piece := connection.recv(65_536):
            content += piece
    assert b"access-control" not in content.lower()


def test_the_log_holds_nothing_of_what_was_said(served: Served) -> None:
    served.call("send\nforged line", "id\x1b[31m", text="the secret message")
    (line,) = served.lines
    assert "secret" not in line
    assert "\n" not in line
    assert "\x1b" not in line


def test_those_who_say_nothing_are_in_nobodys_way(served: Served) -> None:
    """More of them than may be there at once: the oldest is hung up on, and who knows what he wants is served."""
    silent = [served.connect() for _ in range(listeners.MOST_STRANGERS + 8)]
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


def test_what_only_reads_is_not_kept_and_displaces_nothing(served: Served, service: Echo) -> None:
    served.gateway.once = Once(lambda op: op == "act")
    service.release.set()
    first = served.call("act", "r-1")
    for number in range(502):
        with served.gateway.once.of(Request("echo", {}, f"e-{number}"), b"") as answer:
            answer.keep(Frame("result", number))
    assert served.call("act", "r-1") == first
    assert served.call("echo", "e-501") == [{"result": {"op": "echo", "number": 2}}]


def test_whoever_asks_again_while_it_is_done_gets_that_answer(served: Served, service: Echo) -> None:
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


def test_what_acts_comes_to_its_end_though_the_caller_is_gone(served: Served, service: Echo) -> None:
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


def test_a_wait_that_is_asked_for_again_does_not_stand_in_its_own_way(served: Served, service: Echo) -> None:
    """The caller's connection was cut, and nobody has told us."""
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


# Paths, with the real service behind it.


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
def test_a_path_elsewhere_is_refused(host: Served, tmp_path: Path, path: str) -> None:
    (answered,) = host.call("create", "r", cli="claude", permissions="full", path=path.format(tmp_path))
    assert answered["error"]["code"] == "usage", answered
    assert not (tmp_path / "state" / "sessions").exists()


def test_a_path_outside_is_not_even_looked_for(host: Served, tmp_path: Path) -> None:
    """Whether something is there is nobody's business."""
    there, missing = (
        host.call("create", name, cli="claude", permissions="full", path=str(tmp_path / name))[0]["error"]["message"]
        for name in ("other", "missing")
    )
    assert there.replace("other", "missing") == missing


def test_a_path_inside_is_taken(host: Served, tmp_path: Path) -> None:
    (answered,) = host.call("create", "r", cli="claude", permissions="full", path=str(tmp_path / "work" / "inside"))
    assert "is not installed" in answered["error"]["message"]  # it got as far as the agent


def test_a_folder_that_is_swapped_after_it_was_checked(host: Served, tmp_path: Path) -> None:
    """The program that is asked for its version, after the check and before the start, plants the link."""
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
    assert "leads elsewhere" in answered["error"]["message"], answered
    assert list((tmp_path / "state" / "sessions").iterdir()) == []


def test_the_callers_own_folder_binds_him_too(host: Served, tmp_path: Path) -> None:
    """He says where his workspace is: a link that was planted there after he looked leads nowhere."""
    caller = {"parent": None, "depth": 0, "root": str(tmp_path / "work" / "inside")}
    for path in (tmp_path / "work", tmp_path / "work" / "link"):
        params = {"cli": "claude", "permissions": "full", "path": str(path)}
        value = {"op": "create", "params": params, "id": path.name, "v": 1, "caller": caller}
        _, (answered,) = host.post(json.dumps(value).encode())
        assert "HOST_PATH" in answered["error"]["message"]


@pytest.mark.parametrize("wrong", [{"root": "/a\0b"}, {"root": "\ud800"}, {"parent": "a\0"}, {"depth": 10**30}])
def test_a_caller_that_cannot_be(host: Served, tmp_path: Path, wrong: dict[str, Any]) -> None:
    params = {"cli": "claude", "permissions": "full", "path": str(tmp_path / "work")}
    value = {"op": "create", "params": params, "id": "r", "v": 1, "caller": wrong}
    _, (answered,) = host.post(json.dumps(value).encode())
    assert answered["error"]["code"] == "usage"
    assert "unexpected" not in answered["error"]["message"]


@pytest.mark.parametrize("id", ["--help", "-rf", "../../etc", "a b", "$(id)", "a;b", "\n", "\0"])
def test_ids_that_look_like_something_else_are_ids(host: Served, id: str) -> None:
    one, several = {"id": id}, {"ids": [id]}
    calls = {"status": one, "send": {**one, "text": "x"}, "kill": several, "wait": several, "logs": one, "attach": one}
    for op, params in calls.items():
        (answered,) = host.call(op, f"{op}{id}", **params)
        assert answered["error"]["code"] == "not_found"
    options = {"cli": "claude", "permissions": "full", "path": "work"}
    assert host.call("create", f"new{id}", id=id, **options)[0]["error"]["code"] == "usage"


def test_what_is_for_processes_of_this_machine_is_not_there(host: Served) -> None:
    (answered,) = host.call("courier", "r", id="a")
    assert "no operation called 'courier'" in answered["error"]["message"]


@pytest.mark.parametrize("model", ["--settings=/tmp/x", "-x", "a\nb", ""])
def test_a_model_that_looks_like_an_option_is_none(host: Served, tmp_path: Path, model: str) -> None:
    path = str(tmp_path / "work")
    (answered,) = host.call("create", "r", cli="claude", permissions="full", path=path, model=model)
    assert "model" in answered["error"]["message"]


@pytest.mark.parametrize("cli", ["os:system", "../x", "--help", "dev_sessions.backends.claude.agent:ClaudeBackend"])
def test_an_agent_that_is_no_agent(host: Served, tmp_path: Path, cli: str) -> None:
    (answered,) = host.call("create", "r", cli=cli, permissions="full", path=str(tmp_path / "work"))
    assert "no agent called" in answered["error"]["message"]
