"""State folders with Claude sessions, as dev-sessions and Claude Code would write them, but made without either.

Records, acts, reports, status files and transcripts have the form of the recorded ones in `tests/data`; the agent's
process is a running `sleep`. So thousands of sessions, and sessions with thousands of turns, can be made in seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dev_sessions import __version__, config
from dev_sessions.service import Context, delivery
from dev_sessions.state import compaction
from dev_sessions.state.registry import Store
from dev_sessions.system import processes

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests" / "data" / "claude-2.1.330"
REPLY = "It is done: the parser now takes an empty file, and the tests pass."
_TURN = 20.0  # seconds from one turn to the next
_ENTRIES = [json.loads(line) for line in (RECORDED / "transcripts" / "plain.jsonl").read_text().splitlines()]
_PAYLOADS = {
    one["payload"]["hook_event_name"]: one["payload"]
    for one in json.loads((RECORDED / "hooks" / "plain.json").read_text())
}


class Conversation:
    """The files of turns: the acts and the reports in a session's folder, and the lines of the transcript."""

    def __init__(self, folder: Path, uuid: str, transcript: Path, project: Path, since: float) -> None:
        self.folder, self.uuid, self.transcript, self.project, self.since = folder, uuid, transcript, project, since

    def turn(self, number: int) -> Iterator[str]:
        """Make one completed turn: write its act and reports to the disk, and return the lines of the transcript."""
        at = self.since + _TURN * number
        prompt = str(uuid.uuid4())
        self.claim(number, at)
        self.report("UserPromptSubmit", at + 0.2, prompt=_text(number), prompt_id=prompt)
        self.report("Stop", at + 9.9, prompt_id=prompt, last_assistant_message=REPLY)
        for entry, later in zip((_ENTRIES[4], *_ENTRIES[6:]), (0.2, 9.8, 9.95, 9.96), strict=True):
            fields = self.entry(entry, at + later)
            if fields["type"] == "user":
                fields |= {"promptId": prompt, "message": {"role": "user", "content": _text(number)}}
            elif fields["type"] == "assistant":
                fields["message"] = {**entry["message"], "content": [{"type": "text", "text": REPLY}]}
            yield _line(fields)

    def claim(self, number: int, at: float) -> None:
        """Write a message of ours that the agent has accepted."""
        folder = self.folder / "messages" / f"{number:04d}"
        folder.mkdir(mode=0o700)
        claim = {"request_id": f"{number:016x}", "created": at, "via": "terminal", "wire": _text(number)}
        acts = {
            "message": {**claim, "queued": False, "sender": None},
            "attempt": {"at": at + 0.1},
        }
        acts["receipt"] = {"receipt": "started", "at": at + 0.3, "acts": dict(acts)}
        (folder / "text.md").write_text(_text(number))
        for name, content in acts.items():
            (folder / f"{name}.json").write_text(json.dumps(content) + "\n")

    def report(self, event: str, at: float, **fields: Any) -> None:
        """Write the report of a hook at that time."""
        draft = self.draft(event, **fields)
        os.utime(draft, (at, at))
        draft.rename(draft.with_name(f"{draft.name[1:]}.json"))

    def draft(self, event: str, **fields: Any) -> Path:
        """Write a report, before it is moved into its folder."""
        payload = {**_PAYLOADS[event], "session_id": self.uuid, "transcript_path": str(self.transcript), **fields}
        draft = self.folder / "facts" / f".{uuid.uuid4()}"
        draft.write_text(json.dumps({**payload, "cwd": str(self.project)}))
        return draft

    def entry(self, recorded: dict[str, Any], at: float) -> dict[str, Any]:
        """A recorded entry of a transcript, changed to be part of this conversation."""
        fields = dict(recorded)
        for name in ("sessionId", "session_id"):
            if name in fields:
                fields[name] = self.uuid
        if "timestamp" in fields:
            fields["timestamp"] = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        return fields


