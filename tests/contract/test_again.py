"""Repeated requests: an operation that acts returns its first result and does not act again.

A gateway also keeps answers in memory. Here each request reaches the service itself, as after a restart.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, codex_stand_in

from dev_sessions import config, errors
from dev_sessions.app import client as make_client
from dev_sessions.client import Client
from dev_sessions.operations import OPERATIONS
from dev_sessions.service import Service
from dev_sessions.system import processes
from dev_sessions.wire import Frame, Request


class Desk:
    """A lab, the sessions in it, and a client that keeps nothing."""

    def __init__(self, lab: Lab, environ: dict[str, str] | None = None) -> None:
        self.lab = lab
        self.environ = {**lab.env, **(environ or {})}
        self.events: list[dict[str, Any]] = []

    @property
    def client(self) -> Client:
        return make_client(self.environ, self.events.append)

    def frames(self, op: str, request_id: str, **params: Any) -> Generator[Frame, None, None]:
        return Service(config.load(self.environ)).handle(Request(op, params, request_id))  # type: ignore[return-value]

    def create(self, **more: Any) -> str:
        return str(self.client.create(**{"cli": "fake", "path": str(self.lab.project), **more})["id"])

    def kill_agent(self, id: str) -> None:
        process = self.lab.pid(id)
        processes.send_signal(process, processes.start_time(process), signal.SIGKILL)
        self.lab.until(lambda: self.client.status(id)["status"] == "exited", "the end of the agent")

    def texts(self, id: str) -> list[str]:
        return self.client.last_message(id, 9)


@pytest.fixture
def desk(lab: Lab) -> Iterator[Desk]:
    made = Desk(lab)
    yield made
    made.client.kill(all=True)


@pytest.fixture
def r() -> str:
    """A request id: the tests share a state folder."""
    return os.urandom(4).hex()


@pytest.fixture
def codex(lab: Lab, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(lab, codex_stand_in(lab, tmp_path))
    yield made
    made.client.kill(all=True)


def test_create(desk: Desk, r: str) -> None:
    said = {"cli": "fake", "path": str(desk.lab.project), "message": "[[reply: hi]]"}
    first = desk.client.create(r, **said)
    desk.client.wait([first["id"]])
    assert desk.client.create(r, **said) == first
    assert len(desk.client.list()) == 1
    assert desk.texts(first["id"]) == ["hi"]


def test_create_of_a_session_that_was_killed_makes_another_one(desk: Desk, r: str) -> None:
    said = {"cli": "fake", "path": str(desk.lab.project)}
    first = desk.client.create(r, **said)["id"]
    desk.client.kill([first])
    assert desk.client.create(r, **said)["id"] != first


def test_send(desk: Desk, r: str) -> None:
    id = desk.create()
    first = desk.client.send(id, "[[reply: one]]", r)
    desk.client.wait([id])
    desk.client.send(id, "[[hold: never]]")
    assert desk.client.send(id, "[[reply: one]]", r, interrupt=True) == first
    assert desk.client.status(id)["status"] == "working"
    assert desk.texts(id) == ["one"]
    assert desk.client.send(id, "[[reply: one]]", f"{r}-2")["turn"] == 3


def test_respond(desk: Desk, r: str) -> None:
    id = desk.create()
    desk.client.send(id, "[[ask: Which?|A|B]][[replytool]]")
    desk.client.wait([id])
    first = desk.client.respond(id, r, choose=["1"])
    desk.client.wait([id])
    desk.client.send(id, "[[ask: And then?|A|B]][[replytool]]")
    desk.client.wait([id])
    assert desk.client.respond(id, r, choose=["1"]) == first
    assert [one["text"] for one in desk.client.pending()] == ["And then?"]


def test_interrupt(desk: Desk, r: str) -> None:
    id = desk.create()
    desk.client.send(id, "[[hold: never]]")
    first = desk.client.interrupt(id, r)
    assert (first["interrupted"], first["outcome"]) == ([1], "interrupted")
    desk.client.send(id, "[[hold: never]]")
    assert desk.client.interrupt(id, r) == first
    assert desk.client.status(id)["status"] == "working"
    assert desk.client.interrupt(id, f"{r}-2")["interrupted"] == [2]


def test_goal(codex: Desk, r: str) -> None:
    id = codex.create(cli="codex")
    first = codex.client.goal(id, r, objective="[[hold: step]]")
    assert first is not None
    paused = codex.client.goal(id, f"{r}-2", act="pause")
    assert paused is not None
    codex.client.goal(id, objective="[[hold: another]]")
    assert codex.client.goal(id, r, objective="[[hold: step]]") == first
    assert codex.client.goal(id, f"{r}-2", act="pause") == paused
    now = codex.client.goal(id, r)  # a reading request changes nothing, and is repeated
    assert now is not None
    assert (now["objective"], now["status"]) == ("[[hold: another]]", "active")
    assert codex.client.goal(id, f"{r}-3", act="clear") is None
    codex.client.goal(id, objective="[[hold: last]]")
    assert codex.client.goal(id, f"{r}-3", act="clear") is None
    assert codex.client.goal(id) is not None


@pytest.mark.parametrize("every", [False, True])
def test_revive(desk: Desk, every: bool, r: str) -> None:
    id, other = desk.create(), desk.create()
    desk.kill_agent(id)
    said: dict[str, Any] = {"all": True} if every else {"ids": [id]}
    first = desk.client.revive(request_id=r, **said)
    assert [(one["session"], one["outcome"]) for one in first] == [(id, "revived")]
    for gone in (id, other):
        desk.kill_agent(gone)
    desk.events.clear()
    assert desk.client.revive(request_id=r, **said) == first
    assert desk.events == first
    assert [desk.client.status(gone)["status"] for gone in (id, other)] == ["exited", "exited"]
    assert [one["outcome"] for one in desk.client.revive([id, other], request_id=r)] == ["revived"] * 2


@pytest.mark.parametrize("said", [{"ids": ["ahri-mid", "fizz-top"]}, {"group": "g"}, {"all": True}])
def test_kill(desk: Desk, said: dict[str, Any], r: str) -> None:
    for id in ("ahri-mid", "fizz-top"):
        desk.create(id=id, group="g")
    first = desk.client.kill(request_id=r, **said)
    assert sorted(one["session"] for one in first) == ["ahri-mid", "fizz-top"]
    for id in ("ahri-mid", "lux-sup"):
        desk.create(id=id, group="g")
    desk.events.clear()
    assert desk.client.kill(request_id=r, **said) == first
    assert desk.events == first
    assert {row["id"] for row in desk.client.list()} == {"ahri-mid", "lux-sup"}
    assert [one["session"] for one in desk.client.kill(["lux-sup"], request_id=r)] == ["lux-sup"]


def test_a_repeated_kill_that_matched_no_session_kills_none_later(desk: Desk, r: str) -> None:
    assert desk.client.kill(request_id=r, all=True) == []
    id = desk.create()
    assert desk.client.kill(request_id=r, all=True) == []
    assert desk.client.status(id)["status"] == "idle"


def test_an_interrupted_kill_is_completed_by_the_same_request(desk: Desk, r: str) -> None:
    meant = [desk.create(), desk.create()]
    frames = desk.frames("kill", r, all=True)
    cut = next(frames).value
    frames.close()
    assert len(desk.client.list()) == 1
    newer = desk.create()
    done = desk.client.kill(request_id=r, all=True)
    assert cut in done
    assert sorted(one["session"] for one in done) == sorted(meant)
    assert [row["id"] for row in desk.client.list()] == [newer]


def test_request_ids_of_different_callers_are_independent(desk: Desk, r: str) -> None:
    id = desk.create()
    inside = Desk(desk.lab, {"DEV_SESSIONS_ID": id, "DEV_SESSIONS_DEPTH": "1"})
    assert inside.client.kill(request_id=r, all=True) == []
    assert [one["session"] for one in desk.client.kill(request_id=r, all=True)] == [id]


def test_a_failed_request_is_tried_again(desk: Desk, r: str) -> None:
    with pytest.raises(errors.SessionNotFound):
        desk.client.kill(["fizz-top"], request_id=r)
    id = desk.create(id="fizz-top")
    assert [one["session"] for one in desk.client.kill([id], request_id=r)] == [id]


def test_a_reading_request_is_read_again(desk: Desk, r: str) -> None:
    id = desk.create()
    reads: dict[str, dict[str, Any]] = {
        **{op: {} for op in ("list", "names", "pending", "events")},
        **{op: {"id": id} for op in ("status", "last_message", "logs", "inspect")},
        "wait": {"ids": [id]},
    }
    assert reads.keys() | {"attach", "courier"} == {op for op, one in OPERATIONS.items() if not one.acts}
    before = {op: [frame.value for frame in desk.frames(op, r, **params)] for op, params in reads.items()}
    desk.client.send(id, "[[reply: hi]][[ask: Which?|A|B]]")
    desk.client.wait([id])
    desk.create()
    for op, params in reads.items():
        assert [frame.value for frame in desk.frames(op, r, **params)] != before[op], op
