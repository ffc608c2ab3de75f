"""A session's folder and an agent's files with any content: every read answers, and valid parts still count."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import VALUES, deviations, lines

from dev_sessions import turns
from dev_sessions.backends.claude import conversation, observe
from dev_sessions.backends.session import Session
from dev_sessions.model import STATUSES
from dev_sessions.state.folder import Folder
from dev_sessions.state.past import Past
from dev_sessions.system import processes

RECORDED = Path(__file__).parents[1] / "data" / "claude-2.1.330"
CLAIM = {"request_id": "r", "created": 5.0, "via": "terminal", "wire": "w", "queued": False, "sender": None}
ODD_FILES = [*(json.dumps(value).encode() for value in VALUES), b"", b"{", b"\xff\xfe", b"[" * 5000]


@pytest.fixture
def folder(tmp_path):
    made = Folder(str(tmp_path / "fizz-top-00000000"))
    made.make()
    return made


def session_of(folder, **record):
    """A session whose agent is this very process, with a Claude configuration folder of its own."""
    config = Path(folder.path).parent / "config"
    (config / "sessions").mkdir(parents=True, exist_ok=True)
    Path(folder.process_path).write_text(f"{os.getpid()}\n{Path('/proc/self/stat').read_text()}")
    private = {"uuid": "u-1", "config": str(config)}
    return Session({"id": "fizz-top", "cli": "claude", "backend": private, **record}, folder, {})


def status_path(session):
    return Path(session.private["config"]) / "sessions" / f"{os.getpid()}.json"


def look(session):
    """All that commands read of a session."""
    seen = observe.observe(session)
    state = turns.reduce(session.folder.messages(), seen.facts, seen.probe)
    assert state.status in STATUSES
    json.dumps([turn._asdict() for turn in state.turns])
    replies = conversation.replies(session, 3, running=True) + conversation.replies(session, 3, running=False)
    assert all(isinstance(entry.text, str) for entry in replies)
    return state


def test_a_claim_of_another_shape(folder):
    folder.claim_message(1, "one", CLAIM)
    folder.claim_message(2, "two", {**CLAIM, "request_id": "whole"})
    path = Path(folder.message_path(1)) / "message.json"
    for content in [*(json.dumps(changed).encode() for changed in deviations(CLAIM)), *ODD_FILES]:
        path.write_bytes(content)
        numbers = [message.number for message in folder.messages()]
        assert numbers in ([1, 2], [2]), content
        assert (folder.find_request("whole") or (0,))[0] == 2
        assert all(isinstance(message.created, float) for message in folder.messages())


@pytest.mark.parametrize("act", ["attempt", "receipt", "unconfirmed", "withdrawn"])
def test_an_act_of_another_shape(folder, act):
    folder.claim_message(1, "one", CLAIM)
    path = Path(folder.message_path(1)) / f"{act}.json"
    whole = {"at": 6.0, "receipt": "started"}
    for content in [*(json.dumps(changed).encode() for changed in deviations(whole)), *ODD_FILES]:
        path.write_bytes(content)
        assert len(folder.messages()) <= 1, content


def test_entries_that_others_made(folder):
    folder.claim_message(1, "one", CLAIM)
    (Path(folder.messages_path) / "0002").write_text("a file where a folder should be")
    (Path(folder.messages_path) / "notes.txt").write_text("")
    (Path(folder.facts_path) / "folder").mkdir()
    (Path(folder.facts_path) / "link").symlink_to("/nowhere")
    (Path(folder.facts_path) / "a.json").write_text("{}")
    assert [message.number for message in folder.messages()] == [1]
    assert "a.json" in [payload.name for payload in folder.facts()]


@pytest.mark.parametrize(
    "content", [*ODD_FILES, b"12", b"12\n", b"-1\n1 (x) S", b"9" * 5000 + b"\n1 (x) S " + b"1 " * 30]
)
def test_any_content_of_the_other_files(folder, content):
    for name in ("process", "notice.json", "courier.json"):
        (Path(folder.path) / name).write_bytes(content)
    process = folder.process()
    assert process is None or isinstance(process[0], int)
    assert folder.courier() is None
    assert folder.notice() is None or isinstance(folder.notice(), dict)


def test_a_courier_or_a_notice_of_another_shape(folder):
    session = session_of(folder)
    for changed in deviations({"pid": 1, "started": "x"}):
        (Path(folder.path) / "courier.json").write_text(json.dumps(changed))
        assert folder.courier() is None
    for changed in deviations({"text": "trust?", "at": 5.0}):
        (Path(folder.path) / "notice.json").write_text(json.dumps(changed))
        look(session)


def test_a_status_file_of_another_shape(folder):
    session = session_of(folder)
    started = processes.start_time(os.getpid())
    whole = {"pid": os.getpid(), "procStart": started, "sessionId": "u-1", "waitingFor": "x", "statusUpdatedAt": 5000}
    for status in ("busy", "waiting"):
        for changed in deviations({**whole, "status": status}):
            status_path(session).write_text(json.dumps(changed))
            look(session)


def test_a_creator_of_another_shape(folder):
    session = session_of(folder)
    os.unlink(folder.process_path)
    for changed in deviations({"pid": 1, "started": "x"}):
        look(session.replace(record={**session.record, "creator": changed}))


@pytest.mark.parametrize("kind", ["followed", "question", "background"])
def test_a_report_of_another_shape_among_others(folder, kind):
    session = session_of(folder)
    reports = json.loads((RECORDED / "hooks" / f"{kind}.json").read_text())
    write_reports(folder, [json.dumps(report["payload"]).encode() for report in reports])
    status_path(session).write_text(json.dumps({"pid": os.getpid(), "status": "waiting", "statusUpdatedAt": 5000}))
    for index, report in enumerate(reports[:4]):
        whole = json.dumps(report["payload"]).encode()
        for changed in deviations(report["payload"]):
            write_report(folder, index, json.dumps(changed).encode())
            look(session)
        write_report(folder, index, whole)


def write_reports(folder, contents):
    for index, content in enumerate(contents):
        write_report(folder, index, content)


def write_report(folder, index, content):
    path = Path(folder.facts_path) / f"{index:02d}.json"
    path.write_bytes(content)
    os.utime(path, (1000.0 + index, 1000.0 + index))


@given(st.lists(lines(), max_size=4), st.lists(lines(), max_size=4))
def test_damage_beside_whole_reports(tmp_path_factory, damage, written):
    folder = Folder(str(tmp_path_factory.mktemp("damage") / "x"))
    folder.make()
    session = session_of(folder)
    path = Path(session.private["config"]) / "projects" / "p" / "u-1.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\n".join(written) + b"\n")
    folder.claim_message(1, "one", {**CLAIM, "created": 900.0, "wire": "one"})
    folder.note(1, "attempt", {"at": 901.0})
    took = {"hook_event_name": "UserPromptSubmit", "prompt": "one", "prompt_id": "p1"}
    ended = {"hook_event_name": "Stop", "prompt_id": "p1", "last_assistant_message": "done"}
    write_reports(folder, [json.dumps(took).encode(), *damage, json.dumps(ended).encode()])
    state = look(session)
    assert [(turn.state, turn.reply) for turn in state.turns] == [("completed", "done")]


@given(st.lists(st.one_of(lines(), st.just(b'{"fact": {"kept": 1}}')), max_size=8), st.integers(-5, 300))
def test_any_log_of_the_past(tmp_path_factory, content, size):
    path = tmp_path_factory.mktemp("past")
    log = b"".join(line + b"\n" for line in content)
    (path / "past.jsonl").write_bytes(log)
    past = Past(str(path))
    assert past.mark().size <= len(log)
    assert sum(entry == {"fact": {"kept": 1}} for entry in past.entries()) == content.count(b'{"fact": {"kept": 1}}')
    (path / "past.json").write_text(json.dumps({"through": 1, "size": size}))
    assert all(isinstance(entry, dict) for entry in past.entries())
    assert all(isinstance(entry, dict) for entry in past.find("kept"))
