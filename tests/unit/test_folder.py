"""The folder of one session: messages, facts, the agent's process, the courier."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dev_sessions.errors import StoreError
from dev_sessions.state.folder import Folder
from dev_sessions.system import processes


@pytest.fixture
def folder(tmp_path):
    made = Folder(str(tmp_path / "fizz-top-0a1b2c3d"))
    made.make()
    return made


def claim(folder, text="hello", **more):
    number = folder.next_number()
    content = {"wire": text, "via": "terminal", "request_id": f"r{number}", "created": 10.0 * number, **more}
    folder.claim_message(number, text, content)
    return number


def test_a_missing_folder_is_empty(tmp_path):
    gone = Folder(str(tmp_path / "gone"))
    assert gone.messages() == []
    assert gone.facts() == []
    assert (gone.message(1), gone.process(), gone.notice()) == (None, None, None)
    assert gone.next_number() == 1
    assert not gone.courier()
    assert gone.find_request("r1") is None


def test_the_life_of_a_message(folder):
    assert claim(folder, queued=True) == 1
    fresh = folder.message(1)
    assert (fresh.number, fresh.wire, fresh.via, fresh.request_id, fresh.created) == (
        1,
        "hello",
        "terminal",
        "r1",
        10.0,
    )
    assert (fresh.queued, fresh.attempted, fresh.receipt, fresh.unconfirmed) == (True, None, None, False)
    folder.note(1, "attempt", {"at": 12.5})
    folder.note(1, "unconfirmed", {"at": 13.0})
    folder.note(1, "receipt", {"receipt": "started", "at": 14.0})
    later = folder.message(1)
    assert (later.attempted, later.receipt, later.unconfirmed) == (12.5, "started", True)
    assert folder.messages() == [later]


@pytest.mark.parametrize("text", ["a\r\nb\r\n", "\n", "tab\there", "ü 漢 🙂", "e\u0301", "nul\0", "x" * 1_000_000])
def test_the_text_is_kept_byte_by_byte(folder, text):
    number = claim(folder, text)
    with open(folder.text_path(number), "rb") as file:
        assert file.read() == text.encode()


def test_messages_are_ordered_by_number(folder):
    for _ in range(12):
        claim(folder)
    assert [one.number for one in folder.messages()] == list(range(1, 13))
    assert folder.next_number() == 13


def test_a_withdrawn_message_is_gone_but_its_request_is_known(folder):
    claim(folder)
    claim(folder)
    folder.note(1, "withdrawn", {"at": 11.0})
    assert folder.message(1) is None
    assert [one.number for one in folder.messages()] == [2]
    assert folder.find_request("r1")[0] == 1
    assert folder.next_number() == 3
    folder.reclaim_message(1, "again", {"wire": "again", "request_id": "r1", "created": 30.0})
    assert folder.message(1).wire == "again"
    assert [one.number for one in folder.messages()] == [1, 2]


def test_a_request_is_found_by_its_id(folder):
    claim(folder)
    claim(folder)
    number, content = folder.find_request("r2")
    assert (number, content["request_id"], content["wire"]) == (2, "r2", "hello")
    assert folder.find_request("r3") is None
    assert folder.find_request("") is None


def test_a_number_is_claimed_once(folder):
    claim(folder, "first")
    with pytest.raises((OSError, StoreError)):
        folder.claim_message(1, "second", {"wire": "second", "request_id": "x", "created": 1.0})
    assert folder.message(1).wire == "first"
    assert [one.number for one in folder.messages()] == [1]


def test_a_half_written_message_of_a_killed_writer_is_ignored(folder):
    claim(folder)
    os.mkdir(os.path.join(folder.messages_path, ".0badc0de"))
    os.mkdir(folder.message_path(2))
    assert [one.number for one in folder.messages()] == [1]
    assert folder.next_number() == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5"])
def test_damaged_acts_are_ignored(folder, content):
    claim(folder)
    for act in ("attempt", "receipt"):
        with open(os.path.join(folder.message_path(1), f"{act}.json"), "wb") as file:
            file.write(content)
    # A partial note shows that the message may have reached the agent since the note was begun.
    assert (folder.message(1).attempted, folder.message(1).receipt) == (10.0, None)


def test_everything_is_private(folder):
    claim(folder)
    folder.set_notice("x", 1.0)
    folder.set_courier(os.getpid())
    for base, _, names in os.walk(folder.path):
        assert os.stat(base).st_mode & 0o777 == 0o700
        assert all(os.stat(os.path.join(base, name)).st_mode & 0o777 == 0o600 for name in names)


def say(folder, name, at, content=b"{}"):
    path = os.path.join(folder.facts_path, name)
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, ns=(int(at * 1e9), int(at * 1e9)))


def test_facts_are_ordered_by_time(folder):
    say(folder, "c.json", 3.0, b"third")
    say(folder, "a.json", 5.5, b"last")
    say(folder, "b.json", 1.25, b"first")
    say(folder, ".d", 2.0, b"not finished")
    assert [(one.name, one.at, one.content) for one in folder.facts()] == [
        ("b.json", 1.25, b"first"),
        ("c.json", 3.0, b"third"),
        ("a.json", 5.5, b"last"),
    ]
    assert [one.name for one in folder.facts(since=3.0)] == ["c.json", "a.json"]
    assert folder.facts(since=5.6) == []


def test_the_process_file(folder):
    written = f"echo $$; cat /proc/$$/stat 2>/dev/null || {processes.START_BY_PS};"
    script = f"{{ {written} }} >'{folder.process_path}'; echo; exec cat"
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert folder.process() == (process.pid, processes.start_time(process.pid))
        process.kill()


@pytest.mark.parametrize("content", ["", "\n", "x\n1 (a) S", "17", "17\n", "-5\n1 (a) S", "\udcff\n"])
def test_a_process_file_without_a_process(folder, content):
    with open(folder.process_path, "w", errors="surrogateescape") as file:
        file.write(content)
    assert folder.process() is None


def test_a_notice(folder):
    assert folder.notice() is None
    folder.set_notice("It asks ünï", 12.0)
    assert folder.notice() == {"text": "It asks ünï", "at": 12.0}


def test_a_courier_counts_only_while_it_runs(folder):
    assert not folder.courier()
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        folder.set_courier(process.pid)
        assert folder.courier()
        process.communicate(b"\n", timeout=20)
    assert not folder.courier()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": 1, "started": null}', '{"pid": 1, "started": "other"}'])
def test_a_courier_file_without_a_process(folder, content):
    with open(os.path.join(folder.path, "courier.json"), "w", encoding="utf-8") as file:
        file.write(content)
    assert not folder.courier()
