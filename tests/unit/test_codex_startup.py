"""Reads of a Codex session at rest ask no server: they import nothing for that, and start nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from codex_lab import copy_of

DATA = Path(__file__).parents[1] / "data" / "codex-0.171.0"


STARTUP = copy_of(Path(__file__).with_name("test_startup.py"), "startup_of_codex")


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
    private = {"home": str(codex), "thread": "t", "rollout": str(rollout)}
    STARTUP.entered(folder, "codex", private, "[[reply: hello]]", "rpc")
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
