"""Compaction can happen at any time in a session, and no reader can see that it has.

The same agent, the same acts: one session is compacted after each delivery, as `hand_over` does it, the other never.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
from pathlib import Path

import pytest
from soak import size

from dev_sessions import config
from dev_sessions.backends.session import Observation
from dev_sessions.model import COMPLETED, FAILED, Fact, Probe, Question
from dev_sessions.service import Context, Session, delivery, events
from dev_sessions.system import files

SEEDS, MESSAGES = range(size(2, 100)), size(66, 300)
# The model of an agent, with our commands and crashes of either, that the reducer is tested with.
_spec = importlib.util.spec_from_file_location("properties", Path(__file__).with_name("test_properties_turns.py"))
_properties = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_properties)
Walk = _properties.Session


class Scripted:
    """A backend whose agent reports facts directly; its probe is in a file."""

    def observe(self, sessions):
        return [
            Observation(
                [_fact(payload) for payload in session.folder.facts()],
                _probe(files.read_json(f"{session.folder.agent_path}/probe.json")),
            )
            for session in sessions
        ]


def _fact(payload):
    fields = json.loads(payload.content)
    return Fact(**{**fields, "at": payload.at, "question": _question(fields["question"])})


def _probe(fields):
    return Probe(**{**fields, "question": _question(fields["question"])})


def _question(fields):
    return None if fields is None else Question(**{**fields, "options": tuple(fields["options"])})


def _plain(value):
    fields = value._asdict()
    if fields.get("question") is not None:
        fields["question"] = fields["question"]._asdict()
    return fields


class OnDisk:
    """A session's folder, kept up to date with what a walk has done so far."""

    def __init__(self, path):
        self.context = Context(config.load({"HOME": str(path), "DEV_SESSIONS_HOME": str(path), "PATH": os.defpath}))
        self.record = {
            "id": "fizz-top",
            "key": "fizz-top-0a1b2c3d",
            "cli": "scripted",
            "adapter": f"{__name__}:Scripted",
            "created_at": 1.0,
        }
        self.session = Session(self.context, self.record)
        self.whole = self.session.whole()
        self.folder = self.session.folder
        self.folder.make()
        self._messages, self._facts = [], 0

    def follow(self, walk):
        for message in walk.messages:
            if message not in self._messages[message.number - 1 : message.number]:
                self._note(message)
        self._messages = list(walk.messages)
        for number, fact in enumerate(walk.agent.facts[self._facts :], self._facts):
            if fact.kind == "revived":
                self.folder.set_revivals([*self.folder.revivals(), fact.at])
                continue
            path = f"{self.folder.facts_path}/{number:06d}.json"
            _write(path, _plain(fact))
            os.utime(path, (fact.at, fact.at))
        self._facts = len(walk.agent.facts)
        self.look_at(walk, walk.now)

    def look_at(self, walk, now):
        _write(f"{self.folder.agent_path}/probe.json", _plain(walk.agent.probe(now)))

    def _note(self, message):
        path = self.folder.message_path(message.number)
        os.makedirs(path, exist_ok=True)
        names = ("request_id", "created", "via", "wire", "queued")
        acts = {"message": {name: getattr(message, name) for name in names}}
        if message.attempted is not None:
            acts["attempt"] = {"at": message.attempted}
        if message.unconfirmed:
            acts["unconfirmed"] = {"at": message.created}
        if message.receipt is not None:
            acts["receipt"] = {"receipt": message.receipt, "at": message.attempted, "acts": dict(acts)}
        for act, content in acts.items():
            _write(f"{path}/{act}.json", content)
        with open(f"{path}/text.md", "w", encoding="utf-8") as file:
            file.write(message.wire)

    def events(self):
        return list(events.Reporter(self.context).news([self.session]))


def _write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


