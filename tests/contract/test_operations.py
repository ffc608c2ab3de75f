"""The requests that every operation refuses, over each transport."""

from __future__ import annotations

import inspect
import math
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from soak import size

from dev_sessions import config, errors
from dev_sessions.client import Client
from dev_sessions.gateway.server import Gateway
from dev_sessions.operations import LONGEST_NAME, OPERATIONS, checked, to_send
from dev_sessions.service import Service
from dev_sessions.transport.http import HttpTransport
from dev_sessions.wire import Frame, Request

ROUNDS = size(20, 2000)
Make = Callable[[], Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service on an empty state folder, on a machine without agents."""
    home = tmp_path_factory.mktemp("home")
    (home / "work").mkdir()
    return Service(config.load({"HOME": str(home), "DEV_SESSIONS_HOME": str(home / "state"), "PATH": "/nonexistent"}))


@pytest.fixture(scope="module", params=["local", "gateway"])
def transport(request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The two ways to the service."""
    if request.param == "local":
        yield service
        return
    gateway = Gateway(service, "", log=lambda line: None)
    url = gateway.listen(str(tmp_path_factory.mktemp("g") / "s"))
    there = config.gateway_there({"DEV_SESSIONS_GATEWAY_URL": url, "HOST_PATH": "/", "CONTAINER_WORKSPACE": "/"})
    serving = threading.Thread(target=gateway.serve)
    serving.start()
    yield HttpTransport(there, None, 0, "/")
    gateway.stop()
    serving.join()


def error_of(transport: Any, op: Any, params: Any, id: Any = "r") -> errors.DevSessionsError:
    """The error of a request, whether the client or the service finds it."""
    try:
        *_, last = list(transport.handle(Request(op, params, id)))
    except errors.DevSessionsError as error:
        return error
    assert isinstance(last, Frame)
    assert last.kind == "error", last
    return errors.from_wire(last.value)


# Values by what they are not. Each is tried where it does not fit.
TEXTS = ["", "x", "true", "1", "NaN", "\0", "a\nb", "{}", "é\u202e", "../..", "-1", "x" * LONGEST_NAME]
LONG, LONE = "x" * (LONGEST_NAME + 1), ["\ud800", "a\udcff"]
NUMBERS = [0, 1, -1, 2**52, 0.5, -1e9]
NO_NUMBERS = [math.nan, math.inf, -math.inf, 10**400, -(10**400), 2**53, 1e300]
DEEP: Any = []
for _ in range(40):
    DEEP = [DEEP]
OTHERS = [True, False, [], {}, [1], [None], ["\ud800"], {"a": 1}, {"a": None}, {"a": "\udfff"}, [["a"]], DEEP]
GOOD: dict[str, Callable[[random.Random], Any]] = {
    "name": lambda r: r.choice(TEXTS),
    "names": lambda r: r.sample(TEXTS, 2),
    "path": lambda r: "/nonexistent",
    "text": lambda r: r.choice(TEXTS),
    "flag": lambda r: r.random() < 0.5,
    "whole": lambda r: r.choice([0, 1, -1, 2**52]),
    "number": lambda r: r.choice(NUMBERS),
    "variables": lambda r: {"A": r.choice(TEXTS)},
    "json": lambda r: r.choice(TEXTS + NUMBERS),
}
BAD: dict[str, list[Any]] = {
    "name": [LONG, *LONE, *NUMBERS, *NO_NUMBERS, *OTHERS],
    "names": [[LONG], ["a", 1], *TEXTS, *LONE, *NUMBERS, *NO_NUMBERS, *[one for one in OTHERS if one != []]],
    "path": ["/a\0b", "/" * 4097, *LONE, *NUMBERS, *NO_NUMBERS, *OTHERS],
    "text": [*LONE, *NUMBERS, *NO_NUMBERS, *OTHERS],
    "flag": [*TEXTS, *LONE, *NUMBERS, *NO_NUMBERS, *[one for one in OTHERS if type(one) is not bool]],
    "whole": [*TEXTS, *LONE, 0.5, 1.0, *NO_NUMBERS, *OTHERS],
    "number": [*TEXTS, *LONE, *NO_NUMBERS, *OTHERS],
    "variables": [*TEXTS, *NUMBERS, *NO_NUMBERS, *[one for one in OTHERS if one != {}], {"\ud800": "a"}],
    "json": [*LONE, *NO_NUMBERS, DEEP, ["\ud800"], {"a": [math.nan]}, {"\udfff": 1}],
}


def spoilt(op: str, source: random.Random) -> tuple[dict[str, Any], str]:
    """Parameters of an operation with one thing wrong, and the name of that."""
    declared = OPERATIONS[op].parameters
    params = {name: GOOD[one.kind](source) for name, one in declared.items() if one.required or source.random() < 0.5}
    required = [name for name, one in declared.items() if one.required]
    way = source.choice(["unknown", *(["missing"] if required else []), *(["mistyped"] * 4 if declared else [])])
    if way == "unknown":
        name = source.choice(["older_then", "permisions", "Id", "ids ", "", "x" * 5000, "\ud800", "__class__"])
        params[name] = source.choice([1, None, "x"])
        return params, repr(name[:40])[:-1]
    if way == "missing":
        name = source.choice(required)
        if source.random() < 0.5:
            del params[name]
        else:
            params[name] = None
        return params, f"'{name}'"
    name = source.choice(list(declared))
    params[name] = source.choice(BAD[declared[name].kind])
    return params, f"'{name}'"


@pytest.mark.soak
@pytest.mark.parametrize("op", OPERATIONS)
def test_an_invalid_parameter_is_named_and_nothing_is_done(transport: Any, op: str) -> None:
    source = random.Random(f"{op} 13")
    near = isinstance(transport, Service)
    for _ in range(ROUNDS):
        params, name = spoilt(op, source)
        error = error_of(transport, op, params)
        assert error.code == "usage", (op, params, error.message)
        assert error.data.get("next"), error.message
        assert len(error.message) < 2000
        # The client refuses what JSON cannot express; the courier does not exist for remote callers.
        far = not near and ("not JSON" in error.message or op == "courier" or "HOST_PATH" in error.message)
        assert far or (name in error.message and error.message.startswith(f"{op}: ")), (op, params, error.message)


@pytest.mark.soak
@pytest.mark.parametrize("op", OPERATIONS)
def test_odd_values_of_the_right_types_get_an_answer(transport: Any, op: str) -> None:
    """The answer is a known error, or a result if the operation needs no session."""
    source = random.Random(f"{op} 31")
    for _ in range(ROUNDS):
        declared = OPERATIONS[op].parameters
        params = {name: GOOD[one.kind](source) for name, one in declared.items() if name != "follow"}
        *_, last = list(transport.handle(Request(op, params, f"r{source.random()}")))
        assert last.final
        assert "unexpected" not in str(last.value), (op, params, last.value)


@pytest.mark.parametrize("op", [None, 1, [], {}, "", "fly", "\ud800", "x" * 10_000, "kill ", "KILL", "__class__"])
def test_an_unknown_operation_is_refused(transport: Any, op: Any) -> None:
    error = error_of(transport, op, {})
    assert error.code in ("usage", "protocol")
    assert "unexpected" not in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize("id", ["", "x" * 1001, "\ud800", None, 5, []])
def test_an_invalid_request_id_is_refused(transport: Any, id: Any) -> None:
    error = error_of(transport, "list", {}, id)
    assert error.code in ("usage", "protocol")
    assert "id" in error.message


@pytest.mark.parametrize("params", [None, [], "x", 5, [["id", "a"]]])
def test_parameters_of_a_wrong_type_are_refused(transport: Any, params: Any) -> None:
    assert error_of(transport, "list", params).code in ("usage", "protocol")


def test_null_is_the_default(transport: Any) -> None:
    frames = list(transport.handle(Request("list", {"group": None, "status": None}, "r")))
    assert frames[-1] == Frame("result", [])
    error = error_of(transport, "create", {"path": "/nonexistent", "permissions": "full", "message": None})
    assert "there is no folder" in error.message or "not installed" in error.message


# How the parameters of a kind are annotated; what mypy makes of it, `typed_client.py` shows.
TYPES = {
    **dict.fromkeys(("name", "path", "text"), "str"),
    "names": "Sequence[str]",
    "flag": "bool",
    "whole": "int",
    "number": "float",
    "variables": "Mapping[str, str]",
    "json": "Any",
}


@pytest.mark.parametrize("op", OPERATIONS)
def test_the_verbs_of_the_client_take_the_declared_parameters(op: str) -> None:
    given = dict(inspect.signature(getattr(Client, op)).parameters)
    assert given.pop("self")
    given.pop("request_id", None)
    declared = OPERATIONS[op].parameters
    assert given.keys() == declared.keys()
    for name, parameter in given.items():
        required = parameter.default is inspect.Parameter.empty
        # The client's own rules: permissions, path, and a text that may be None but must be given.
        if (op, name) in (("create", "permissions"), ("create", "path"), ("send", "text")):
            continue
        assert required == declared[name].required, name
        assert required or parameter.default == declared[name].default, name
        optional = declared[name].kind != "json" and not required and parameter.default is None
        assert parameter.annotation == TYPES[declared[name].kind] + " | None" * optional, name


def test_a_client_refuses_before_anything_is_sent() -> None:
    asked: list[Request] = []

    class Deaf:
        def handle(self, request: Request) -> Iterator[Frame]:
            asked.append(request)
            yield Frame("result", None)

    client: Any = Client(Deaf())
    calls = (
        lambda: client.goal("a", budget=math.nan),
        lambda: client.kill(older_than=72, all=True),
        lambda: client.kill("fizz-top"),
        lambda: client.wait(["a"], timeout=10**400),
        lambda: client.send("a", "\udcff"),
        lambda: client.create(env=["A"]),
        lambda: client.status(None),
    )
    for call in calls:
        with pytest.raises(errors.UsageError):
            call()
    for misspelt in (lambda: client.kill(all=True, older_then="1h"), lambda: client.create(permisions="plan")):
        with pytest.raises(TypeError, match=r"older_then|permisions"):
            misspelt()
    assert asked == []
    client.kill(all=True, older_than="1h")
    assert asked[0].params == {"all": True, "older_than": "1h"}  # what has its default does not travel


def test_encoded_parameters_keep_their_meaning() -> None:
    for op, params in (("kill", {"all": True, "ids": None}), ("wait", {"ids": [], "interval": 1.0, "timeout": 0})):
        assert checked(op, to_send(op, params)) == checked(op, params)


def test_an_empty_state_folder_stays_empty(service: Service, tmp_path: Path) -> None:
    """Runs last: none of the requests has started or written anything."""
    state = Path(service._settings.home)
    assert not (state / "sessions").exists() or not list((state / "sessions").iterdir())
