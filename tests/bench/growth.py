"""How costs grow with the number of sessions, and with the number of a session's completed turns."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from figures import Growth
from folders import REPLY, Conversation
from lab import Lab
from measuring import Commands, Cost, in_turns, spread
from place import Place
from waits import busy, idle_cost

SESSIONS, TURNS = (1, 10, 100, 1000), (1, 10, 100, 1000, 10_000)
_SENDS = 3


class _Table:
    """Collects the measured values, one size at a time."""

    def __init__(self, by: str) -> None:
        self._by = by
        self._growths: dict[str, Growth] = {}

    def add(self, name: str, what: str, unit: str, size: int, value: float) -> None:
        growth = self._growths.setdefault(name, Growth(name, what, self._by, unit, {}))
        growth.values[size] = value

    def growths(self) -> list[Growth]:
        return list(self._growths.values())


def of_sessions(place: Place) -> Iterator[Growth]:
    """`list`, `status` of one session, `wait` for one and for all: 1 to 1,000 sessions with three turns each."""
    table = _Table("sessions")
    with place.state() as state:
        for size in _some(place, SESSIONS):
            state.add(size - len(state.sessions), turns=3)
            commands = Commands(state.env)
            ids = [session.id for session in state.sessions]
            one, every = ids[size // 2], ["wait", *ids]
            assert len(json.loads(commands.checked("list", "--json"))) == size
            _measure(
                *(place, table, commands, size),
                {
                    "list": ("`list`", ["list"]),
                    "status of one": ("`status` of one", ["status", one]),
                    "wait of one": ("`wait` for one, its turn ended", ["wait", one]),
                    "wait of all": ("`wait` for all, their turns ended", every),
                },
            )
    for size in _some(place, SESSIONS):
        with place.state() as state:
            used = idle_cost(place, state, [busy(state, size)], place.size(60, 1))[0]
            table.add("idle wait", "`wait` for all, waiting: processor time a minute", "ms", size, used * 1e3)
    yield from table.growths()


def _some(place: Place, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return sizes[: place.size(len(sizes), 1)]


def _measure(
    place: Place, table: _Table, commands: Commands, size: int, wanted: dict[str, tuple[str, list[str]]]
) -> None:
    def once(words: list[str]) -> Callable[[], Cost]:
        return lambda: commands.once(*words)

    measures = {name: once(words) for name, (_, words) in wanted.items()}
    found = in_turns(place.few, floor=commands.floor, **measures)
    table.add("floor", "`python -c pass`: processor time", "ms", size, found["floor"].cpu * 1e3)
    for name, (what, words) in wanted.items():
        table.add(name, f"{what}: processor time", "ms", size, found[name].cpu * 1e3)
        table.add(f"{name}, memory", f"{what}: memory", "MB", size, commands.memory(*words))


def of_turns(place: Place) -> Iterator[Growth]:
    """`status`, `last-message` and `wait` of a session with 1 to 10,000 completed turns."""
    table = _Table("turns")
    with place.state() as state:
        for size in _some(place, TURNS):
            id = state.add(1, turns=size)[0].id
            commands = Commands(state.env)
            assert json.loads(commands.checked("status", id, "--json"))["turn"] == size
            commands.checked("last-message", id, says=REPLY)
            _measure(
                *(place, table, commands, size),
                {
                    "status": ("`status`", ["status", id]),
                    "last-message": ("`last-message`", ["last-message", id]),
                    "wait": ("`wait`, its turn ended", ["wait", id]),
                },
            )
    yield from table.growths()


def of_sends(place: Place) -> Iterator[Growth]:
    """`send` to the real Claude Code in a session with 1 to 10,000 completed turns."""
    table = _Table("turns")
    with Lab(place.claude, "bench-growth") as lab:
        os.chdir(lab.project)
        commands = Commands(lab.env)
        for size in _some(place, TURNS):
            id = lab.create()
            _grow_old(lab, id, size)
            costs = []
            for number in range(1 + place.size(_SENDS, 1)):
                costs.append(commands.once("send", id, f"[[reply: {number} is done]]"))
                assert json.loads(commands.checked("wait", id, "--json"))["turn"] == size + number + 1
            lab.ok("kill", id)
            files = sum(len(names) for _, _, names in os.walk(lab.folder(id)))
            table.add("send", "`send`: processor time", "ms", size, spread(costs[1:]).cpu * 1e3)
            table.add("first send", "the first one, which puts the past in order", "ms", size, costs[0].cpu * 1e3)
            table.add("files", "files in the session's folder after that", "", size, files)
    yield from table.growths()


def _grow_old(lab: Lab, id: str, turns: int) -> None:
    """Add completed turns to a real session."""
    folder = lab.folder(id)
    uuid = json.loads((folder / "record.json").read_text())["backend"]["uuid"]
    transcript = json.loads(next((folder / "facts").glob("*.json")).read_text())["transcript_path"]
    past = Conversation(folder, uuid, Path(transcript), lab.project, time.time() - 20.0 * (turns + 2))
    for number in range(1, turns + 1):
        for _ in past.turn(number):
            pass
