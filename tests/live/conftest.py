"""Live tests: the real Claude Code in real tmux, against the offline model server, each in a lab of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from codex_lab import CodexLab
from lab import ROOT, Lab

LIVE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if LIVE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="module", autouse=True)
def commands_are_forked(quick: None) -> None:
    """How a command starts does not matter here."""


@pytest.fixture(scope="session")
def claude() -> str:
    """The pinned real claude. A live test never does without it."""
    path = os.environ.get("DEV_SESSIONS_TEST_CLAUDE") or str(ROOT / ".agents" / "claude")
    if Path(path).is_dir():
        path = str(Path(path) / "claude")
    assert os.access(path, os.X_OK), f"no claude at {path}; run: make agents"
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert "Claude Code" in shown.stdout
    return path


@pytest.fixture
def lab(claude: str, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab for one test."""
    with Lab(claude, request.node.name.replace("[", "-").strip("]")) as made:
        yield made


@pytest.fixture(scope="module")
def shared(claude: str, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One lab for the tests of a file."""
    with Lab(claude, request.node.path.stem.removeprefix("test_")) as made:
        yield made


@pytest.fixture(scope="module")
def talkers(shared: Lab) -> list[str]:
    """The session that most tests of a file talk to; see `talker`."""
    return []


@pytest.fixture
def talker(shared: Lab, talkers: list[str], request: pytest.FixtureRequest) -> Iterator[str]:
    """A session to talk to; a test that fails takes it away, lest others fail for its sake."""
    if not talkers:
        talkers.append(shared.create())
    failed = request.session.testsfailed
    yield talkers[0]
    if request.session.testsfailed > failed:
        shared.run("kill", talkers.pop())


@pytest.fixture(scope="session")
def codex() -> str:
    """The pinned real codex. A live test never does without it."""
    path = os.environ.get("DEV_SESSIONS_TEST_CODEX") or str(ROOT / ".agents" / "codex")
    assert os.access(path, os.X_OK), f"no codex at {path}; run: make agents"
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert "codex" in shown.stdout
    return os.path.realpath(path)


@pytest.fixture
def codex_lab(codex: str, request: pytest.FixtureRequest) -> Iterator[CodexLab]:
    """A lab with Codex in it, for one test."""
    with CodexLab(codex, request.node.name.replace("[", "-").strip("]")) as made:
        yield made


@pytest.fixture(scope="module")
def codex_shared(codex: str, request: pytest.FixtureRequest) -> Iterator[CodexLab]:
    """One lab with Codex in it for the tests of a file."""
    with CodexLab(codex, request.node.path.stem.removeprefix("test_")) as made:
        yield made
