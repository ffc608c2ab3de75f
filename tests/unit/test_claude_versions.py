"""The recorded conversations of each Claude Code, from its reports and its transcript to the words that a user sees."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from dev_sessions import turns
from dev_sessions.backends.base import Session
from dev_sessions.backends.claude import conversation, observe, transcript
from dev_sessions.model import COMPLETED, FAILED, INTERRUPTED, Message, Probe
from dev_sessions.state.folder import Folder

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(folder.name.removeprefix("claude-") for folder in DATA.glob("claude-*"))
OLDER = [version for version in VERSIONS if version != "2.1.330"]
of_each_version = pytest.mark.parametrize("version", VERSIONS)


class Recorded:
    """A recorded conversation, laid out as a session of ours whose every prompt was a message."""

    def __init__(self, tmp_path, version, name, hooks=True):
        source = DATA / f"claude-{version}"
        self.transcript = source / "transcripts" / f"{name}.jsonl"
        reports = json.loads((source / "hooks" / f"{name}.json").read_text())
        self.uuid = reports[0]["payload"]["session_id"]
        self.folder = Folder(str(tmp_path / "session"))
        self.folder.make()
        self.config = tmp_path / "claude"
        path = self.config / "projects" / "p" / f"{self.uuid}.jsonl"
        path.parent.mkdir(parents=True)
        shutil.copy(self.transcript, path)
        self.end = transcript.stamp(json.loads(self.transcript.read_text().splitlines()[-1])) or reports[-1]["at"]
        self.end = max([self.end, *(one["at"] for one in reports)])
        if hooks:
            for number, one in enumerate(reports):
                self.report(f"{number:03d}", one["at"], {**one["payload"], "transcript_path": str(path)})
        self.messages = []
        self.hooks = hooks

    def report(self, name, at, fields):
        path = os.path.join(self.folder.facts_path, f"{name}.json")
        Path(path).write_text(json.dumps(fields))
        os.utime(path, (at, at))

    def sent(self, *texts):
        """Put down the messages that were sent, each just before Claude first says that it has it."""
        entries = transcript.since(str(self.transcript), 0.0)
        told = [fact for fact in transcript.facts(entries) if fact.kind == "accepted"]
        for number, text in enumerate(texts, 1):
            at = next(fact.at for fact in told if fact.text == text)
            lines = [entry for entry in entries if entry.get("operation") == "enqueue" and entry["content"] == text]
            if lines and self.hooks and not self._reported_at_once(text, at):
                self.report(f"queued-{number}", at, lines[0])  # as `delivery` keeps it
            at -= 0.5 if number == 1 else 0.1
            self.messages.append(Message(number, text, "terminal", f"r{number}", at, False, at, "started", False))
            base = Path(self.folder.message_path(number))
            base.mkdir()
            claim = {"wire": text, "created": at, "request_id": f"r{number}"}
            (base / "message.json").write_text(json.dumps(claim))
            (base / "attempt.json").write_text(json.dumps({"at": at}))
        return self

    def _reported_at_once(self, text, at):
        prompts = [(one.at, json.loads(one.content)) for one in self.folder.facts()]
        return any(fields.get("prompt") == text and when - at < 0.3 for when, fields in prompts)

    @property
    def session(self):
        private = {"uuid": self.uuid, "config": str(self.config)}
        return Session({"id": "fizz-top", "key": "k", "backend": private}, self.folder, {})

    def state(self):
        """What it is doing, as seen long after its end, when Claude is at rest."""
        observed = observe.observe(self.session)
        probe = Probe(self.end + 30.0, True, "idle", self.end)
        return turns.reduce(self.messages, observed.facts, probe)

    def outcomes(self):
        return [(turn.state, turn.reply) for turn in self.state().turns]


def prompts(version, name):
    """What was typed, in its order."""
    entries = transcript.since(str(DATA / f"claude-{version}" / "transcripts" / f"{name}.jsonl"), 0.0)
    found = []
    for fact in transcript.facts(entries):
        if fact.kind == "accepted" and fact.text not in found and not fact.text.startswith("<task-notification>"):
            found.append(fact.text)
    return found


ENDS = {
    "plain": [(COMPLETED, "It is\nfixed.")],
    "tool": [(COMPLETED, "Done.")],
    "joined": [(COMPLETED, "First done."), (COMPLETED, "First done.")],
    "followed": [(COMPLETED, "One."), (COMPLETED, "Three."), (COMPLETED, "Three.")],
    "interrupted": [(INTERRUPTED, None)],
    "interrupted-after-text": [(INTERRUPTED, None)],
    "interrupted-before-output": [(INTERRUPTED, None)],
    "failed": [(FAILED, None), (COMPLETED, "Better now.")],
    "background": [(COMPLETED, "Started.")],
    "question": [(COMPLETED, "Blue it is.")],
    "permission": [(COMPLETED, "Made."), (COMPLETED, "Wrote.")],
}


@of_each_version
@pytest.mark.parametrize("hooks", [True, False], ids=["hooks", "no-hooks"])
@pytest.mark.parametrize("name", ENDS)
def test_the_outcome_of_each_message(tmp_path, version, name, hooks):
    conversation = Recorded(tmp_path, version, name, hooks).sent(*prompts(version, name))
    assert conversation.outcomes() == ENDS[name]
    assert conversation.state().status == "idle"


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("hooks", [True, False], ids=["hooks", "no-hooks"])
def test_a_message_that_was_queued_when_its_turn_was_interrupted(tmp_path, version, hooks):
    name = "followed-interrupted"
    conversation = Recorded(tmp_path, version, name, hooks).sent(*prompts(version, name))
    assert conversation.outcomes() == [(INTERRUPTED, None), (COMPLETED, "Three."), (COMPLETED, "Three.")]


@pytest.mark.parametrize("version", OLDER)
def test_a_failure_after_retries(tmp_path, version):
    conversation = Recorded(tmp_path, version, "retried").sent(*prompts(version, "retried"))
    (turn,) = conversation.state().turns
    assert turn.state == FAILED
    assert "529" in turn.error


@of_each_version
@pytest.mark.parametrize(
    ("name", "replies"),
    [
        ("plain", ["It is\nfixed."]),
        ("tool", ["I look.", "Done."]),
        ("followed", ["One.", "Three."]),
        ("permission", ["Made.", "Wrote."]),
    ],
)
def test_replies_are_there_once(tmp_path, version, name, replies):
    session = Recorded(tmp_path, version, name).session
    assert [entry.text for entry in conversation.replies(session, 9, running=False)] == replies


@of_each_version
def test_a_reply_is_known_before_it_is_written(tmp_path, version):
    recorded = Recorded(tmp_path, version, "plain")
    (file,) = recorded.config.glob("projects/*/*.jsonl")
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if '"assistant"' not in line))
    assert [entry.text for entry in conversation.replies(recorded.session, 9, running=False)] == ["It is\nfixed."]


@of_each_version
def test_texts_of_a_running_turn_are_left_out(tmp_path, version):
    session = Recorded(tmp_path, version, "interrupted-after-text").session
    assert [entry.text for entry in conversation.replies(session, 9, running=True)] == []
    assert [entry.text for entry in conversation.replies(session, 9, running=False)] == ["some words first"]