class Life:
    """A walk of the model, at random, through what one seed makes of it; and both folders with it."""

    def __init__(self, seed, path, kinds):
        self.random, self.kinds = random.Random(seed), kinds
        self.walk = Walk()
        self.walk.begin()
        self.kept, self.cut = OnDisk(path / "kept"), OnDisk(path / "cut")
        self.cuts = 0

    def step(self):
        walk, agent = self.walk, self.walk.agent
        fitting = [kind for kind in self.kinds if self._can(kind, agent)]
        kind = self.random.choice(fitting)
        if "courier" in fitting and self._queued() and self.random.random() < 0.8:
            kind = "courier"
        before = len([message for message in walk.messages if message.receipt])
        self._do(kind)
        self.kept.follow(walk)
        self.cut.follow(walk)
        if len([message for message in walk.messages if message.receipt]) > before:
            self.cuts += delivery.compact(self.cut.session)
        return kind

    def _queued(self):
        return sum(message.attempted is None and message.queued for message in self.walk.messages)

    def _can(self, kind, agent):
        if kind in ("send", "sloppy", "again"):
            return agent.life and not agent.asking
        if kind == "queue":
            return self._queued() < 2  # a courier delivers as soon as the agent is at rest
        if kind == "courier":
            return agent.life and not agent.asking and not agent.running
        if kind in ("join", "take_back"):
            return agent.running and agent.held
        if kind in ("end", "ask"):
            return agent.running and not agent.asking
        if kind == "interrupt":
            return agent.running
        return {
            "answer": agent.asking,
            "person": agent.life and not agent.running,
            "die": agent.life,
            "revive": not agent.life,
        }.get(kind, True)

    def _do(self, kind):
        walk, pick = self.walk, self.random.choice
        if kind == "send":
            walk.hand_over(walk.claim(False), None)
        elif kind == "again":
            walk.hand_over(walk.claim(True), None)
        elif kind == "sloppy":
            crash = pick(["before the attempt", "before Enter", "after", "no receipt in time"])
            walk.hand_over(walk.claim(pick([True, False])), crash)
        elif kind == "queue":
            walk.claim(pick([True, False]), queued=True)
        elif kind == "end":
            walk.tick()
            walk.agent.end(walk.now, pick([COMPLETED, COMPLETED, FAILED]), pick([0, 0, 1]))
        elif kind == "interrupt":
            walk.tick()
            walk.agent.interrupt(walk.now, pick([True, False]))
        elif kind == "person":
            walk.person_or_wake_up()
        elif kind == "die":
            walk.die(pick([True, False]))
        elif kind == "revive":
            walk.revive(pick(["at once", "late", "never"]))
        elif kind == "time":
            walk.tick(pick([0.01, 2.0, 7.0, 130.0]))
        else:
            getattr(walk, kind)()

    def same(self, now=None):
        """What both tell, right now or at a later time."""
        for disk in (self.kept, self.cut):
            disk.look_at(self.walk, self.walk.now if now is None else now)
        kept, through = self.kept.session.state(), self.cut.folder.past.mark().through
        late = tuple(turn for turn in kept.turns if turn.number > through)
        assert self.cut.session.state() == kept._replace(turns=late)
        assert self.cut.whole.state() == kept
        assert self.cut.whole.folder.messages() == self.kept.folder.messages()
        assert self.cut.whole.folder.facts() == self.kept.folder.facts()
        assert self.cut.folder.next_number() == self.kept.folder.next_number()


EVERYTHING = (
    "send send send again sloppy queue courier courier end end end end join ask answer answer interrupt".split()
)
EVERYTHING += "person take_back die revive revive time".split()


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_a_compacted_session_looks_like_one_that_never_was(tmp_path, seed):
    life = Life(seed, tmp_path, EVERYTHING)
    for step in range(250):
        cuts = life.cuts
        life.step()
        if life.cuts > cuts or step % 25 == 0:
            life.same()
            life.same(life.walk.now + 1000.0)
    assert life.cuts, "nothing was put behind in 250 steps"
    life.same()
    assert life.cut.events() == life.kept.events()


LIVES = {
    "answered": "send end",
    "the same words each time": "again end",
    "failed, or with work in the background": "send end end time",
    "joined by others": "send send join end end",
    "held for the next turn": "send send end end end",
    "queued": "queue courier end",
    "interrupted now and then": "send end end end interrupt",
    "asked something": "send ask answer end",
    "a person types between": "send end person end",
    "a person takes messages back": "send send take_back end end",
    "the agent is started again and again": "send send send end end end end die revive",
    "senders are killed": "send send sloppy end end end time time",
    "everything": " ".join(EVERYTHING),
}


@pytest.mark.soak
@pytest.mark.parametrize("kinds", LIVES.values(), ids=LIVES.keys())
def test_it_always_stays_small(tmp_path, kinds):
    life = Life(1, tmp_path, kinds.split())
    most = [0, 0]
    while len(life.walk.messages) < MESSAGES:
        life.step()
        most = [max(pair) for pair in zip(most, life.cut.folder.counts(), strict=True)]
    life.same()
    assert most[0] <= 60, most
    assert most[1] <= 300, most


def reader(disk, look):
    """A child that looks again and again, without a lock, until it is told to stop: what it saw that was wrong."""
    seen, saw = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            looks, wrong = 0, None
            while wrong is None and (looks < 5 or not os.path.exists(f"{disk.folder.path}/stop")):
                looks, wrong = looks + 1, look(disk)
            os.write(saw, (wrong or "").encode())
        except BaseException as error:
            os.write(saw, repr(error).encode())
        finally:
            os._exit(0)
    os.close(saw)
    return pid, seen


def differs(value, expected):
    return None if value == expected else f"{value} is not {expected}"[:2000]


def test_readers_never_see_a_partial_state(tmp_path):
    life = Life(1, tmp_path, ["send", "end"])
    while len(life.walk.messages) < 100:
        for kind in ("send", "end"):
            life._do(kind)
    life.walk.tick(100.0)
    disk = life.cut
    disk.follow(life.walk)
    state, events = disk.session.state(), disk.events()
    texts = [disk.folder.text(number) for number in range(1, 101)]
    ends = [fact.at for fact in life.walk.agent.facts if fact.kind == "ended"]

    def present(disk):
        now = disk.session.state()
        return differs(now._replace(turns=now.turns[-10:]), state._replace(turns=state.turns[-10:]))

    looks = (
        present,
        lambda disk: differs(disk.whole.state(), state),
        lambda disk: differs(disk.events(), events),
        lambda disk: differs([disk.folder.text(number) for number in range(1, 101)], texts),
    )
    readers = [reader(disk, look) for look in looks]
    for number in range(1, 91):
        disk.folder.compact(number, ends[number - 1] + 1e-6)
    _write(f"{disk.folder.path}/stop", None)
    for pid, seen in readers:
        with open(seen, encoding="utf-8") as file:
            wrong = file.read()
        os.waitpid(pid, 0)
        assert not wrong
    assert disk.folder.counts()[0] == 10
