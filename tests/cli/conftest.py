"""Command tests: argv in; stdout, stderr and exit code out; against the scripted agent.

Most run in this process, since Python's start would take most of their time; what concerns the process itself (its
streams, signals, umask) is run as one, by `Lab.run`.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from far_lab import THROUGH_A_GATEWAY, LabBehindAGateway
from lab import Done, Lab

from dev_sessions import cli

HERE = Path(__file__).parent


@contextlib.contextmanager
def captured(redirect: Any) -> Iterator[io.TextIOWrapper]:
    """A stream backed by a file, since results are written to the descriptor."""
    with tempfile.TemporaryFile("w+b", buffering=0) as file:
        stream = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)  # type: ignore[arg-type]
        with redirect(stream):
            yield stream


def content(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0).decode()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Through a gateway, run only those of these tests that it can break; see `far_lab`."""
    if THROUGH_A_GATEWAY:
        left = [item for item in items if HERE in item.path.parents and not item.get_closest_marker("gateway")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


class Commands:
    """`dev-sessions`, in this process, in a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def __call__(self, *argv: str, stdin: str = "", env: dict[str, str] | None = None) -> Done:
        """Run one command line."""
        before, streams = dict(os.environ), sys.stdin
        os.environ.clear()
        os.environ.update(self.lab.environment(env))
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")
        try:
            with (
                contextlib.chdir(self.lab.project),
                captured(contextlib.redirect_stdout) as out,
                captured(contextlib.redirect_stderr) as err,
            ):
                code = cli.run(list(argv))
                return Done(code, content(out), content(err))
        finally:
            sys.stdin = streams
            os.environ.clear()
            os.environ.update(before)

    def ok(self, *argv: str, **options: Any) -> str:
        """Run a command that has to succeed; returns its output without the last line feed."""
        done = self(*argv, **options)
        assert done.code == 0, done
        return done.out.rstrip("\n")

    def json(self, *argv: str) -> Any:
        """The value that a command prints with --json."""
        return self(*argv, "--json").json

    def create(self, *more: str, **options: Any) -> str:
        return self.ok("create", "--cli", "fake", "-q", *more, **options)

    @contextlib.contextmanager
    def following(self, *argv: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on, in a process of its own, ended with the block if it has not ended by itself."""
        process = self.lab.start(*argv, **options)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def release(self, id: str, name: str = "a") -> None:
        (self.lab.folder(id) / "agent" / "release" / name).touch()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab for the tests of one module."""
    with (LabBehindAGateway if THROUGH_A_GATEWAY else Lab)(name="cli") as made:
        yield made


@pytest.fixture(scope="module")
def run(lab: Lab) -> Commands:
    return Commands(lab)


@pytest.fixture(scope="module")
def idle(run: Commands) -> str:
    """A session that has answered two messages and is at rest. Tests that share it only read."""
    id = run.create("--description", "fix the parser", "--group", "shared", "--model", "m-1")
    for text in ("one", "two"):
        run.ok("ask", id, f"[[reply: {text}]]")
    return id


@pytest.fixture(scope="module")
def busy(run: Commands) -> str:
    """A session in the middle of its first turn, which does not end."""
    id = run.create("--group", "shared")
    run.ok("send", id, "[[hold: never]]")
    return id


@pytest.fixture(scope="module")
def asking(run: Commands) -> str:
    """A session that asks something."""
    id = run.create()
    run.ok("send", id, "[[ask: Which one?|this|that]]")
    assert run("wait", id).code == 6
    return id


@pytest.fixture(scope="module")
def failed(run: Commands) -> str:
    """A session whose only turn failed."""
    id = run.create()
    run.ok("send", id, "[[error: no credit]]")
    assert run("wait", id).code == 5
    return id


@pytest.fixture(scope="module")
def dead(run: Commands) -> str:
    """A session whose agent replied once, and died in its second turn."""
    id = run.create()
    run.ok("ask", id, "[[reply: last words]]")
    run.ok("send", id, "[[die: out of memory]]")
    assert run("wait", id).code == 5
    return id


@pytest.fixture(scope="module")
def bare(run: Commands) -> str:
    """A busy session of an agent that can neither be interrupted nor attached to."""
    id = run.ok("create", "--cli", "fake-bare", "-q")
    run.ok("send", id, "[[hold: never]]")
    return id
