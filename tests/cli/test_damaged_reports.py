"""Claude Code's reports, status file and transcript, damaged. This process plays the agent."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from lab import Done

from dev_sessions.state.registry import Store
from dev_sessions.system import processes

REPORTS = (
    {"hook_event_name": "SessionStart", "source": "startup"},
    {"hook_event_name": "UserPromptSubmit", "prompt": "hello", "prompt_id": "p"},
    {"hook_event_name": "Stop", "prompt_id": "p", "last_assistant_message": "Hi."},
)
BEGAN = time.time() - 100


class Claude:
    """A session of Claude Code that has answered one message."""

    def __init__(self, run: Any, folder: Path) -> None:
        self._run, self._state, pid = run, folder / "state", os.getpid()
        config = folder / "claude"
        record = {"id": "fizz-top", "key": "fizz-top-0a1b2c3d", "cli": "claude", "mode": "native", "path": str(folder)}
        record |= {"permissions": "full", "description": "", "created_at": BEGAN, "ready_at": BEGAN}
        with Store(str(self._state)).change() as records:
            records["fizz-top"] = {**record, "backend": {"uuid": "u-1", "config": str(config), "socket": "/none"}}
        self.folder = self._state / "sessions" / "fizz-top-0a1b2c3d"
        self.facts = self.folder / "facts"
        for part in (self.facts, self.folder / "messages" / "0001", config / "projects" / "-x", config / "sessions"):
            part.mkdir(parents=True)
        (self.folder / "process").write_text(f"{pid}\n{Path('/proc/self/stat').read_text()}")
        acts = {
            "message": {"wire": "hello", "via": "terminal", "request_id": "r", "created": BEGAN},
            "attempt": {"at": BEGAN + 0.1},
            "receipt": {"receipt": "started", "at": BEGAN + 0.3},
        }
        for name, content in acts.items():
            (self.folder / "messages" / "0001" / f"{name}.json").write_text(json.dumps(content))
        self.transcript = config / "projects" / "-x" / "u-1.jsonl"
        said = {"id": "m", "content": [{"type": "text", "text": "Hi."}]}
        self.entries = [
            {"type": "user", "timestamp": stamp(BEGAN + 0.2), "promptId": "p", "message": {"content": "hello"}},
            {"type": "assistant", "timestamp": stamp(BEGAN + 1), "message": said},
        ]
        self.transcript.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries))
        for number, fields in enumerate(REPORTS):
            content = json.dumps({**fields, "transcript_path": str(self.transcript)})
            self.report(f"{number}.json", content.encode(), BEGAN + 0.2 + number)
        self.status_file = config / "sessions" / f"{pid}.json"
        self.status = {"pid": pid, "sessionId": "u-1", "status": "idle", "statusUpdatedAt": (BEGAN + 3) * 1000}
        self.status["procStart"] = processes.start_time(pid)
        self.status_file.write_text(json.dumps(self.status))

    def report(self, name: str, content: bytes, at: float) -> None:
        (self.facts / name).write_bytes(content)
        os.utime(self.facts / name, (at, at))

    def __call__(self, *argv: str) -> Done:
        done: Done = self._run(*argv, env={"DEV_SESSIONS_HOME": str(self._state)})
        return done

    def at_rest(self) -> None:
        assert self("status", "fizz-top") == (0, "idle\n", "")
        assert self("wait", "fizz-top", "--timeout", "5") == (0, "completed\n", "")
        assert self("last-message", "fizz-top") == (0, "Hi.\n", "")
        assert self("list").code == 0

    def foreseen(self) -> None:
        """Check that the outcome is a known one."""
        for argv in (["status", "fizz-top"], ["wait", "fizz-top", "--timeout", "0"], ["last-message", "fizz-top"]):
            assert "unexpected" not in self(*argv).err, argv
        assert self("list").code == 0


def stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))


@pytest.fixture
def claude(run: Any, tmp_path: Path) -> Claude:
    return Claude(run, tmp_path)


def test_undamaged_reports(claude: Claude) -> None:
    claude.at_rest()


NO_REPORTS = {
    "empty": b"",
    "garbage": b"\0\xff\xfe not JSON",
    "cut": b'{"hook_event_name": "UserPromptSubmit", "prompt": "he',
    "a list": b'["Stop"]',
    "deep": b"[" * 200_000,
    "unknown": b'{"hook_event_name": "Weather", "prompt": "rain"}',
    "no name": b'{"prompt": "x"}',
    "a name that is no text": b'{"hook_event_name": ["Stop"]}',
}


@pytest.mark.parametrize("content", NO_REPORTS.values(), ids=NO_REPORTS.keys())
def test_an_invalid_report_changes_nothing(claude: Claude, content: bytes) -> None:
    claude.report("damaged.json", content, BEGAN + 10)
    claude.at_rest()
    claude.report("damaged.json", content, BEGAN + 1)
    claude.at_rest()


def test_a_huge_report(claude: Claude) -> None:
    fields = {"hook_event_name": "Weather", "prompt": "x" * 20_000_000}
    claude.report("huge.json", json.dumps(fields).encode(), BEGAN + 10)
    claude.at_rest()


def test_a_folder_among_the_reports(claude: Claude) -> None:
    (claude.facts / "folder.json").mkdir()
    claude.at_rest()


def test_an_unfinished_report(claude: Claude) -> None:
    claude.report(".7d9f7a1e-7f5c-4c1e-9a51-6d2f2ff3f3e0", b'{"hook_event_name": "UserPromptSubmit"', BEGAN + 10)
    claude.at_rest()


ASKED = {"hook_event_name": "PermissionRequest", "tool_name": "AskUserQuestion"}
ODD_REPORTS = (
    {"hook_event_name": "UserPromptSubmit", "prompt": 5, "prompt_id": {"a": 1}},
    {"hook_event_name": "UserPromptSubmit", "prompt": None},
    {"hook_event_name": "Stop", "prompt_id": ["p"], "last_assistant_message": {"x": 1}, "background_tasks": 7},
    {"hook_event_name": "StopFailure", "error": {"x": 1}, "error_details": 7, "background_tasks": "many"},
    {"hook_event_name": "SessionStart", "source": ["startup"]},
    {"hook_event_name": "SessionEnd", "reason": {"x": 1}},
    {**ASKED, "tool_name": 5, "tool_input": "rm"},
    {**ASKED, "tool_input": {"questions": 7}},
    {**ASKED, "tool_input": {"questions": [{"options": 7}]}},
    {"hook_event_name": "Weather", "transcript_path": 5},
    {"hook_event_name": "Weather", "transcript_path": "/proc"},
    {"hook_event_name": "Weather", "transcript_path": "/none/\0"},
)


@pytest.mark.parametrize("fields", ODD_REPORTS, ids=range(len(ODD_REPORTS)))
def test_a_report_with_odd_fields_is_handled(claude: Claude, fields: dict[str, Any]) -> None:
    claude.report("odd.json", json.dumps(fields).encode(), BEGAN + 10)
    claude.foreseen()


ODD_STATUS = (
    *({"statusUpdatedAt": at} for at in ("x", [], None, -1, 1e300)),
    *({"status": word} for word in (None, 5, ["idle"], "asleep")),
    *({"pid": pid} for pid in ("x", -1, 2**70, None)),
    {"waitingFor": {"x": 1}, "status": "waiting"},
)


@pytest.mark.parametrize("fields", ODD_STATUS, ids=range(len(ODD_STATUS)))
def test_an_odd_status_file_is_handled(claude: Claude, fields: dict[str, Any]) -> None:
    claude.status_file.write_text(json.dumps({**claude.status, **fields}))
    claude.foreseen()


@pytest.mark.parametrize("content", [*NO_REPORTS.values(), None], ids=[*NO_REPORTS, "a folder"])
def test_an_invalid_status_file(claude: Claude, content: bytes | None) -> None:
    claude.status_file.unlink()
    claude.status_file.mkdir() if content is None else claude.status_file.write_bytes(content)
    claude.at_rest()


ODD_LINES = (
    *(b"", b"\0\xff", b"7", b"[]", b"null", b"[" * 100_000, b'{"type": "assistant", "message": 5}'),
    *(b'{"type": "assistant", "timestamp": 5, "message": {"content": 7}}', b'{"type": ["user"], "timestamp": "x"}'),
    b'{"type": "assistant", "timestamp": "2026-01-01T00:00:00Z", "message": {"id": [], "content": [5, {"type": 5}]}}',
    b'{"type": "user", "timestamp": "9999999-99-99", "message": {"content": [{"type": "text", "text": 5}]}}',
    b'{"type": "attachment", "attachment": 5}',
    b'{"type": "system", "subtype": {"x": 1}}',
)


@pytest.mark.parametrize("line", ODD_LINES, ids=range(len(ODD_LINES)))
def test_a_transcript_with_an_odd_line(claude: Claude, line: bytes) -> None:
    lines = [json.dumps(entry).encode() for entry in claude.entries]
    claude.transcript.write_bytes(b"\n".join([line, *lines, line]) + b"\n")
    claude.at_rest()


@pytest.mark.parametrize("seconds", [3600, 86_400 * 400])
def test_a_clock_set_back(claude: Claude, seconds: float) -> None:
    """All reports of the agent are in the future."""
    for path in claude.facts.iterdir():
        at = path.stat().st_mtime + seconds
        os.utime(path, (at, at))
    claim = claude.folder / "messages" / "0001"
    for name, field in (("message", "created"), ("attempt", "at"), ("receipt", "at")):
        content = json.loads((claim / f"{name}.json").read_text())
        (claim / f"{name}.json").write_text(json.dumps({**content, field: content[field] + seconds}))
    claude.status_file.write_text(json.dumps({**claude.status, "statusUpdatedAt": (BEGAN + 3 + seconds) * 1000}))
    claude.at_rest()


def test_a_clock_set_back_during_an_interrupt(claude: Claude) -> None:
    """Claude does not report an interrupt: we conclude it once Claude has been at rest for a while."""
    (claude.facts / "2.json").unlink()
    for path in claude.facts.iterdir():
        os.utime(path, (BEGAN + 7200, BEGAN + 7200))
    acts = claude.folder / "messages" / "0001"
    (acts / "message.json").write_text(json.dumps({"wire": "hello", "created": BEGAN + 7200}))
    (acts / "attempt.json").write_text(json.dumps({"at": BEGAN + 7200}))
    claude.transcript.write_text("")
    claude.status_file.write_text(json.dumps({**claude.status, "statusUpdatedAt": (BEGAN + 7203) * 1000}))
    done = claude("wait", "fizz-top", "--timeout", "10")
    assert (done.code, done.out) == (5, "interrupted\n")
