"""`make demo`: what it shows, and that it leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import ROOT


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary folder with a short path: a socket's path can have only about 100 characters."""
    with tempfile.TemporaryDirectory(prefix="ds-") as folder:
        yield Path(folder)


def demo(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "scripts" / "demo.py"), *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200, check=False)


def test_a_claude_and_a_codex_side_by_side(claude: str, codex: str, scratch: Path) -> None:
    env = {**os.environ, "DEV_SESSIONS_TEST_CLAUDE": claude, "DEV_SESSIONS_TEST_CODEX": codex, "TMPDIR": str(scratch)}
    done = demo(env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("   6 times 7 is 42.\n") == 2
    for word in ("create --cli claude", "create --cli codex", "dev-sessions wait", "dev-sessions kill"):
        assert word in done.stdout
    assert list(scratch.iterdir()) == []
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if str(scratch).encode() in read(path)]
    assert left == []


def read(path: Path) -> bytes:
    """A file about a process, which may end meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_with_agents_of_ones_own_that_are_not_there(scratch: Path) -> None:
    done = demo("--real", env={"PATH": str(scratch), "HOME": str(scratch), "TMPDIR": str(scratch)})
    assert (done.returncode, done.stdout) == (1, "")
    assert "neither a claude nor a codex" in done.stderr
    assert list(scratch.iterdir()) == []
