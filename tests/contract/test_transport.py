"""The contract of a transport: in this process, with everything encoded, and through gateways."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev_sessions import config, errors
from dev_sessions.client import Client
from dev_sessions.gateway.replay import Once
from dev_sessions.gateway.server import Gateway
from dev_sessions.service import OPERATIONS, Service
from dev_sessions.transport.http import HttpTransport
from dev_sessions.wire import (
    PROTOCOL_VERSION,
    Frame,
    Request,
    decode_frame,
    decode_request,
    encode_frame,
    encode_request,
)


class CodecTransport:
    """A transport over a wire: everything passes as bytes, and the service answers invalid requests too."""

    def __init__(self, service: Any) -> None:
        self._service = service

    def handle(self, request: Request) -> Iterator[Frame]:
        for line in self._far_side(encode_request(request)):
            assert line.endswith(b"\n")
            assert line.count(b"\n") == 1
            yield decode_frame(line)

    def _far_side(self, line: bytes) -> Iterator[bytes]:
        try:
            request = decode_request(line)
        except errors.ProtocolError as error:
            yield encode_frame(Frame("error", error.to_wire()))
            return
        for frame in self._service.handle(request):
            yield encode_frame(frame)


class Scripted:
    """A service that answers with given frames, or with the request itself."""

    def __init__(self, answer: Callable[[Request], Iterator[Frame]]) -> None:
        self._answer = answer

    def handle(self, request: Request) -> Iterator[Frame]:
        return self._answer(request)


def echo(request: Request) -> Iterator[Frame]:
    yield Frame("result", {"op": request.op, "params": request.params, "id": request.id, "v": request.v})


Make = Callable[[Any], Any]
TOKEN = "s3cret"


class Exchange:
    """A gateway whose service can be exchanged."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self._service: Any = None
        self._gateway = Gateway(self, TOKEN, log=lambda line: None)
        environ = {
            "DEV_SESSIONS_SANDBOX": "1",
            "DEV_SESSIONS_GATEWAY_URL": self._gateway.listen(address),
            "DEV_SESSIONS_GATEWAY_TOKEN": "" if isinstance(address, str) else TOKEN,
        }
        self._there = config.gateway(environ)
        self._serving = threading.Thread(target=self._gateway.serve)
        self._serving.start()

    def handle(self, request: Request) -> Iterator[Frame]:
        frames: Iterator[Frame] = self._service.handle(request._replace(caller=None))
        return frames

    def before(self, service: Any) -> HttpTransport:
        """A transport to the service, by way of the gateway."""
        self._service, self._gateway.once = service, Once()
        assert self._there is not None
        return HttpTransport(self._there, None, 0, "/")

    def close(self) -> None:
        self._gateway.stop()
        self._serving.join()


@pytest.fixture(scope="module")
def exchanges() -> Iterator[dict[str, Exchange]]:
    with tempfile.TemporaryDirectory() as folder:
        made = {"tcp": Exchange(("127.0.0.1", 0)), "unix": Exchange(f"{folder}/socket")}
        yield made
        for exchange in made.values():
            exchange.close()


