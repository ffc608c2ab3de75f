"""The fake app-server sends what the real one was recorded to send, and follows the same rules."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import codex_exchange
import pytest
from codex_exchange import Frame, Line

DATA = Path(__file__).parents[1] / "data" / "codex-0.171.0"
# Other notices of the real one, which we do not read.
LEFT_OUT = {
    "warning",
    "account/rateLimits/updated",
    "thread/readState/changed",
    "thread/tokenUsage/updated",
    "item/commandExecution/outputDelta",
}


class Server:
    """The fake program, with a home of its own. A `codex_exchange.Stage`."""

    def __init__(self, folder: Path) -> None:
        self.home, self._folder = folder / "home", folder
        self.project = str(folder / "project")
        for path in (self.home, Path(self.project)):
            path.mkdir()
        self.socket = str(self.home / "app-server-control" / "app-server-control.sock")
        self.started: list[subprocess.Popen[str]] = []

    def env(self, **more: str) -> dict[str, str]:
        return {**os.environ, "CODEX_HOME": str(self.home), "FAKE_SOCKETS": str(self._folder), **more}

    def start(self, *listen: str, **env: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "dev_sessions_fake.codex", "app-server", "--listen", *(listen or ("unix://",))]
        made = subprocess.Popen(argv, env=self.env(**env), cwd="/", stderr=subprocess.PIPE, text=True)
        self.started.append(made)
        return made

    def live(self, **env: str) -> subprocess.Popen[str]:
        """Start it, and wait until it listens."""
        made = self.start(**env)
        self.until(lambda: os.path.exists(self.socket), "its socket")
        return made

    def release(self, thread: str, name: str) -> None:
        (self.home / "fake" / thread / "release" / name).touch()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + 20
        while not (value := condition()):
            assert time.monotonic() < end, what
            time.sleep(0.01)
        return value

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="ds-") as folder:  # a socket's path may have no more than 100 characters
        made = Server(Path(folder))
        yield made
        made.close()


# Against recordings.

Shape = Any


def kind(frame: Frame, asked: str | None) -> str:
    """The kind of a frame; all frames of a kind have the same shape."""
    if "error" in frame:
        return f"{asked}: refused"
    params = frame.get("params") or {}
    parts = [str(frame.get("method") or asked), params.get("item", {}).get("type"), params.get("status")]
    status = parts.pop()
    if isinstance(status, dict):
        parts += [status["type"], *status.get("activeFlags", ())]
    return " ".join(part for part in parts if part)


def shape(value: Any) -> Shape:
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value]
    return type(value).__name__


def assert_like(found: Shape, recorded: list[Shape], where: str) -> None:
    """A value has the shape of one of those that were recorded in that place."""
    dicts = [one for one in recorded if isinstance(one, dict)]
    if isinstance(found, dict) and dicts:
        assert sorted(found) in [sorted(one) for one in dicts], where
        alike = [one for one in dicts if sorted(one) == sorted(found)]
        for key in found:
            assert_like(found[key], [one[key] for one in alike], f"{where}.{key}")
    elif isinstance(found, list) and any(isinstance(one, list) for one in recorded):
        members = [member for one in recorded if isinstance(one, list) for member in one]
        for member in found:
            assert_like(member, members, f"{where}[]")
    else:
        assert found in recorded, where


@pytest.fixture(scope="module")
def held() -> Iterator[tuple[list[Line], Path]]:
    """The recorded exchange with the real program, repeated with the fake one."""
    with tempfile.TemporaryDirectory(prefix="ds-") as folder:
        made = Server(Path(folder))
        try:
            made.live()
            yield codex_exchange.hold(made), made.home
        finally:
            made.close()


RECORDED = [json.loads(line) for line in (DATA / "exchange.jsonl").read_text().splitlines()]


def told(lines: list[Line]) -> list[tuple[str, Frame]]:
    return [(kind(frame, line.asked.get(frame.get("id", -1))), frame) for line in lines for frame in line.told]


def test_every_frame_has_a_recorded_shape(held: tuple[list[Line], Path]) -> None:
    recorded: dict[str, list[Shape]] = {}
    for row in RECORDED:
        recorded.setdefault(kind(row["frame"], row["asked"]), []).append(shape(row["frame"]))
    found = told(held[0])
    for name, frame in found:
        assert name in recorded
        assert_like(shape(frame), recorded[name], name)
    assert set(recorded) - {name for name, _ in found} == LEFT_OUT


def words(frame: Frame) -> str:
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", frame["error"]["message"])
    return text.partition(", expected one of")[0]


def test_refusals_are_in_the_same_words(held: tuple[list[Line], Path]) -> None:
    recorded = [(row["asked"], words(row["frame"])) for row in RECORDED if "error" in row["frame"]]
    found = [(line.asked[frame["id"]], words(frame)) for line in held[0] for frame in line.told if "error" in frame]
    assert found == recorded


def turns(frames: list[tuple[str, Frame]]) -> list[list[str]]:
    """What was told of each turn, in its order."""
    found: dict[str, list[str]] = {}
    for name, frame in frames:
        params = frame.get("params") or {}
        turn = params.get("turnId") or (params.get("turn") or {}).get("id")
        if turn and name not in LEFT_OUT:
            found.setdefault(turn, []).append(name)
    return list(found.values())


def test_each_turn_is_reported_in_the_same_order(held: tuple[list[Line], Path]) -> None:
    recorded = [(kind(row["frame"], row["asked"]), row["frame"]) for row in RECORDED if row["line"] == 1]
    assert turns(told(held[0][1:2])) == turns(recorded)


def line_kind(line: Frame) -> str:
    payload = line["payload"]
    item = payload.get("item") or {}
    return " ".join(map(str, (line["type"], payload.get("type"), payload.get("role"), item.get("type"))))


def lines(*paths: Path) -> dict[str, list[Frame]]:
    """The lines of rollouts, by their kind."""
    found: dict[str, list[Frame]] = {}
    for line in (json.loads(text) for path in paths for text in path.read_text().splitlines()):
        found.setdefault(line_kind(line), []).append(line)
    return found


def keys(found: list[Frame], part: str, join: Callable[..., set[str]]) -> set[str]:
    return join(*(set(line.get(part, ())) for line in found))


def test_rollouts_have_recorded_lines(held: tuple[list[Line], Path]) -> None:
    """The fake one writes only lines that the real one writes, and all kinds in the shorter recordings."""
    short = [DATA / f"{name}.jsonl" for name in ("crash", "question", "permission", "turns")]
    kept, whole = lines(*short), lines(DATA / "rollout.jsonl", *short)
    written = lines(*held[1].glob("*sessions/**/rollout-*.jsonl"))
    assert set(kept) <= set(written) <= set(whole)
    for name, found in written.items():
        for part in ("payload", "metadata"):
            assert keys(found, part, set.union) <= keys(whole[name], part, set.union), name
            assert keys(kept.get(name, found), part, set.intersection) <= keys(found, part, set.intersection), name


# By its rules.


def thread_of(line: Line, server: Server) -> str:
    thread = str(line.ask("thread/start", cwd=server.project, approvalPolicy="never")["result"]["thread"]["id"])
    line.ask("thread/name/set", threadId=thread, name="x")
    return thread


def start(line: Line, thread: str, text: str) -> str:
    since = len(line.told)
    answer = line.ask("turn/start", threadId=thread, input=[{"type": "text", "text": text}])
    line.notice("turn/started", since)
    return str(answer["result"]["turn"]["id"])


def status(line: Line, thread: str) -> str:
    return str(line.ask("thread/read", threadId=thread)["result"]["thread"]["status"]["type"])


def newest(line: Line, thread: str) -> Frame:
    page = line.ask("thread/turns/list", threadId=thread, limit=1, itemsView="summary")
    return dict(page["result"]["data"][0])


def test_it_names_its_version() -> None:
    argv = [sys.executable, "-m", "dev_sessions_fake.codex", "--version"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "codex-cli 0.171.0\n"


def test_a_turn_goes_on_when_its_client_is_gone(server: Server) -> None:
    server.live()
    with Line(server.socket) as line:
        thread = thread_of(line, server)
        turn = start(line, thread, "[[hold: a]][[reply: done]]")
    server.release(thread, "a")
    with Line(server.socket) as line:
        server.until(lambda: newest(line, thread)["status"] == "completed", "the end of the turn")
        assert newest(line, thread)["id"] == turn
        assert newest(line, thread)["items"][-1]["text"] == "done"


def test_a_second_one_is_refused_and_a_killed_one_is_followed(server: Server) -> None:
    first = server.live()
    second = server.start()
    assert second.wait(20) == 1
    assert second.stderr is not None
    assert f"already in use at {server.socket}" in second.stderr.read()
    with Line(server.socket) as line:
        thread = thread_of(line, server)
        start(line, thread, "[[hold: never]]")
    first.kill()
    first.wait()
    server.start()
    line = server.until(lambda: connected(server), "a new server on the old socket")
    with line:
        assert status(line, thread) == "notLoaded"
        assert (newest(line, thread)["status"], newest(line, thread)["completedAt"]) == ("interrupted", None)
        assert "error" in line.ask("turn/start", threadId=thread, input=[{"type": "text", "text": "x"}])
        line.ask("thread/resume", threadId=thread, excludeTurns=True)
        start(line, thread, "[[reply: back]]")
        line.notice("turn/completed")


def connected(server: Server) -> Line | None:
    try:
        return Line(server.socket)
    except OSError:
        return None


def test_a_thread_that_another_server_has_is_refused(server: Server) -> None:
    server.live()
    server.start(f"unix://{server.home}/other.sock")
    server.until(lambda: os.path.exists(server.home / "other.sock"), "the other socket")
    with Line(server.socket) as line, Line(f"{server.home}/other.sock") as other:
        thread = thread_of(line, server)
        refused = other.ask("thread/resume", threadId=thread, excludeTurns=True)
        assert "already has an active writer" in refused["error"]["message"]


def test_a_thread_at_rest_is_unloaded_and_one_at_work_is_not(server: Server) -> None:
    server.live(FAKE_UNLOAD="0.2")
    with Line(server.socket) as line:
        busy, idle = thread_of(line, server), thread_of(line, server)
        start(line, busy, "[[hold: a]]")
    with Line(server.socket) as line:
        closed = line.notice("thread/closed")
        assert closed["params"]["threadId"] == idle
        assert (status(line, idle), status(line, busy)) == ("notLoaded", "active")
        refused = line.ask("turn/start", threadId=idle, input=[{"type": "text", "text": "x"}])
        assert refused["error"]["message"] == f"thread not found: {idle}"
        server.release(busy, "a")
        line.until(lambda frame: frame.get("method") == "thread/closed" and frame["params"]["threadId"] == busy)


def test_sigterm_lets_the_running_turn_end(server: Server) -> None:
    process = server.live()
    with Line(server.socket) as line:
        thread = thread_of(line, server)
        start(line, thread, "[[hold: a]][[reply: done]]")
        process.send_signal(signal.SIGTERM)
        server.release(thread, "a")
        line.notice("turn/completed")
    assert process.wait(20) == 0, process.stderr and process.stderr.read()
    assert not os.path.lexists(server.socket)


def test_an_interrupted_goal_goes_on_after_the_next_read(server: Server) -> None:
    server.live()
    with Line(server.socket) as line:
        thread = thread_of(line, server)
        line.ask("thread/goal/set", threadId=thread, objective="[[hold: g]][[reply: a step]]")
        line.notice("turn/started")
        line.ask("turn/interrupt", threadId=thread, turnId="")
        line.notice("turn/completed")
        assert line.ask("thread/goal/get", threadId=thread)["result"]["goal"]["status"] == "active"
        since = len(line.told)
        line.ask("thread/resume", threadId=thread, excludeTurns=True)
        line.notice("turn/started", since)
        server.release(thread, "g")
        line.ask("thread/goal/set", threadId=thread, status="paused")


def test_a_steered_message_is_logged_when_the_turn_takes_it(server: Server) -> None:
    server.live()
    with Line(server.socket) as line:
        thread = thread_of(line, server)
        gate = Path(server.project, "gate")
        turn = start(line, thread, f"[[bash: until [ -e '{gate}' ]; do sleep 0.01; done]][[reply: first]]")
        line.until(lambda frame: kind(frame, None) == "item/started commandExecution")
        given = [{"type": "text", "text": "[[reply: second]]"}]
        again = line.ask("turn/start", threadId=thread, input=given, clientUserMessageId="k/2")
        assert again["result"]["turn"]["id"] == turn
        (path,) = server.home.glob(f"sessions/**/rollout-*-{thread}.jsonl")
        assert "second" not in path.read_text()
        gate.touch()
        line.notice("turn/completed")
        assert '"client_id":"k/2"' in path.read_text()
        assert newest(line, thread)["items"][-1]["text"] == "second"
