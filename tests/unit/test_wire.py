"""Requests, frames and errors survive encoding and decoding."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev_sessions import errors, wire
from dev_sessions.wire import Caller, Frame, Request

TEXTS = st.text(st.sampled_from(list('a"\\\n\r\t\0é漢🙂\u2028{}[]:,')), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
KINDS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]


CALLERS = st.builds(Caller, st.none() | TEXTS.filter(bool), st.integers(0, 9), st.none() | TEXTS)


@given(TEXTS, st.dictionaries(TEXTS, JSON, max_size=3), TEXTS, CALLERS)
def test_a_request_survives_encoding(op, params, id, caller):
    line = wire.encode_request(Request(op, params, id, caller=caller))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert wire.decode_request(line) == Request(op, params, id, caller=caller)


@given(st.sampled_from(["event", "alive", "result", "error"]), JSON)
def test_a_frame_survives_encoding(kind, value):
    line = wire.encode_frame(Frame(kind, value))
    assert line.count(b"\n") == 1
    assert wire.decode_frame(line) == Frame(kind, value)


def test_only_results_and_errors_are_final():
    assert [kind for kind in ("event", "alive", "result", "error") if Frame(kind, None).final] == ["result", "error"]


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{", b"[]", b"5", b"null", b'"text"', b"\xff", b"{}", b'{"op":"x","params":{},"id":"r"}']
    + [
        json.dumps({"op": "x", "params": {}, "id": "r", "v": 1, **wrong}).encode()
        for wrong in ({"op": 5}, {"params": []})
    ]
    + [json.dumps({"op": "x", "params": {}, "v": 1, **wrong}).encode() for wrong in ({}, {"id": None})],
)
def test_lines_that_are_not_requests(line):
    with pytest.raises(errors.ProtocolError):
        wire.decode_request(line)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused_by_name(version):
    line = json.dumps({"op": "x", "params": {}, "id": "r", "v": version}).encode()
    with pytest.raises(errors.ProtocolError, match=r"version") as caught:
        wire.decode_request(line)
    assert "same version" in caught.value.data["next"]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"result":1,"event":2}', b'{"other":1}', b"\xff", b"17"])
def test_lines_that_are_not_frames(line):
    with pytest.raises(errors.ProtocolError):
        wire.decode_frame(line)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_encoding(kind):
    error = kind("it went wrong: ü", next="dev-sessions list", session="fizz-top", turn=3)
    frame = wire.decode_frame(wire.encode_frame(Frame("error", error.to_wire())))
    found = errors.from_wire(frame.value)
    assert type(found) is kind
    assert (found.message, str(found), found.code) == (error.message, error.message, kind.code)
    assert found.data == {"next": "dev-sessions list", "session": "fizz-top", "turn": 3}


def test_each_error_has_its_own_code():
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert all(issubclass(kind, errors.DevSessionsError) for kind in KINDS)


def test_an_error_of_a_newer_version_keeps_its_code():
    found = errors.from_wire({"code": "from_next_year", "message": "m", "data": {"a": 1}})
    assert type(found) is errors.DevSessionsError
    assert (found.code, found.message, found.data) == ("from_next_year", "m", {"a": 1})
    assert errors.DevSessionsError("x").code == "error"


@pytest.mark.parametrize("value", [{}, {"data": None}, {"message": None, "code": None}])
def test_an_incomplete_error_is_still_an_error(value):
    assert isinstance(errors.from_wire(value), errors.DevSessionsError)
    assert isinstance(errors.from_wire(value).message, str)


def test_a_decoded_request_has_a_caller():
    assert wire.decode_request(wire.encode_request(Request("list", {}, "r"))).caller == Caller()


@pytest.mark.parametrize(
    "caller", [None, "x", {"depth": "1"}, {"depth": -1}, {"depth": True}, {"root": 1}, {"parent": []}]
)
def test_an_invalid_caller(caller):
    value = {"op": "list", "params": {}, "id": "r", "v": wire.PROTOCOL_VERSION, "caller": caller}
    with pytest.raises(errors.ProtocolError, match="caller"):
        wire.decode_request(json.dumps(value).encode())
