"""Many processes write to one state folder at once: every acknowledged write is there in the end."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from soak import size

from dev_sessions.state.registry import Store

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
WRITERS = 16
# How many lines each writer prints before the end, and how many writers are killed meanwhile.
LINES, DEATHS = size(3, 1000), size(6, 500)
SEED = 1

# Each writer counts in a shared record and in its own, and adds and removes records. It prints each step after it is
# done, and continues until a file exists.
WRITER = f"""
import json, os, random, sys
sys.path[:] = {sys.path!r}
from dev_sessions.state.registry import Store
home, name, over, seed = sys.argv[1:]
store, chance = Store(home), random.Random(seed)
rest = {{"cli": "fake", "mode": "native", "permissions": "full", "path": "/", "description": ""}}
mine, number = [], 0

def told(act, what):
    print(json.dumps([act, what]), flush=True)

def counted(records, id):
    old = records.get(id, {{"id": id, "key": id + "-1", "count": 0, **rest}})
    records[id] = {{**old, "count": old["count"] + 1}}

while not os.path.exists(over):
    act = chance.choice(("shared", "own", "add", "add", "remove"))
    if act in ("shared", "own"):
        with store.change() as records:
            counted(records, "shared" if act == "shared" else name)
        told(act, 1)
    elif act == "add":
        number += 1
        record = {{"id": f"{{name}}-{{number}}", "key": f"{{name}}-{{number}}-1", **rest}}
        told("adding", record["id"])
        with store.change() as records:
            records[record["id"]] = record
        mine.append(record)
        told("add", record["id"])
    elif mine:
        gone = mine.pop(chance.randrange(len(mine)))
        told("removing", gone["id"])
        store.remove(gone)
        told("remove", gone["id"])
"""


class Writer:
    """One writer, and the lines that it has printed."""

    def __init__(self, folder: Path, name: str, seed: str) -> None:
        self.name, self._said = name, folder / f"{name}-{seed}.said"
        with open(self._said, "wb") as said:
            argv = [sys.executable, "-c", WRITER, str(folder / "state"), name, str(folder / "over"), seed]
            self.process = subprocess.Popen(argv, stdout=said, stderr=said)

    def says(self, lines: int) -> None:
        """Wait until it has printed this many lines, or has ended."""
        while self.process.poll() is None and self._said.read_bytes().count(b"\n") < lines:
            time.sleep(0.02)

    def said(self) -> Iterator[tuple[str, Any]]:
        for line in self._said.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                try:
                    act, what = json.loads(line)
                except ValueError:
                    raise AssertionError(self._said.read_text()[-2000:]) from None
                yield act, what


def agree(home: Path, writers: list[Writer]) -> None:
    """Check that every acknowledged write is in the registry; a write begun but not acknowledged may be."""
    notes: list[str] = []
    records = Store(str(home), notes.append).load()
    assert notes == []
    there, maybe = set(), set()
    count: dict[str, int] = {}
    for writer in writers:
        for act, what in writer.said():
            if act in ("shared", "own"):
                id = "shared" if act == "shared" else writer.name
                count[id] = count.get(id, 0) + 1
            elif act in ("adding", "removing"):
                maybe.add(what)
            else:
                maybe.discard(what)
                there.add(what) if act == "add" else there.discard(what)
    counters = {id for id, record in records.items() if "count" in record}
    lost = {id: (records[id]["count"], least) for id, least in count.items() if records[id]["count"] < least}
    assert lost == {}, "updates were lost: (there, acknowledged)"
    assert there - maybe <= set(records), sorted(there - maybe - set(records))[:5]
    assert set(records) - counters <= there | maybe, sorted(set(records) - counters - there - maybe)[:5]
    assert sum(count.values()) + len(there) > WRITERS, "nobody got to write"
    # One more writer finds no lock held, and repairs what the killed ones left behind.
    with Store(str(home)).change() as now:
        assert now == records
    keys = {record["key"] for record in records.values()}
    removed = {path.name for path in (home / "sessions").iterdir()} - keys
    assert removed == set()
    assert sorted(path.name for path in home.iterdir()) == ["sessions", "sessions.json", "sessions.lock"]
    for key in keys:
        assert json.loads((home / "sessions" / key / "record.json").read_text())["key"] == key


def test_sixteen_writers_lose_nothing(tmp_path: Path) -> None:
    home = tmp_path / "state"
    writers = [Writer(tmp_path, f"writer{number}", f"{SEED}-{number}") for number in range(WRITERS)]
    for writer in writers:
        writer.says(LINES)
    (tmp_path / "over").touch()
    for writer in writers:
        assert writer.process.wait() == 0, list(writer.said())[-1:]
    agree(home, writers)
    exact = sum(1 for writer in writers for act, _ in writer.said() if act == "shared")
    assert Store(str(home)).load()["shared"]["count"] == exact


def test_sixteen_writers_of_which_some_are_killed(tmp_path: Path) -> None:
    """Each is killed some time after its first write, at any step."""
    chance = random.Random(SEED)
    alive = {f"writer{number}": Writer(tmp_path, f"writer{number}", "0") for number in range(WRITERS)}
    every = list(alive.values())
    for number in range(DEATHS):
        doomed = alive.pop(chance.choice(sorted(alive)))
        doomed.says(1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            doomed.process.wait(chance.uniform(0, 0.1))  # this does not wait for anything: the moment is random
        assert doomed.process.poll() is None, list(doomed.said())[-1:]
        doomed.process.kill()
        doomed.process.wait()
        name = f"life{number}"
        alive[name] = Writer(tmp_path, name, str(number))
        every.append(alive[name])
    for writer in alive.values():
        writer.says(LINES)
    (tmp_path / "over").touch()
    for writer in alive.values():
        assert writer.process.wait() == 0, list(writer.said())[-1:]
    agree(tmp_path / "state", every)
