"""The hot commands start fast: they import nothing heavy. Each is run in a child of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev_sessions.state.registry import Store
from dev_sessions.system import processes

HEAVY = (
    *("typer", "click", "rich", "filelock", "pexpect", "subprocess", "dataclasses", "pathlib", "logging"),
    *("importlib.metadata", "inspect", "shutil", "tempfile", "secrets", "random", "yaml", "websockets"),
    *("asyncio", "socket"),
)
# Without what a site of this environment imports at its start; the path is the parent's.
RUN = (
    f"""
import sys
sys.path[:] = {sys.path!r}
"""
    """
import json
sys.argv = ["dev-sessions", *sys.argv[1:]]
before = set(sys.modules) - {"json"}
from dev_sessions.cli import run
code = run(sys.argv[1:])
sys.stdout.flush()
sys.stderr.write("\\n" + json.dumps([code, sorted(set(sys.modules) - before)]))
"""
)


def entered(folder: Path, cli: str, private: dict[str, str], wire: str, via: str) -> Path:
    """The folder of a session with one message that the agent has, in the state folder below `folder`."""
    record = {
        "id": "fizz-top",
        "key": "fizz-top-0a1b2c3d",
        "cli": cli,
        "mode": "native",
        "permissions": "full",
        "path": str(folder),
        "host": "local",
        "description": "x",
        "group": None,
        "parent": None,
        "model": None,
        "capabilities": [],
        "created_at": 1.0,
        "backend": private,
    }
    with Store(str(folder / "state")).change() as records:
        records["fizz-top"] = record
    session = folder / "state" / "sessions" / "fizz-top-0a1b2c3d"
    for part in ("facts", "messages/0001", "agent"):
        (session / part).mkdir(parents=True)
    claim = {"wire": wire, "via": via, "request_id": "r", "created": 10.0}
    acts = {"message": claim, "attempt": {"at": 10.1}, "receipt": {"receipt": "started", "at": 10.3}}
    for name, content in acts.items():
        (session / "messages" / "0001" / f"{name}.json").write_text(json.dumps(content))
    return session


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A state folder with a Claude session at rest: this very process stands for its agent."""
    folder = tmp_path_factory.mktemp("home")
    config, pid = folder / "claude", os.getpid()
    session = entered(folder, "claude", {"uuid": "u-1", "config": str(config), "socket": "/none"}, "hello", "terminal")
    stat = f"/proc/{pid}/stat"
    if os.path.exists(stat):
        with open(stat, encoding="utf-8") as file:
            started = file.read()
    else:
        started = subprocess.run(
            ["env", "LC_ALL=C", "TZ=UTC0", "ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True
        ).stdout
    (session / "process").write_text(f"{pid}\n{started}")
    transcript = config / "projects" / "-x" / "u-1.jsonl"
    transcript.parent.mkdir(parents=True)
    entries = [
        {"type": "user", "timestamp": "1970-01-01T00:00:10.200Z", "promptId": "p", "message": {"content": "hello"}},
        {
            "type": "assistant",
            "timestamp": "1970-01-01T00:00:11.000Z",
            "message": {"id": "m", "content": [{"type": "text", "text": "Hi."}]},
        },
    ]
    transcript.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    payloads = [
        {"hook_event_name": "SessionStart", "source": "startup"},
        {"hook_event_name": "UserPromptSubmit", "prompt": "hello", "prompt_id": "p"},
        {"hook_event_name": "Stop", "prompt_id": "p", "last_assistant_message": "Hi."},
    ]
    for number, fields in enumerate(payloads):
        file = session / "facts" / f"{number}.json"
        file.write_text(json.dumps({**fields, "transcript_path": str(transcript)}))
        os.utime(file, (10.2 + number, 10.2 + number))
    (config / "sessions").mkdir()
    status = {"pid": pid, "sessionId": "u-1", "status": "idle", "statusUpdatedAt": 12500}
    status["procStart"] = processes.start_time(pid)
    (config / "sessions" / f"{pid}.json").write_text(json.dumps(status))
    return folder


def run(home, *argv):
    """Run a command in a child; returns its exit code, its output, and what it imported."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "DEV_SESSIONS_HOME": str(home / "state")}
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", RUN, *argv], env=env, cwd=home, capture_output=True, text=True, timeout=60
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, done.stdout, modules


COMMANDS = {
    "--version": "dev-sessions ",
    "list": "fizz-top",
    "status fizz-top": "idle\n",
    "status fizz-top --json": '"status": "idle"',
    "wait fizz-top": "completed\n",
    "wait fizz-top -t 5": "completed\n",
    "last-message fizz-top": "Hi.\n",
    "last-message fizz-top -n 2": "Hi.\n",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_hot_commands_import_nothing_heavy(home, command):
    code, out, modules = run(home, *command.split())
    assert code == 0
    assert COMMANDS[command] in out
    assert [name for name in modules if name in HEAVY or name.partition(".")[0] in HEAVY] == []


def test_an_unknown_session_is_reported_fast_too(home):
    code, _, modules = run(home, "status", "nobody")
    assert code == 3
    assert not set(modules) & set(HEAVY)


def test_importing_the_package_imports_nothing():
    code = "import sys; before = set(sys.modules); import dev_sessions; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["dev_sessions"]
