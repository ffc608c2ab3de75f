"""Every operation's parameters, and who may call it: the only declaration.

The service checks each request against it (`checked`), `Client` omits parameters that have their defaults (`to_send`),
and tests compare it with `Client`'s verbs and with the table in `docs/protocol.md`.
"""

from __future__ import annotations

from .errors import UsageError
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]

SAME_VERSION = "use the same version of dev-sessions on both sides"
LONGEST_NAME = 1000  # characters, of an id, a group, a model and the like
_LONGEST_PATH = 4096  # characters
_LARGEST = 2**53  # JSON readers may round larger whole numbers
_DEEPEST = 20  # levels of lists and objects


class Parameter(NamedTuple):
    """One parameter of an operation.

    Attributes:
        kind: a key of `_KINDS`.
        default: its value if it is missing or null.
        required: whether it must be given.
    """

    kind: str
    default: Any = None
    required: bool = False


class Operation(NamedTuple):
    """The declaration of an operation.

    Attributes:
        parameters: by name.
        acts: whether it changes anything. `docs/protocol.md` says what a repeated request does.
        local: whether only processes of this machine may call it.
    """

    parameters: dict[str, Parameter]
    acts: bool = False
    local: bool = False


_NAME = Parameter("name")
_ID = Parameter("name", required=True)
_IDS = Parameter("names")
_FLAG = Parameter("flag", False)
_TEXT = Parameter("text")

OPERATIONS = {
    "create": Operation(
        {
            "permissions": Parameter("name", required=True),
            "path": Parameter("path", required=True),
            "cli": Parameter("name", "claude"),
            "mode": Parameter("name", "native"),
            "description": Parameter("text", ""),
            "model": _NAME,
            "id": _NAME,
            "group": _NAME,
            "env": Parameter("variables"),
            "trust": Parameter("flag"),
            "continue_at_reset": _FLAG,
            "message": _TEXT,
        },
        acts=True,
    ),
    "send": Operation({"id": _ID, "text": _TEXT, "queue": _FLAG, "interrupt": _FLAG}, acts=True),
    "wait": Operation(
        {
            "ids": _IDS,
            "group": _NAME,
            "any": _FLAG,
            "turn": Parameter("whole"),
            "settled": _FLAG,
            "goal": _FLAG,
            "next_turn": _FLAG,
            "timeout": Parameter("number"),
            "interval": Parameter("number", 1.0),
        }
    ),
    "last_message": Operation({"id": _ID, "count": Parameter("whole", 1)}),
    "status": Operation({"id": _ID}),
    "list": Operation({"group": _NAME, "status": _NAME}),
    "goal": Operation({"id": _ID, "objective": _TEXT, "budget": Parameter("whole"), "act": _NAME}, acts=True),
    "interrupt": Operation({"id": _ID}, acts=True),
    "revive": Operation({"ids": _IDS, "all": _FLAG}, acts=True),
    "pending": Operation({"group": _NAME}),
    "respond": Operation(
        {
            "id": _ID,
            "question": _NAME,
            "allow": _FLAG,
            "always": _FLAG,
            "deny": _FLAG,
            "why": _TEXT,
            "choose": _IDS,
            "text": _TEXT,
            "answers": Parameter("json"),
            "key": _NAME,
        },
        acts=True,
    ),
    "attach": Operation({"id": _ID}),
    "logs": Operation({"id": _ID, "follow": _FLAG}),
    "inspect": Operation({"id": _ID}),
    "events": Operation({"ids": _IDS, "follow": _FLAG}),
    "names": Operation({}),
    "kill": Operation({"ids": _IDS, "all": _FLAG, "group": _NAME, "older_than": _NAME}, acts=True),
    # It turns the process that runs it into a courier.
    "courier": Operation({"id": _ID}, local=True),
}


