"""If any command is killed with -9 at any moment, nothing is lost, sent twice or stuck.

The agent is the scripted one, because the tests check only the files that we write, over hundreds of kills. Each
command is killed at a step drawn from a seed (`fakes/mortal.py`).
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from mortal import Ended, Mortal
from soak import size

from dev_sessions.state.folder import Folder
from dev_sessions.state.registry import Store

pytestmark = [pytest.mark.soak, pytest.mark.timeout(size(300, 3600))]
KILLS = size(12, 800)
SEED = os.environ.get("DEV_SESSIONS_SEED", "1")
WORKERS = 4


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(name="crashes") as made:
        made.env["DEV_SESSIONS_RECEIPT_TIMEOUT"] = "1"
        yield made


class Worker:
    """Runs commands, some of which are killed."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.lab, self.name = lab, f"worker-{number}"
        self.run = Mortal(lab.env, str(lab.project))
        self.random = random.Random(f"{SEED}-{number}")
        self.usual: dict[str, int] = {}
        self.deaths: Counter[str] = Counter()
        self.count = 0
        self.story: list[str] = []

    def new(self, what: str) -> str:
        self.count += 1
        return f"{self.name}-{what}-{self.count}"

    def ok(self, verb: str, *given: Any, **named: Any) -> Any:
        done = self.run(verb, *given, **named)
        assert done.code == "ok", (verb, given, named, done)
        return done.value

    def doomed(self, verb: str, *given: Any, **named: Any) -> Ended:
        """Run a verb that is killed at one of its usual steps; sometimes it finishes before that."""
        step = self.random.randint(1, self.usual.get(verb, 60))
        done = self.run(verb, *given, **named, step=step)
        self.story.append(f"{verb} {given} {named} at step {step}: {done.code}")
        if done.code == "killed":
            self.deaths[verb] += 1
        else:
            self.usual[verb] = done.steps
        return done

    def listed(self) -> dict[str, dict[str, Any]]:
        done = self.run("list")
        assert (done.code, done.notes) == ("ok", []), done
        return {row["id"]: row for row in done.value}

    def outcome(self, id: str, turn: int) -> str:
        return str(self.ok("wait", [id], turn=turn, timeout=20)[0]["outcome"])


def at_once(lab: Lab, work: Callable[[Worker], None]) -> None:
    """Several workers do the same work in one state folder. The first failing one prints its seed and last commands."""

    def guarded(number: int) -> None:
        worker = Worker(lab, number)
        try:
            work(worker)
        except BaseException as error:
            raise AssertionError(f"seed {SEED}, worker {number}, last: {worker.story[-3:]}") from error
        finally:
            worker.run.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(guarded, range(WORKERS)))


def marked(lab: Lab) -> set[str]:
    """The keys of the sessions that any process of this lab belongs to."""
    found = set()
    for pid in lab.processes():
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        found.update(word.decode().partition("=")[2] for word in words if word.startswith(b"DEV_SESSIONS_KEY="))
    return found


def settled(lab: Lab) -> None:
    """Check what must be true whichever command was killed."""
    lab.ok("kill", lab.create("--cli", "fake"))  # a writer repairs what is broken
    done = lab.run("list", "--json")
    assert (done.code, done.err) == (0, "")
    records = Store(str(lab.state)).load()
    assert {row["id"] for row in done.json} == set(records)
    keys = {record["key"] for record in records.values()}
    assert {path.name for path in (lab.state / "sessions").iterdir()} == keys
    assert marked(lab) <= keys, "an agent runs that list does not show"
    panes = set(lab.tmux("list-sessions", "-F", "#{session_name}").split())
    assert panes <= {f"dev-{id}" for id in records}, "a terminal is open that list does not show"
    assert not list(lab.state.glob("*.tmp"))
    for key in keys:
        json.loads((lab.state / "sessions" / key / "record.json").read_text())


def accepted(lab: Lab, id: str) -> Counter[str]:
    """How often the agent has reported that it accepted each text, including the texts that have been compacted."""
    facts = [json.loads(fact.content) for fact in Folder(str(lab.folder(id)), whole=True).facts()]
    return Counter(fact["text"] for fact in facts if fact["kind"] == "accepted")


def test_create_and_kill(lab: Lab) -> None:
    def work(worker: Worker) -> None:
        while min(worker.deaths["create"], worker.deaths["kill"]) * WORKERS < KILLS:
            request = worker.new("request")
            create = {"cli": "fake", "description": request, "request_id": request}
            worker.doomed("create", **create)
            id = worker.ok("create", **create)["id"]
            mine = [row["id"] for row in worker.listed().values() if row["description"] == request]
            assert mine == [id], "one request, one session"
            assert worker.ok("ask", id, "[[reply: here]]", timeout=20)["reply"] == "here"
            key = lab.folder(id).name
            worker.doomed("kill", [id])
            if id in worker.listed():
                worker.ok("kill", [id])
            assert worker.run("status", id).code == "not_found"
            assert key not in marked(lab)
            assert not (lab.state / "sessions" / key).exists()
            assert (lab.state / "archive" / key / "record.json").exists()
            assert not (lab.state / "archive" / key / "agent" / "start.sh").exists(), "it holds secrets"

    at_once(lab, work)
    settled(lab)
    assert lab.run("list", "--json").json == []


def test_send(lab: Lab) -> None:
    def work(worker: Worker) -> None:
        id = worker.ok("create", cli="fake")["id"]
        certain = set()
        while worker.deaths["send"] * WORKERS < KILLS:
            text, request = f"[[reply: {worker.new('text')}]]", worker.new("request")
            sure = worker.doomed("send", id, text, request_id=request).code == "ok"
            again = worker.run("send", id, text, request_id=request)
            # Unknown: it was killed after it noted that it would send the message, and before it sent it.
            assert again.code == "ok" or (again.code == "delivery_unknown" and not sure), again
            if again.code == "ok":
                certain.add(text)
        assert worker.ok("ask", id, "[[reply: done]]", timeout=20)["reply"] == "done"
        taken = accepted(lab, id)
        assert max(taken.values()) == 1, taken.most_common(1)
        assert certain <= set(taken), certain - set(taken)
        assert len(certain) * 2 > KILLS // WORKERS
        messages = sorted(path.name for path in (lab.folder(id) / "messages").iterdir())
        assert all(name.isdecimal() for name in messages), messages
        assert worker.listed()[id]["status"] == "idle"

    at_once(lab, work)
    settled(lab)


def test_interrupt(lab: Lab) -> None:
    def work(worker: Worker) -> None:
        id = worker.ok("create", cli="fake")["id"]
        while worker.deaths["interrupt"] * WORKERS < KILLS:
            turn = worker.ok("send", id, f"[[hold: {worker.new('hold')}]]")["turn"]
            worker.doomed("interrupt", id)
            worker.ok("interrupt", id)
            assert worker.outcome(id, turn) == "interrupted"
        assert worker.ok("ask", id, "[[reply: done]]", timeout=20)["reply"] == "done"
        assert max(accepted(lab, id).values()) == 1

    at_once(lab, work)
    settled(lab)
