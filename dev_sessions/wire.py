"""What travels between a client and a service: one `Request` in, a stream of `Frame`s out.

Frames are lines of JSON (NDJSON): any number of ``{"event": ...}`` and ``{"alive": seconds}``, then exactly one
``{"result": ...}`` or ``{"error": {"code", "message", "data"}}``. This module knows no operation.
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
        """Carries a request to some service and streams its frames back. Called by `client.Client`."""

        def handle(self, request: Request) -> Iterator[Frame]: ...


PROTOCOL_VERSION = 1
_KINDS = ("event", "alive", "result", "error")


class Caller(NamedTuple):
    """On whose behalf a request from elsewhere is run.

    Attributes:
        parent: id of the session that it came from, or None.
        depth: how many sessions stand above one that it creates.
        root: the folder, as this side calls it, that sessions of that caller have to work in; None: it names no paths.
    """

    parent: str | None = None
    depth: int = 0
    root: str | None = None


class Request(NamedTuple):
    """One operation to run.

    `id` is the caller's request id: the same id again never acts twice. The parameter `timeout`, where there is one,
    counts from when the request was sent first. `caller` is None within one process.
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
        UsageError: it holds what JSON has no word for, such as NaN.
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
    """Read what `encode_request` wrote. It comes from elsewhere, so it has a caller.

    Raises:
        ProtocolError: not a request, or one of a protocol version that this side does not speak.
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
    return Request(op, params, id_, caller=_caller(value.get("caller", {})))


def _caller(value: Any) -> Caller:
    fields = value if isinstance(value, dict) else {"depth": None}
    parent, depth, root = fields.get("parent"), fields.get("depth", 0), fields.get("root")
    if isinstance(parent, str | None) and isinstance(root, str | None) and type(depth) is int and depth >= 0:
        return Caller(parent or None, depth, root)
    raise ProtocolError("a request says of its caller what cannot be")


def encode_frame(frame: Frame) -> bytes:
    """A frame as one line of UTF-8 JSON."""
    return _line({frame.kind: frame.value})


def decode_frame(line: bytes) -> Frame:
    """Read what `encode_frame` wrote.

    Raises:
        ProtocolError: the line is no frame.
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