class MadeSession:
    """One session on the disk. `turns` have ended; `begin` and `finish` run another one."""

    def __init__(self, state: StateFolder, id: str, turns: int) -> None:
        self.id, self.turns = id, turns
        self.folder, self._config = state.path / "sessions" / f"{id}-{os.urandom(4).hex()}", state.config
        for part in ("messages", "facts", "agent"):
            (self.folder / part).mkdir(parents=True, mode=0o700)
        name = str(uuid.uuid4())
        transcript = (
            state.config / "projects" / str(state.project).replace("/", "-").replace(".", "-") / f"{name}.jsonl"
        )
        transcript.parent.mkdir(parents=True, exist_ok=True)
        since = time.time() - _TURN * (turns + 1)
        self.conversation = Conversation(self.folder, name, transcript, state.project, since)
        self.agent = subprocess.Popen(["sleep", "86400"], stdin=subprocess.DEVNULL)
        self._prompt = ""

    def record(self) -> dict[str, Any]:
        talk = self.conversation
        return {
            "id": self.id,
            "key": self.folder.name,
            "cli": "claude",
            "mode": "native",
            "permissions": "full",
            "path": str(talk.project),
            "host": None,
            "description": f"works on the part called {self.id}",
            "group": None,
            "parent": None,
            "depth": 1,
            "model": None,
            "capabilities": ["attach", "interrupt"],
            "created_at": talk.since,
            "created_by": __version__,
            "ready_at": talk.since + 1,
            "creator": {"pid": 1, "started": "0"},
            "request_id": uuid.uuid4().hex[:16],
            "backend": {"uuid": talk.uuid, "config": str(self._config), "socket": "/none", "pane": "%0"},
        }

    def write(self, padding: int = 0) -> None:
        """Write everything to the disk; `padding`: how many bytes of tool output the transcript has before its end."""
        self.be_born()
        talk = self.conversation
        with talk.transcript.open("w") as file:
            file.writelines(_line(talk.entry(entry, talk.since)) for entry in _ENTRIES[:4])
            _pad(file, padding, talk)
            talk.report("SessionStart", talk.since + 0.5)
            for number in range(1, self.turns + 1):
                file.writelines(talk.turn(number))
        self.say("idle", talk.since + _TURN * self.turns + 10)

    def be_born(self) -> None:
        """Record the process, as the process itself does."""
        words = Path(f"/proc/{self.agent.pid}/stat").read_text()
        (self.folder / "process").write_text(f"{self.agent.pid}\n{words}")

    def say(self, status: str, at: float) -> None:
        """Make the agent's own status file show `status`."""
        pid = self.agent.pid
        content = {
            "pid": pid,
            "sessionId": self.conversation.uuid,
            "cwd": str(self.conversation.project),
            "startedAt": int(self.conversation.since * 1000),
            "procStart": processes.start_time(pid),
            "version": "2.1.330",
            "kind": "interactive",
            "entrypoint": "cli",
            "status": status,
            "statusUpdatedAt": int(at * 1000),
            "updatedAt": int(at * 1000),
        }
        folder = self._config / "sessions"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{pid}.json").write_text(json.dumps(content))

    def begin(self) -> None:
        """Begin another turn."""
        self.turns += 1
        now = time.time()
        self._prompt = str(uuid.uuid4())
        self.conversation.claim(self.turns, now - 0.3)
        self.conversation.report("UserPromptSubmit", now - 0.1, prompt=_text(self.turns), prompt_id=self._prompt)
        self.say("busy", now)

    def finish(self) -> tuple[Path, float]:
        """End the running turn: the hook writes its report, and the agent shows that it is idle.

        Returns the report, and when the agent showed that: until then it may continue the same turn.
        """
        draft = self.conversation.draft("Stop", prompt_id=self._prompt, last_assistant_message=REPLY)
        file = draft.with_name(f"{draft.name[1:]}.json")
        draft.rename(file)
        at = time.perf_counter()
        self.say("idle", time.time())
        return file, at

    def go_on(self, report: Path) -> None:
        """Remove the end again: the same turn is running."""
        report.unlink()
        self.say("busy", time.time())


class StateFolder:
    """A state folder, a Claude configuration folder and a project below `path`. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path, self.config, self.project = path / "state", path / "home" / ".claude", path / "project"
        for folder in (self.path, self.config, self.project):
            folder.mkdir(parents=True)
        self._top = path
        self.sessions: list[MadeSession] = []
        self.env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(path / "home"),
            "LANG": "C.UTF-8",
            "DEV_SESSIONS_HOME": str(self.path),
        }

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self.sessions:
            session.agent.send_signal(signal.SIGKILL)
            session.agent.wait()
        shutil.rmtree(self._top, ignore_errors=True)

    def add(self, count: int = 1, turns: int = 1, padding: int = 0) -> list[MadeSession]:
        """Add idle sessions, each with that many completed turns."""
        first = len(self.sessions)
        made = [MadeSession(self, _name(first + index), turns) for index in range(count)]
        self.sessions += made
        for session in made:
            session.write(padding)
        with Store(str(self.path)).change() as records:
            records.update({session.id: session.record() for session in made})
        if turns > compaction.MESSAGES:
            self._put_behind(made)
        return made

    def _put_behind(self, sessions: list[MadeSession]) -> None:
        """Compact these sessions, as the product would have done by now."""
        context = Context(config.load(self.env))
        for session in sessions:
            assert delivery.compact(context.session(session.id)), f"nothing was compacted: {session.id}"


def _name(index: int) -> str:
    from dev_sessions import names

    champion = names.CHAMPIONS[index % len(names.CHAMPIONS)]
    return f"{champion}-{names.ROLES[index // len(names.CHAMPIONS) % 5]}" + (f"-{index}" if index >= 800 else "")


def _text(number: int) -> str:
    return f"Step {number}: see that an empty file is no error any more, add a test for it, and run all tests again."


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False) + "\n"


def _pad(file: Any, size: int, talk: Conversation) -> None:
    """Write tool outputs of about 60 KB each, as in the transcript of a long session."""
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a line of some log, and one more\n" * 1900}
    line = _line(talk.entry({**_ENTRIES[4], "message": {"role": "user", "content": [result]}}, talk.since))
    for _ in range(size // len(line)):
        file.write(line)
