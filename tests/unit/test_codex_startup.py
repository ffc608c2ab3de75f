"""Reads of a Codex session at rest talk to nobody: they import nothing for it, and start nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dev_sessions.store import Store

DATA = Path(__file__).parents[1] / "data" / "codex-0.169.0"


def _startup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("startup_of_codex", Path(__file__).with_name("test_startup.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


STARTUP = _startup()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a Codex session at rest, whose one message was the first of a recorded rollout."""
    folder = tmp_path_factory.mktemp("home")
    codex = folder / ".codex"
    (codex / "thread-writer-locks").mkdir(parents=True)
    rollout = codex / "sessions" / "2026" / "11" / "23" / "rollout-2026-11-23T01-00-00-t.jsonl"
    rollout.parent.mkdir(parents=True)
    lines = (DATA / "turns.jsonl").read_bytes().splitlines(keepends=True)
    end = next(index for index, line in enumerate(lines) if b'"task_complete"' in line)
    rollout.write_bytes(b"".join(lines[: end + 1]))
    record = {
        "id": "fizz-top",
        "key": "fizz-top-0a1b2c3d",
        "cli": "codex",
        "mode": "native",
        "permissions": "full",
        "path": str(folder),
        "host": None,
        "description": "x",
        "group": None,
        "parent": None,
        "model": None,
        "capabilities": [],
        "created_at": 1.0,
        "backend": {"home": str(codex), "thread": "t", "rollout": str(rollout)},
    }
    with Store(str(folder / "state")).change() as records:
        records["fizz-top"] = record
    session = folder / "state" / "sessions" / "fizz-top-0a1b2c3d"
    for part in ("facts", "messages/0001", "agent"):
        (session / part).mkdir(parents=True)
    claim = {"wire": "[[reply: hello]]", "via": "rpc", "request_id": "r", "created": 10.0}
    acts = {"message": claim, "attempt": {"at": 10.1}, "receipt": {"receipt": "started", "at": 10.3}}
    for name, content in acts.items():
        (session / "messages" / "0001" / f"{name}.json").write_text(json.dumps(content))
    return folder


COMMANDS = {
    "list": "fizz-top",
    "status fizz-top": "idle\n",
    "status fizz-top --json": '"status": "idle"',
    "wait fizz-top": "completed\n",
    "last-message fizz-top": "hello\n",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_reads_of_a_thread_at_rest_import_nothing_heavy(home: Path, command: str) -> None:
    code, out, modules = STARTUP.run(home, *command.split())
    assert code == 0
    assert COMMANDS[command] in out
    assert [name for name in modules if name.partition(".")[0] in STARTUP.HEAVY] == []
    assert not os.path.exists(home / "state" / "codex")
