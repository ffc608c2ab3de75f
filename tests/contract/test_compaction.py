"""A session of thousands of turns costs no more than one of twenty: as few files, and as few opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab
from soak import size

pytestmark = pytest.mark.soak
TURNS = 20
OLD = size(1_000, 10_000)
# A command line, and then which files and folders below the state folder it has opened.
COUNTING = """
import json, os, sys
opened, home = [], os.environ["DEV_SESSIONS_HOME"]
def look(event, given):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(given[0], str) and given[0].startswith(home):
        opened.append(given[0])
sys.addaudithook(look)
from dev_sessions import cli
code = cli.run(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump({"code": code, "opened": opened}, file)
"""


class Opened:
    """Counts what a command opens."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def __call__(self, *argv: str) -> tuple[str, Counter[str]]:
        """What it printed, and how often it opened the files of each name."""
        report = self._lab.path / "opened.json"
        done = subprocess.run(
            [sys.executable, "-c", COUNTING, str(report), *argv],
            env=self._lab.env,
            cwd=self._lab.project,
            capture_output=True,
            text=True,
            check=False,
        )
        told = json.loads(report.read_text())
        assert told["code"] == 0, (argv, done)
        return done.stdout, Counter(os.path.basename(path) for path in told["opened"])


@pytest.fixture(scope="module")
def counted(lab: Lab) -> Opened:
    return Opened(lab)


def long_past(folder: Path) -> None:
    """The log of thousands of turns: a line for each message and for each report."""
    folder_of_facts, at = folder / "past.jsonl", 1_000_000.0
    with folder_of_facts.open("w") as file:
        for number in range(1, OLD + 1):
            at += 20.0
            claim = {"request_id": f"old{number}", "created": at, "via": "terminal", "wire": f"text {number}"}
            acts = {"message": {**claim, "queued": False, "sender": None}, "attempt": {"at": at + 0.1}}
            acts["receipt"] = {"receipt": "started", "at": at + 0.3}
            lines = [{"message": {"number": number, "acts": acts}}]
            for kind, later in (("accepted", 0.2), ("ended", 9.0)):
                said = {
                    "kind": kind,
                    "at": at + later,
                    "prompt": f"old-p{number}",
                    "text": f"text {number}",
                    "outcome": "completed",
                }
                said["text"] = f"text {number}"
                said |= {"reply": f"reply {number}"} if kind == "ended" else {}
                fact = {"name": f"old{number}-{kind}.json", "at": at + later, "content": json.dumps(said)}
                lines.append({"fact": fact})
            file.writelines(json.dumps(line) + "\n" for line in lines)
    (folder / "past.json").write_text(json.dumps({"through": OLD, "size": folder_of_facts.stat().st_size}))


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Iterator[tuple[str, str]]:
    """A session of twenty turns, and one of as many after thousands of others."""
    new, old = (lab.ok("create", "--cli", "fake", "-q") for _ in range(2))
    long_past(lab.folder(old))
    for id in (new, old):
        for number in range(TURNS):
            lab.ok("ask", id, f"[[reply: {number}]]")

    def alike() -> bool:
        """How much the last writer could compact depends on when the agent was seen at rest."""
        if files_of(lab, old) == files_of(lab, new):
            return True
        for id in (new, old):
            lab.ok("ask", id, "[[reply: one more]]")
        return False

    lab.until(alike, "both to have put as much behind")
    yield new, old
    for id in (new, old):
        lab.ok("kill", id)


def files_of(lab: Lab, id: str) -> int:
    """How many files there are in a session's folder, apart from what is the fake agent's own."""
    found = lab.folder(id).rglob("*")
    return len([path for path in found if path.is_file() and "agent" not in path.parts])


def test_its_folder_has_as_few_files(lab: Lab, pair: tuple[str, str]) -> None:
    new, old = pair
    assert json.loads((lab.folder(old) / "past.json").read_text())["through"] > OLD
    assert files_of(lab, old) == files_of(lab, new)


@pytest.mark.parametrize("command", ["status", "wait", "last-message"])
def test_a_reader_opens_no_more(counted: Opened, pair: tuple[str, str], command: str) -> None:
    (said_new, new), (said_old, old) = (counted(command, id) for id in pair)
    assert said_old == said_new
    assert old == new
    assert "past.jsonl" not in old


def test_a_list_does_not_read_the_past(counted: Opened, pair: tuple[str, str]) -> None:
    _, opened = counted("list")
    assert "past.jsonl" not in opened


def test_a_sender_opens_no_more(lab: Lab, counted: Opened, pair: tuple[str, str]) -> None:
    (_, new), (_, old) = (counted("send", id, "[[reply: one more]]") for id in pair)
    for id in pair:
        lab.ok("wait", id)
    # How often it reads the agent's reports until it has its receipt varies.
    sure = {"past.jsonl", "past.json", "sessions.json", "messages", "text.md", "message.json", "lock"}
    assert {name: old[name] for name in sure} == {name: new[name] for name in sure}
    assert old["past.jsonl"] <= 2


def test_old_turns_are_still_known(lab: Lab, pair: tuple[str, str]) -> None:
    _, old = pair
    first = json.loads(lab.ok("wait", old, "--turn", "1", "--json"))
    assert (first["outcome"], first["turns"][0]["reply"]) == ("completed", "reply 1")
    again = json.loads(lab.ok("send", old, "text 7", "--request-id", "old7", "--json"))
    assert (again["turn"], again["receipt"]) == (7, "started")
    sent = json.loads(lab.ok("send", old, "[[reply: next]]", "--json"))
    assert sent["turn"] > OLD + TURNS
    lab.ok("wait", old)
    told = [json.loads(line) for line in lab.ok("events", old).splitlines()]
    messages = [event["turn"] for event in told if event["event"] == "message"]
    assert sorted(messages) == list(range(1, sent["turn"] + 1))
