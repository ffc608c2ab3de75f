"""What a `wait` of many sessions reads while nothing happens, and that it misses no change."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dev_sessions import config
from dev_sessions.backends.session import Observation, Sources
from dev_sessions.model import Probe
from dev_sessions.service.context import Context
from dev_sessions.service.wait import wait
from dev_sessions.state.registry import FORMAT
from dev_sessions.system import files

MANY, AT_ONCE = 250, 100


class Source:
    """A path that notes when the system is asked for it."""

    def __init__(self, session, path, asked):
        self.session, self.path, self._asked = session, path, asked

    def __fspath__(self):
        self._asked.append(self.session)
        return str(self.path)


class Agents:
    """A backend whose agents are busy until they are said to have ended."""

    def __init__(self):
        self.asked, self.ended, self.looks, self.sources_of = [], set(), [], {}

    def add(self, id, path):
        self.sources_of[id] = Sources((), (), (Source(id, path, self.asked),))

    def sources(self, session):
        return self.sources_of[session.id]

    def observe(self, sessions):
        self.looks += [session.id for session in sessions]
        return [Observation([], Probe(time.time(), session.id not in self.ended, "busy")) for session in sessions]


AGENTS = Agents()


def agents():
    return AGENTS


@pytest.fixture
def waiting(tmp_path):
    """A `wait` for many sessions that has read them once; each step is one wake-up."""
    AGENTS.__init__()
    context = Context(config.load({"DEV_SESSIONS_HOME": str(tmp_path), "HOME": str(tmp_path)}))
    texts = dict.fromkeys(("mode", "permissions", "path", "description"), "")
    record = {
        **texts,
        "cli": "many",
        "adapter": f"{__name__}:agents",
        "capabilities": [],
        "depth": 1,
        "created_at": 1.0,
    }
    records = {f"s-{number}": {**record, "id": f"s-{number}", "key": f"k-{number}"} for number in range(MANY)}
    files.write_json(str(tmp_path / "sessions.json"), {"format": FORMAT, "sessions": records})
    for id, one in records.items():
        folder = tmp_path / "sessions" / one["key"]
        (folder / "facts").mkdir(parents=True)
        AGENTS.add(id, folder / "facts")
    steps = wait(context, {"ids": list(records), "next_turn": True, "interval": 0.05}, "r")
    assert next(steps) is None
    assert set(AGENTS.looks) == set(records)
    yield steps
    steps.close()


def asked(steps):
    """The sessions that are visited until the next wake-up; no outcome arrives meanwhile."""
    AGENTS.asked.clear()
    assert next(steps) is None
    return set(AGENTS.asked)


def first_outcome(steps, wakes):
    return next(outcome for outcome in (next(steps) for _ in range(wakes)) if outcome is not None)["session"]


def facts(id: str) -> Path:
    return AGENTS.sources_of[id].arrivals[0].path


def report(id):
    draft = facts(id) / ".draft"
    draft.touch()
    draft.rename(facts(id) / "report.json")


def test_an_event_makes_only_its_own_session_be_read(waiting):
    found = []
    for _ in range(8):  # a tick, or time that brings about more, may fall into a step
        report("s-7")
        AGENTS.looks.clear()
        next(waiting)
        found.append((asked(waiting), "s-7" in AGENTS.looks))
    assert min(len(sessions) for sessions, _ in found) <= 1
    assert all(looked for _, looked in found)


def test_an_end_that_an_event_reports_is_found_at_once(waiting):
    AGENTS.ended.add("s-211")
    report("s-211")
    assert first_outcome(waiting, 3) == "s-211"


def test_each_safety_check_visits_some_sessions_in_turn(waiting):
    found = [asked(waiting) for _ in range(12)]
    assert 0 < min(len(sessions) for sessions in found) <= AT_ONCE
    assert len(set().union(*found)) == MANY


def test_a_safety_check_finds_an_end_without_an_event(waiting):
    AGENTS.ended.add("s-211")
    os.utime(facts("s-211"))  # as on a file system without events: the time of the folder is all that shows it
    assert first_outcome(waiting, 12) == "s-211"


def test_every_safety_check_visits_what_cannot_be_watched(waiting):
    facts("s-3").rename(facts("s-3").with_name("elsewhere"))
    for _ in range(12):
        if "s-3" in asked(waiting):
            break
    found = [asked(waiting) for _ in range(6)]
    assert all("s-3" in sessions for sessions in found if sessions)


def test_a_source_is_watched_once_it_exists(waiting):
    facts("s-3").rename(facts("s-3").with_name("elsewhere"))
    for _ in range(6):
        next(waiting)
    facts("s-3").mkdir()
    AGENTS.ended.add("s-3")
    assert first_outcome(waiting, 6) == "s-3"
