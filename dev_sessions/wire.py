"""The messages between a client and a service: one `Request` in, a stream of `Frame`s out.

Frames are lines of JSON (NDJSON): any number of ``{"event": ...}`` and ``{"alive": seconds}``, then exactly one
``{"result": ...}`` or ``{"error": {"code", "message", "data"}}``. This module does not know the operations.
"""

from __future__ import annotations

import json

from .errors import ProtocolError, UsageError
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    class Transport(Protocol):
        """Carries a request to a service and streams its frames back. Called by `client.Client`."""

        def handle(self, request: Request) -> Iterator[Frame]: ...


PROTOCOL_VERSION = 1
_KINDS = ("event", "alive", "result", "error")


class Caller(NamedTuple):
    """The sender of a request from elsewhere.

    Attributes:
        parent: id of the session that it runs in, or None.
        depth: how many sessions a session that it creates has above it.
        root: the folder on this side to which its sessions are confined; None: it may not name paths.
    """

    parent: str | None = None
    depth: int = 0
    root: str | None = None


class Request(NamedTuple):
    """A call of one operation.

    `id` is the caller's request id: a repetition with the same id never acts twice. The parameter `timeout`, if there
    is one, counts from when the request was first sent. `caller` is None within one process.
    """

    op: str
    params: dict[str, Any]
    id: str
    v: int = PROTOCOL_VERSION
    caller: Caller | None = None


class Frame(NamedTuple):
    """One line of an answer; `kind` is "event", "alive", "result" or "error"."""

    kind: str
    value: Any

    @property
    def final(self) -> bool:
        return self.kind in ("result", "error")


def encode_request(request: Request) -> bytes:
    """A request as one line of UTF-8 JSON.

    Raises:
        UsageError: it holds a value that JSON does not have, such as NaN.
    """
    fields = request._asdict()
    caller = fields.pop("caller")
    try:
        return _line(fields if caller is None else {**fields, "caller": caller._asdict()}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the request is not JSON: {error}", next="use texts, finite numbers, lists and objects"
        ) from error


def decode_request(line: bytes) -> Request:
    """The request in a line of `encode_request`. It comes from elsewhere, so it has a caller.

    Raises:
        ProtocolError: it is not a request, or one of another protocol version.
    """
    value = _object(line, parse_constant=_refuse_constant)
    if value.get("v") != PROTOCOL_VERSION:
        raise ProtocolError(
            f"the other side speaks protocol version {value.get('v')!r}, this one {PROTOCOL_VERSION}",
            next="install the same version of dev-sessions on both sides",
        )
    op, params, id_ = value.get("op"), value.get("params"), value.get("id")
    if not (isinstance(op, str) and isinstance(params, dict) and isinstance(id_, str)):
        raise ProtocolError("a request needs op, params and id")
    caller = value.get("caller", {})
    if not isinstance(caller, dict):
        raise ProtocolError("the caller of a request is not an object")
    parent, depth, root = caller.get("parent"), caller.get("depth", 0), caller.get("root")
    if not (isinstance(parent, str | None) and isinstance(root, str | None) and type(depth) is int and depth >= 0):
        raise ProtocolError("the caller of a request has an invalid parent, depth or root")
    return Request(op, params, id_, caller=Caller(parent or None, depth, root))


def encode_frame(frame: Frame) -> bytes:
    """A frame as one line of UTF-8 JSON."""
    return _line({frame.kind: frame.value})


def decode_frame(line: bytes) -> Frame:
    """The frame in a line of `encode_frame`.

    Raises:
        ProtocolError: it is not a frame.
    """
    value = _object(line)
    if len(value) != 1 or next(iter(value)) not in _KINDS:
        raise ProtocolError(f"not a frame: {line[:80]!r}")
    ((kind, content),) = value.items()
    return Frame(kind, content)


def _line(value: dict[str, Any], **options: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), **options).encode() + b"\n"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _object(line: bytes, **options: Any) -> dict[str, Any]:
    try:
        value = json.loads(line, **options)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:80]!r}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"not a JSON object: {line[:80]!r}")
    return value
