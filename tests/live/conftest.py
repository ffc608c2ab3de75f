"""Live tests: the real Claude Code in real tmux, with the offline model server. Each test has its own lab."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from codex_lab import CodexLab
from lab import ROOT, Lab

LIVE = Path(__file__).parent
# The files that take longest. They start first, so that no worker still has one to run when the others have finished.
FIRST = ("states", "codex_daemon", "bench", "create", "codex_states", "trust", "questions", "outlives_the_turn")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if LIVE in item.path.parents:
            item.add_marker(pytest.mark.live)
    order = {f"test_{name}": number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(FIRST)) if LIVE in item.path.parents else -1)


@pytest.fixture(scope="module", autouse=True)
def commands_are_forked(quick: None) -> None:
    """Run commands as forks: how a command starts does not matter here."""


@pytest.fixture(scope="session")
def claude() -> str:
    """The pinned real claude; live tests are never skipped without it."""
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
def kept(shared: Lab) -> dict[str, str]:
    """The sessions that the tests of a file share, by their permissions; see `talker`, `asker` and `planner`."""
    return {}


def a_session(shared: Lab, kept: dict[str, str], permissions: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A session that each test leaves idle; a test that fails ends it, so that it cannot make other tests fail."""
    if permissions not in kept:
        kept[permissions] = shared.create("--permissions", permissions)
    failed = request.session.testsfailed
    yield kept[permissions]
    if request.session.testsfailed > failed:
        shared.run("kill", kept.pop(permissions))


@pytest.fixture
def talker(shared: Lab, kept: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """A session to talk to."""
    yield from a_session(shared, kept, "full", request)


@pytest.fixture
def asker(shared: Lab, kept: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """A session whose agent asks before it changes anything."""
    yield from a_session(shared, kept, "ask", request)


@pytest.fixture
def planner(shared: Lab, kept: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """A session whose agent only plans."""
    yield from a_session(shared, kept, "plan", request)


@pytest.fixture(scope="session")
def codex() -> str:
    """The pinned real codex; live tests are never skipped without it."""
    path = os.environ.get("DEV_SESSIONS_TEST_CODEX") or str(ROOT / ".agents" / "codex")
    assert os.access(path, os.X_OK), f"no codex at {path}; run: make agents"
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert "codex" in shown.stdout
    return os.path.realpath(path)


@pytest.fixture
def codex_lab(codex: str, request: pytest.FixtureRequest) -> Iterator[CodexLab]:
    """A lab with Codex, for one test."""
    with CodexLab(codex, request.node.name.replace("[", "-").strip("]")) as made:
        yield made


@pytest.fixture(scope="module")
def codex_shared(codex: str, request: pytest.FixtureRequest) -> Iterator[CodexLab]:
    """One lab with Codex, for the tests of a file."""
    with CodexLab(codex, request.node.path.stem.removeprefix("test_")) as made:
        yield made
