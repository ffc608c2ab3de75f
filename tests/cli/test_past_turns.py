"""A session of many turns: as quick as a new one, with as few files, and with nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from lab import Lab
from small_disk import PAGE, SmallDisk

if TYPE_CHECKING:
    from conftest import Commands

TURNS = 26


@pytest.fixture(scope="module")
def old(run: Commands) -> str:
    """A session with many turns behind it: answered, failed, interrupted, asked, queued, held, and not ours."""
    id = run.create()
    for number in range(1, TURNS + 1):
        text = f"[[reply: answer {number}]]"
        if number % 10 == 3:
            assert run("ask", id, f"[[error: failure {number}]]").code == 5
        elif number % 10 == 5:
            run.ok("send", id, f"[[hold: never{number}]]")
            assert run.ok("interrupt", id) == "interrupted"
        elif number % 10 == 8:
            run.ok("send", id, f"[[hold: h{number}]]{text}")
            run.ok("send", id, f"[[reply: queued {number}]]", "--queue")
            run.release(id, f"h{number}")
            run.ok("wait", id)
        else:
            run.ok("send", id, text, "--request-id", f"r{number}")
            run.ok("wait", id)
    return id


def test_its_folder_stays_small(run: Commands, old: str) -> None:
    folder = run.lab.folder(old)
    assert len(os.listdir(folder / "messages")) <= 17
    assert len(os.listdir(folder / "facts")) <= 80
    assert (folder / "past.jsonl").exists()
    assert json.loads((folder / "past.json").read_text())["through"] > TURNS // 2


def test_its_state_is_that_of_its_last_turn(run: Commands, old: str) -> None:
    assert run.ok("status", old) == "idle"
    assert run.ok("wait", old) == "completed"
    assert run.ok("last-message", old) == f"answer {TURNS}"


def test_an_old_turn_can_be_waited_for(run: Commands, old: str) -> None:
    first = run.json("wait", old, "--turn", "1")
    assert (first["outcome"], first["turns"][0]["reply"]) == ("completed", "answer 1")
    failed = run("wait", old, "--turn", "3", "--json")
    assert (failed.code, failed.json["outcome"], failed.json["error"]) == (5, "failed", "failure 3")
    assert run("wait", old, "--turn", "5", "--json").json["outcome"] == "interrupted"
    assert run("wait", old, "--turn", "9999").code == 2


def test_an_old_request_is_answered_as_the_first_time(run: Commands, old: str) -> None:
    before = len(list((run.lab.folder(old) / "agent" / "inbox").iterdir()))
    again = run("send", old, "[[reply: answer 1]]", "--request-id", "r1", "--json")
    assert (again.code, again.json["turn"], again.json["receipt"]) == (0, 1, "started")
    assert len(list((run.lab.folder(old) / "agent" / "inbox").iterdir())) == before


def test_all_turns_are_reported(run: Commands, old: str) -> None:
    events = [json.loads(line) for line in run.ok("events", old).splitlines()]
    messages = [event["turn"] for event in events if event["event"] == "message"]
    assert messages == list(range(1, max(messages) + 1))
    ended = [turn for event in events if event["event"] == "ended" for turn in event["turns"]]
    assert len(ended) == len(set(ended))
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    said = [entry["text"] for entry in run.json("logs", old) if entry["role"] == "assistant"]
    assert said[:2] == ["answer 1", "answer 2"]
    assert {"queued 8", "answer 18", f"answer {TURNS}"} <= set(said)


def test_the_next_message_is_the_next_turn(run: Commands, old: str) -> None:
    last = max(
        event["turn"] for event in map(json.loads, run.ok("events", old).splitlines()) if event["event"] == "message"
    )
    sent = run("send", old, "[[reply: on and on]]", "--json").json
    assert sent["turn"] == last + 1
    assert run.ok("wait", old) == "completed"
    assert run.ok("last-message", old) == "on and on"


def test_all_turns_are_reported_after_its_end(run: Commands) -> None:
    id = run.create()
    for number in range(20):
        run.ok("ask", id, f"[[reply: {number}]]")
    run("send", id, "[[die: enough]]")
    assert run("wait", id).code == 5
    assert run.ok("status", id) == "exited"
    assert run.json("wait", id, "--turn", "1")["outcome"] == "completed"
    assert len(run.json("logs", id)) >= 40


def test_a_persons_turns_do_not_prevent_compaction(run: Commands) -> None:
    id = run.create()
    for number in range(20):
        run.ok("ask", id, f"[[reply: {number}]]")
        run.lab.keys(id, f"[[reply: typed {number}]]", "Enter")
        ended = f'"reply": "typed {number}"'
        run.lab.until(lambda ended=ended: ended in run.ok("events", id), "the person's turn is over")
    assert len(os.listdir(run.lab.folder(id) / "messages")) <= 17
    assert run.json("wait", id, "--turn", "1")["turns"][0]["reply"] == "0"


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout
    while line := process.stdout.readline():
        yield json.loads(line)


def test_a_follower_gets_everything_once_during_compaction(run: Commands) -> None:
    id = run.create()
    with run.following("events", id, "--follow") as events:
        for number in range(1, 41):
            run.ok("ask", id, f"[[reply: answer {number}]]")
            assert run.ok("status", id) == "idle"
        assert json.loads((run.lab.folder(id) / "past.json").read_text())["through"] >= 16
        run("send", id, "[[die: enough]]")
        told = []
        for event in lines(events):
            told.append(event)
            if event["event"] == "gone":
                break
    acts = Counter((event["event"], event.get("turn")) for event in told)
    for act in ("message", "attempted", "receipt", "accepted", "ended"):
        assert {number: acts[act, number] for number in range(1, 41)} == dict.fromkeys(range(1, 41), 1), act
    assert Counter(turn for event in told if event["event"] == "ended" for turn in event["turns"]) == Counter(
        range(1, 41)
    )


def test_a_wait_for_an_old_turn_survives_its_compaction(run: Commands) -> None:
    id, gate = run.create(), run.lab.path / "gate"
    os.mkfifo(gate)
    run.ok("ask", id, f"[[bash_bg: cat {gate}]][[reply: first]]")
    with run.following("wait", id, "--turn", "1", "--settled", "--json") as waiting:
        for number in range(30):
            run.ok("ask", id, f"[[reply: {number}]]")
        assert json.loads((run.lab.folder(id) / "past.json").read_text())["through"] >= 1
        assert run.json("status", id)["background"] == 1
        gate.write_text("over")
        out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, err) == (0, "")
    assert json.loads(out)["turns"][0]["reply"] == "the background work is over"


class DiskLab(Lab):
    """A lab whose state folder is on a small disk of its own."""

    def __init__(self) -> None:
        super().__init__(name="past-disk")
        self.state.mkdir()
        self.disk = SmallDisk(self.state, 800 * PAGE)

    def argv(self, *args: str) -> list[str]:
        return self.disk.argv(self.project, super().argv(*args))

    def close(self) -> None:
        super().close()
        self.disk.close()


def test_a_message_is_sent_even_if_the_disk_is_too_full_to_compact() -> None:
    """Some messages are so long that the log takes far more room than one more message does."""
    with DiskLab() as lab:
        id = lab.ok("create", "--cli", "fake", "-q")
        for number in range(1, 17):
            lab.ok("ask", id, f"[[reply: answer {number}]] {'x' * 6000}")
        folder = next(lab.disk.path.glob("sessions/*"))
        assert not (folder / "past.jsonl").exists()
        lab.disk.fill(20)
        sent = lab.run("send", id, "[[reply: full]]", "--json")
        assert (sent.code, sent.json["turn"], sent.json["receipt"]) == (0, 17, "started")
        assert f"could not compact old turns of {id}" in sent.err
        lab.disk.empty()
        assert lab.ok("wait", id) == "completed"
        assert not (folder / "past.json").exists()
        assert lab.ok("ask", id, "[[reply: room again]]") == "room again"
        assert (folder / "past.json").exists()
        told = [json.loads(line) for line in lab.ok("events", id).splitlines()]
        assert [event["turn"] for event in told if event["event"] == "message"] == list(range(1, 19))
        assert [turn for event in told if event["event"] == "ended" for turn in event["turns"]] == list(range(1, 19))
        lab.ok("kill", id)
