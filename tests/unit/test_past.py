"""The compacted past of a session: one log, with nothing lost."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
from mortal import CALLS, MODULES
from soak import size

from dev_sessions.errors import StoreError
from dev_sessions.state.folder import Folder
from dev_sessions.state.past import Mark, Past


@pytest.fixture
def folder(tmp_path):
    """A folder with five messages, a report for each, and one by file."""
    made = Folder(str(tmp_path / "fizz-top-0a1b2c3d"))
    made.make()
    for number in range(1, 6):
        claim = {"wire": f"text {number}", "via": "terminal", "request_id": f"r{number}", "created": 10.0 * number}
        if number == 2:
            claim |= {"via": "file", "wire": "see the file"}
        made.claim_message(number, f"text {number}" + ("  \n" if number == 3 else ""), claim)
        if number == 4:
            made.note(4, "withdrawn", {"at": 40.5})
        else:
            made.note(number, "attempt", {"at": 10.0 * number + 1})
            made.note(number, "receipt", {"receipt": "started", "at": 10.0 * number + 2})
        report(made, f"f{number}.json", 10.0 * number + 3, f"report {number} \udcff".encode("utf-8", "surrogateescape"))
    return made


def report(folder, name, at, content=b"{}"):
    path = os.path.join(folder.facts_path, name)
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, (at, at))


def told(folder):
    """All that a folder tells."""
    whole = Folder(folder.path, whole=True)
    texts = {number: folder.text(number) for number in range(1, 6)}
    requests = [folder.find_request(f"r{number}")[0] for number in (1, 2, 3, 5)]
    singles = [folder.message(number) for number in range(1, 6)]
    return whole.messages(), whole.facts(), list(whole.acts()), texts, requests, singles, folder.next_number()


def test_compaction_loses_nothing(folder):
    before = told(folder)
    folder.compact(4, 50.0)
    after = told(folder)
    assert after[0:2] == before[0:2]
    assert after[3:] == before[3:]
    # Of a text that is not what was typed, the log keeps it with the claim.
    assert [number for number, _ in after[2]] == [number for number, _ in before[2]]
    assert [message.number for message in folder.messages()] == [5]
    assert [fact.name for fact in folder.facts()] == ["f5.json"]
    assert folder.counts() == (1, 1)


def test_the_text_of_a_message_by_file_keeps_its_path(folder):
    folder.compact(4, 50.0)
    assert os.listdir(folder.message_path(2)) == ["text.md"]
    assert os.listdir(folder.messages_path) != []
    assert not os.path.exists(folder.message_path(1))


def test_the_log_is_appended_to(folder):
    folder.compact(2, 30.0)
    first = folder.past.mark()
    before = told(folder)
    folder.compact(4, 50.0)
    assert told(folder)[0:2] == before[0:2]
    assert folder.past.mark().through == 4
    assert folder.past.mark().size > first.size


def test_compaction_removes_what_a_dead_writer_left(folder):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = os.path.join(folder.path, f"notice.json.{gone.pid}.0a1b2c3d.tmp")
    with open(left, "w", encoding="utf-8"):
        os.utime(left, (1.0, 1.0))
    folder.compact(2, 30.0)
    assert not os.path.exists(left)


def test_a_writer_that_died_before_its_mark_changed_nothing(folder):
    before = told(folder)
    folder.compact(2, 30.0)
    with open(os.path.join(folder.path, "past.jsonl"), "ab") as log:
        log.write(b'{"message": {"number": 3, "acts"')
    assert told(folder)[0:2] == before[0:2]
    folder.compact(4, 50.0)
    assert told(folder)[0:2] == before[0:2]


def test_an_entry_that_is_in_the_log_twice_is_read_once(folder):
    """A writer that died between the mark and the removal of the files."""
    before = told(folder)
    kept = {fact.name: fact.content for fact in folder.facts()}
    folder.compact(4, 50.0)
    for number, name in enumerate(sorted(kept), 1):
        report(folder, name, 10.0 * number + 3, kept[name])
    os.mkdir(folder.message_path(3))
    assert told(folder)[0:2] == before[0:2]
    folder.compact(4, 50.0)
    assert told(folder)[0:2] == before[0:2]
    assert [fact.name for fact in folder.facts()] == ["f5.json"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"through": true, "size": 1}', b'{"through": 1, "size": -5}', None]
)
def test_a_lost_mark_is_recovered_from_the_log(folder, damage):
    before = told(folder)
    folder.compact(4, 50.0)
    mark, path = folder.past.mark(), os.path.join(folder.path, "past.json")
    if damage is None:
        os.unlink(path)
    else:
        with open(path, "wb") as file:
            file.write(damage)
    # Message 4 was withdrawn, and is in the log all the same.
    assert folder.past.mark() == mark
    assert told(folder)[0:2] == before[0:2]
    folder.compact(5, 60.0)
    assert told(folder)[0:2] == before[0:2]


@pytest.mark.parametrize(
    "line", [b"", b"[", b"5", b"{}", b'{"message": 5}', b'{"fact": {"name": "x"}}', b"[" * 5000, b"\xff"]
)
def test_a_damaged_line_does_not_hide_others(tmp_path, line):
    past = Past(str(tmp_path))
    good = json.dumps({"message": {"number": 1, "acts": {"message": {"wire": "hello", "request_id": "r1"}}}}).encode()
    content = line + b"\n" + good + b"\n" + line + b"\n"
    (tmp_path / "past.jsonl").write_bytes(content)
    (tmp_path / "past.json").write_text(json.dumps({"through": 1, "size": len(content)}))
    folder = Folder(str(tmp_path), whole=True)
    assert [message.wire for message in folder.messages()] == ["hello"]
    assert folder.find_request("r1")[0] == 1
    assert folder.facts() == []
    assert past.mark() == Mark(1, len(content))


def test_a_request_id_is_found_exactly(folder):
    folder.claim_message(6, "x", {"wire": "x", "via": "terminal", "request_id": 'a"b\u00e9\n', "created": 60.0})
    folder.compact(6, 70.0)
    assert folder.find_request('a"b\u00e9\n')[0] == 6
    assert folder.find_request("r") is None
    assert folder.find_request("text 1") is None


def test_a_compacted_withdrawn_request_can_be_sent_again(folder):
    assert folder.find_request("r4")[0] == 4
    folder.compact(4, 50.0)
    assert folder.find_request("r4") is None
    assert folder.next_number() == 6


def test_the_stamp_changes_with_each_compaction(folder):
    assert folder.past.stamp() == 0
    folder.compact(2, 30.0)
    first = folder.past.stamp()
    folder.compact(4, 50.0)
    assert folder.past.stamp() not in (0, first)


def killed(work, step):
    """Do some work in a child that dies by SIGKILL at its step-th call that changes the disk; False if it got through.

    See `mortal`: a profiler counts the calls, before and after each.
    """
    pid = os.fork()
    if pid == 0:
        count = 0

        def look(frame, event, call):
            nonlocal count
            if event[:2] == "c_" and call.__name__ in CALLS and call.__module__ in MODULES:
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(look)
            work()
            sys.setprofile(None)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def told_of_all(folder):
    """What a folder tells, however much of it is behind."""
    messages, facts, _, texts, requests, singles, following = told(folder)
    return messages, facts, texts, requests, singles, following


def in_log(folder):
    """The numbers of the messages in the log, as often as they stand there."""
    return [entry["message"]["number"] for entry in folder.past.entries() if "message" in entry]


@pytest.mark.soak
@pytest.mark.parametrize("behind", [0, 2], ids=["the first time", "with a past"])
def test_a_writer_killed_at_any_step_damages_nothing(folder, tmp_path, behind):
    if behind:
        folder.compact(behind, 10.0 * behind + 5)
    before, step = told_of_all(folder), 0
    while True:
        step += size(3, 1)
        copy = Folder(str(tmp_path / f"copy-{step}"))
        shutil.copytree(folder.path, copy.path)
        died = killed(lambda copy=copy: copy.compact(4, 50.0), step)
        assert told_of_all(copy) == before, step
        assert [fact.name for fact in copy.facts()][-1] == "f5.json", step
        copy.compact(4, 50.0)
        assert told_of_all(copy) == before, step
        assert copy.counts() == (1, 1), step
        assert not os.path.exists(copy.message_path(1)), step
        assert os.listdir(copy.message_path(2)) == ["text.md"], step
        assert in_log(copy) == [1, 2, 3, 4], step
        shutil.rmtree(copy.path)
        if not died:
            break
    assert step > 20


@pytest.mark.parametrize("cut", [0, 1, 40, -30, -1, None], ids=str)
def test_a_truncated_log_can_be_appended_to(folder, cut):
    """Only the truncated part is lost, now and later, and no number is used twice."""
    folder.compact(2, 30.0)
    path = os.path.join(folder.path, "past.jsonl")
    content = pathlib.Path(path).read_bytes()
    if cut is None:
        os.unlink(path)
    else:
        os.truncate(path, cut % len(content))
    kept = [] if cut is None else in_log(folder)
    assert folder.next_number() == 6
    assert [message.number for message in folder.messages()] == [3, 5]
    assert Folder(folder.path, whole=True).messages()[-1].number == 5
    folder.compact(4, 50.0)
    assert in_log(folder) == [*kept, 3, 4]
    whole = Folder(folder.path, whole=True)
    assert [fact.name for fact in whole.facts()][-3:] == ["f3.json", "f4.json", "f5.json"]
    assert (folder.text(3), folder.find_request("r3")[0], folder.next_number()) == ("text 3  \n", 3, 6)


def test_garbage_in_the_log_does_not_hide_entries(folder):
    facts = Folder(folder.path, whole=True).facts()
    folder.compact(2, 30.0)
    path = pathlib.Path(folder.path, "past.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b"\0" * (len(lines[0]) - 1) + b"\n", *lines[1:]]))
    folder.compact(4, 50.0)
    whole = Folder(folder.path, whole=True)
    assert [message.number for message in whole.messages()] == [2, 3, 5]
    assert whole.facts() == facts
    assert folder.next_number() == 6


@pytest.mark.parametrize("name", ["past.json", "past.jsonl"])
def test_a_folder_instead_of_a_file_is_an_error_with_a_message(folder, name):
    before = told_of_all(folder)
    os.mkdir(os.path.join(folder.path, name))
    with pytest.raises(StoreError, match=name):
        folder.compact(4, 50.0)
    os.rmdir(os.path.join(folder.path, name))
    assert told_of_all(folder) == before