def checked(op: Any, params: Any, remote: bool = False) -> Json:
    """An operation's parameters, complete and each of its type.

    Args:
        op, params: any values, as the caller gave them.
        remote: whether the caller is on another machine or in a container.

    Raises:
        UsageError: there is no such operation, or a parameter is unknown, missing or of a wrong type; it names each.
    """
    operation = OPERATIONS.get(op) if isinstance(op, str) else None
    if operation is None or (operation.local and remote):
        raise UsageError(f"no operation called {_shown(op)}", next=SAME_VERSION)
    declared = operation.parameters
    if not isinstance(params, dict):
        raise UsageError(f"{op}: the parameters are not an object", next=SAME_VERSION)
    given = {name: value for name, value in params.items() if value is not None}
    wrong = [f"unknown parameter {_shown(name)}" for name in params if name not in declared]
    for name, parameter in declared.items():
        if name not in given:
            wrong += [f"the parameter '{name}' is missing"] * parameter.required
        elif complaint := _complaint(parameter.kind, given[name]):
            wrong.append(f"the parameter '{name}' {complaint}")
    if wrong:
        takes = f"it takes {', '.join(declared)}" if declared else "it takes no parameters"
        raise UsageError(f"{op}: {'; '.join(wrong[:20])}", next=f"{takes}; {SAME_VERSION}")
    return {name: given.get(name, parameter.default) for name, parameter in declared.items()}


def to_send(op: str, params: Json) -> Json:
    """The parameters to send: without those that have their defaults.

    Then a host that is older than its client refuses only parameters that it really lacks.

    Raises:
        UsageError: see `checked`.
    """
    given, declared = checked(op, params), OPERATIONS[op].parameters
    return {name: value for name, value in given.items() if declared[name].required or value != declared[name].default}


def acts(op: str) -> bool:
    """True if the operation changes anything."""
    return op in OPERATIONS and OPERATIONS[op].acts


def checked_request_id(id: Any) -> str:
    """The request id.

    Raises:
        UsageError: it is not a text, or is empty or too long.
    """
    complaint = _complaint("name", id) or (None if id else "is empty")
    if complaint:
        raise UsageError(f"the request id {complaint}", next="omit --request-id to have one made")
    return str(id)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_NAME


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -_LARGEST < value < _LARGEST  # no NaN, no infinity


# The kinds of values: in words, and as a test.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": (f"a text of at most {LONGEST_NAME} characters", _is_name),
    "names": (
        f"a list of texts of at most {LONGEST_NAME} characters",
        lambda value: isinstance(value, list) and all(map(_is_name, value)),
    ),
    "path": (
        f"a text of at most {_LONGEST_PATH} characters, without NUL",
        lambda value: isinstance(value, str) and len(value) <= _LONGEST_PATH and "\0" not in value,
    ),
    "text": ("a text", lambda value: isinstance(value, str)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "whole": ("a whole number", lambda value: type(value) is int and _is_number(value)),
    "number": ("a finite number", _is_number),
    "variables": (
        "an object whose values are texts",
        lambda value: isinstance(value, dict) and all(isinstance(one, str) for one in value.values()),
    ),
    "json": ("a JSON value", lambda value: True),
}


def _complaint(kind: str, value: Any) -> str | None:
    """What is wrong with a value, as in "the parameter 'x' ...", or None."""
    wanted, fits = _KINDS[kind]
    if not fits(value):
        return f"must be {wanted}, not {_shown(value)}"
    return _flaw(value, _DEEPEST)


def _flaw(value: Any, levels: int) -> str | None:
    """Why a value cannot be sent as JSON in UTF-8, or None."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "is not UTF-8 text"
        return None
    if value is None or isinstance(value, bool) or _is_number(value):
        return None
    if isinstance(value, dict | list) and levels == 0:
        return f"is nested more than {_DEEPEST} levels deep"
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        parts = [*value, *value.values()]
    elif isinstance(value, list):
        parts = value
    else:
        return f"must be JSON, not {_shown(value)}"
    return next((flaw for one in parts if (flaw := _flaw(one, levels - 1))), None)


def _shown(value: Any) -> str:
    """Any value, in a few characters."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:40]}...")
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float) or _is_number(value):
        return repr(value)
    return {int: "a number that large", list: "a list", dict: "an object"}.get(type(value), f"a {type(value).__name__}")
