"""When a Claude that says it is idle has ended its turn: at once as a rule, else when its transcript says so."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from dev_sessions import turns
from dev_sessions.backends.claude import observe
from dev_sessions.backends.session import Session
from dev_sessions.state.folder import Folder

SUMMARY = {"type": "system", "subtype": "stop_hook_summary"}
END = {"type": "system", "subtype": "turn_duration"}
FEEDBACK = {
    "type": "user",
    "promptId": "p1",
    "isMeta": True,
    "message": {"role": "user", "content": "Stop hook feedback: go on"},
}
INTERRUPTED = {
    "type": "user",
    "promptId": "p1",
    "message": {"role": "user", "content": "[Request interrupted by user]"},
}
ASIDE = {**FEEDBACK, "isSidechain": True}


def state(folder: Path, rests: float, *entries: dict[str, object]) -> tuple[str, list[str]]:
    """Status, and states of turns, of a Claude that went idle so many seconds after its Stop, just now.

    `entries` are what its transcript has since the Stop.
    """
    now = time.time()
    prompted, stopped = now - 9.0, now - rests
    path = folder / "projects" / "p" / "u.jsonl"
    path.parent.mkdir(parents=True)
    stamped = [
        {**entry, "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.%%03dZ", time.gmtime(at)) % int(at % 1 * 1000)}
        for number, entry in enumerate(entries, 1)
        for at in [stopped + 0.1 * number]
    ]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in stamped))
    made = Folder(str(folder / "fizz-top-00000000"))
    made.make()
    Path(made.process_path).write_text(f"{os.getpid()}\n{Path('/proc/self/stat').read_text()}")
    made.claim_message(1, "go", {"request_id": "r", "created": prompted, "via": "terminal", "wire": "go"})
    made.note(1, "attempt", {"at": prompted})
    made.note(1, "receipt", {"receipt": "started", "at": prompted})
    for name, at, event in [("a", prompted, "UserPromptSubmit"), ("b", stopped, "Stop")]:
        report = Path(made.facts_path) / f"{name}.json"
        fields = {"hook_event_name": event, "prompt_id": "p1", "transcript_path": str(path)}
        report.write_text(
            json.dumps({**fields, "prompt": "go", "last_assistant_message": "done", "background_tasks": []})
        )
        os.utime(report, (at, at))
    (folder / "sessions").mkdir()
    status = {"pid": os.getpid(), "status": "idle", "statusUpdatedAt": now * 1000}
    (folder / "sessions" / f"{os.getpid()}.json").write_text(json.dumps(status))
    private = {"uuid": "u", "config": str(folder)}
    session = Session({"id": "fizz-top", "key": "fizz-top-00000000", "backend": private}, made, {})
    seen = observe.observe(session)
    found = turns.reduce(made.messages(), seen.facts, seen.probe)
    return found.status, [turn.state for turn in found.turns]


def test_it_is_idle_at_once_after_its_stop(tmp_path: Path) -> None:
    assert state(tmp_path, 0.1) == ("idle", ["completed"])


@pytest.mark.parametrize("entries", [[], [SUMMARY], [FEEDBACK], [END, FEEDBACK]])
def test_later_it_may_have_gone_on_and_been_interrupted(tmp_path: Path, entries: list[dict[str, object]]) -> None:
    """`wait` and `status` say the same of it: the turn is open."""
    assert state(tmp_path, 0.6, *entries) == ("working", ["working"])


@pytest.mark.parametrize("entries", [[SUMMARY, END], [END, ASIDE]])
def test_later_its_transcript_says_that_the_turn_has_ended(tmp_path: Path, entries: list[dict[str, object]]) -> None:
    """The prompt is older than the stretch of the transcript that is read."""
    assert state(tmp_path, 0.6, *entries) == ("idle", ["completed"])


def test_later_its_transcript_says_that_it_was_interrupted(tmp_path: Path) -> None:
    assert state(tmp_path, 0.6, FEEDBACK, INTERRUPTED) == ("idle", ["interrupted"])