@pytest.fixture(params=["local", "codec", "tcp", "unix"])
def over(request: pytest.FixtureRequest, exchanges: dict[str, Exchange]) -> Make:
    """Makes a transport to a service."""
    near: dict[str, Make] = {"local": lambda service: service, "codec": CodecTransport}
    return near[request.param] if request.param in near else exchanges[request.param].before


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service on an empty state folder; no agent is started."""
    environ = {"HOME": str(tmp_path), "DEV_SESSIONS_HOME": str(tmp_path / "state"), "PATH": os.defpath}
    return Service(config.load(environ))


def test_a_request_arrives_as_it_was_sent(over: Make) -> None:
    params = {"id": "a", "text": "x", "queue": False, "count": 3, "timeout": 0.5, "env": {"A": "b"}, "model": None}
    (frame,) = over(Scripted(echo)).handle(Request("send", params, "r-1"))
    assert frame == Frame("result", {"op": "send", "params": params, "id": "r-1", "v": PROTOCOL_VERSION})


@pytest.mark.parametrize("result", [None, [], {}, "", 0, False, ["a", {"b": [1.5, None]}], {"reply": "a\nb\tc"}])
def test_any_json_value_is_a_result(over: Make, result: object) -> None:
    (frame,) = over(Scripted(lambda request: iter([Frame("result", result)]))).handle(Request("x", {}, "r"))
    assert frame == Frame("result", result)
    assert frame.final


@pytest.mark.parametrize(
    "text",
    [
        "line\nline\r\nline\rend",
        "tab\t nul\0 bell\a escape\x1b[31m del\x7f",
        "caf\u00e9 cafe\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u202eback",
        "\u2028 and \u2029 and \x85 end lines elsewhere",
        '"quotes" \\backslash\\ {"result": 1}',
        "",
    ],
)
def test_text_arrives_unchanged(over: Make, text: str) -> None:
    (frame,) = over(Scripted(echo)).handle(Request("send", {"text": text}, "r"))
    assert frame.value["params"]["text"] == text


def test_five_megabytes_arrive_unchanged(over: Make) -> None:
    text = ('0123456789 äöü \U0001f600 \\ " \n' * 200_000)[: 5 * 1024 * 1024]
    assert len(text.encode()) > 5 * 1024 * 1024
    (frame,) = over(Scripted(echo)).handle(Request("send", {"text": text}, "r"))
    assert frame.value["params"]["text"] == text


def test_events_come_in_order_and_before_the_final_frame(over: Make) -> None:
    script = [
        Frame("event", {"note": "one"}),
        Frame("alive", 1.5),
        Frame("event", {"session": "a"}),
        Frame("result", [1]),
    ]
    frames = list(over(Scripted(lambda request: iter(script))).handle(Request("x", {}, "r")))
    told = [frame for frame in frames if frame.kind != "alive"]  # a transport may omit keep-alives
    assert told == [script[0], *script[2:]]
    assert [frame.final for frame in told] == [False, False, True]


def test_an_event_arrives_when_it_happens(over: Make) -> None:
    """A transport must not collect the frames before it yields them."""
    seen = threading.Event()

    def answer(request: Request) -> Iterator[Frame]:
        yield Frame("event", {"note": "first"})
        yield Frame("result", seen.wait(10))

    frames = over(Scripted(answer)).handle(Request("x", {}, "r"))
    assert next(frames) == Frame("event", {"note": "first"})
    seen.set()
    assert list(frames) == [Frame("result", True)]


def test_a_client_sees_events_without_the_last_frame(over: Make) -> None:
    script = [Frame("event", {"note": "one"}), Frame("alive", 1.0), Frame("event", {"note": "two"})]
    seen: list[Any] = []
    client = Client(over(Scripted(lambda request: iter([*script, Frame("result", {"status": "idle"})]))), seen.append)
    assert client.status("a") == {"status": "idle"}
    assert seen == [{"note": "one"}, {"note": "two"}]


def test_an_answer_without_a_final_frame_is_an_error(over: Make) -> None:
    client = Client(over(Scripted(lambda request: iter([Frame("event", {"note": "one"})]))))
    with pytest.raises(errors.ProtocolError, match="without an answer"):
        client.status("a")


def kinds(root: type[errors.DevSessionsError] = errors.DevSessionsError) -> list[type[errors.DevSessionsError]]:
    """The error tree, as `errors.py` defines it (backends have more)."""
    below = [kind for child in root.__subclasses__() for kind in kinds(child)]
    return [kind for kind in (root, *below) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_an_error_arrives_as_its_class(over: Make, kind: type[errors.DevSessionsError]) -> None:
    sent = kind("it is so: ä\nand so", next="dev-sessions list", session="a", turn=3, deep={"x": [None]})
    client = Client(over(Scripted(lambda request: iter([Frame("error", sent.to_wire())]))))
    with pytest.raises(errors.DevSessionsError) as caught:
        client.status("a")
    assert type(caught.value) is kind
    assert caught.value.code == kind.code
    assert caught.value.message == str(caught.value) == "it is so: ä\nand so"
    assert caught.value.data == {"next": "dev-sessions list", "session": "a", "turn": 3, "deep": {"x": [None]}}


def test_an_error_of_an_unknown_code_keeps_it(over: Make) -> None:
    answer = {"code": "of_tomorrow", "message": "new", "data": {"next": "upgrade"}}
    with pytest.raises(errors.DevSessionsError) as caught:
        Client(over(Scripted(lambda request: iter([Frame("error", answer)])))).status("a")
    assert type(caught.value) is errors.DevSessionsError
    assert caught.value.to_wire() == answer


def test_every_error_has_its_own_code() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(set(codes)) == len(codes) >= 14


# With the real service.


def final(frames: Iterator[Frame]) -> Frame:
    """The one final frame of an answer."""
    *before, last = list(frames)
    assert not any(frame.final for frame in before)
    assert last.final
    return last


def test_an_operation_that_reads_answers(over: Make, service: Service) -> None:
    assert final(over(service).handle(Request("list", {}, "r"))) == Frame("result", [])


def test_an_unknown_operation_is_named(over: Make, service: Service) -> None:
    frame = final(over(service).handle(Request("fly", {}, "r")))
    assert frame.kind == "error"
    assert frame.value["code"] == "usage"
    assert "'fly'" in frame.value["message"]
    assert "same version" in frame.value["data"]["next"]


def test_an_unknown_session_is_not_found(over: Make, service: Service) -> None:
    for call in (
        lambda client: client.status("nobody"),
        lambda client: client.send("nobody", "text"),
        lambda client: client.wait(["nobody"]),
        lambda client: client.last_message("nobody"),
        lambda client: client.interrupt("nobody"),
        lambda client: client.attach("nobody"),
        lambda client: client.kill(["nobody"]),
        lambda client: client.ask("nobody", "text"),
    ):
        with pytest.raises(errors.SessionNotFound, match="nobody") as caught:
            call(Client(over(service)))
        assert caught.value.data["next"] == "dev-sessions list"


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op not in ("list", "names", "events", "pending")])
def test_a_request_that_lacks_parameters_gets_a_final_frame(over: Make, service: Service, op: str) -> None:
    """A request of another version or program gets an answer, not a broken connection."""
    frame = final(over(service).handle(Request(op, {}, "r")))
    assert frame.kind == "error"
    assert frame.value["message"]


def test_invalid_unicode_is_refused_alike(over: Make, service: Service) -> None:
    """Bytes of an argument that are no UTF-8 reach Python as lone surrogates."""
    with pytest.raises(errors.DevSessionsError):
        Client(over(service)).send("nobody", "\udcff")


def test_every_frame_is_json(over: Make, service: Service) -> None:
    for op in ("list", "status", "nonsense"):
        for frame in over(service).handle(Request(op, {"id": "a"}, "r")):
            assert json.loads(json.dumps(frame.value)) == frame.value


# The codec itself.


def test_another_protocol_version_is_refused_with_both_numbers() -> None:
    frame = final(CodecTransport(Scripted(echo)).handle(Request("list", {}, "r", v=PROTOCOL_VERSION + 7)))
    assert frame.kind == "error"
    assert frame.value["code"] == "protocol"
    assert str(PROTOCOL_VERSION + 7) in frame.value["message"]
    assert str(PROTOCOL_VERSION) in frame.value["message"].replace(str(PROTOCOL_VERSION + 7), "")
    assert "same version" in frame.value["data"]["next"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"hello",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"op": "list"}',
        b'{"v": 1, "op": "list", "params": {}}',
        b'{"v": 1, "op": 3, "params": {}, "id": "r"}',
        b'{"v": 1, "op": "list", "params": [], "id": "r"}',
        b'{"v": 1, "op": "list", "params": {}, "id": 7}',
        b'{"op": "list", "params": {}, "id": "r"}',
    ],
)
def test_a_line_that_is_not_a_request_is_refused(line: bytes) -> None:
    with pytest.raises(errors.ProtocolError):
        decode_request(line)


@pytest.mark.parametrize(
    "line",
    [b"", b"hello", b"[]", b"{}", b'{"resultat": 1}', b'{"result": 1, "event": 2}', b'{"result": 1', b"\xff", b"null"],
)
def test_a_line_that_is_not_a_frame_is_refused(line: bytes) -> None:
    with pytest.raises(errors.ProtocolError):
        decode_frame(line)


def test_a_frame_is_always_one_line() -> None:
    line = encode_frame(Frame("result", {"text": "a\nb\u2028c\r\nd"}))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_frame(line) == Frame("result", {"text": "a\nb\u2028c\r\nd"})
