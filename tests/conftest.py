"""What every test relies on."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from forked import Forked
from lab import Lab
from soak import SOAK


def pytest_configure() -> None:
    # A shell starts its background jobs deaf to Ctrl-C, and so would be the commands that the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make soak` what runs there alone; see `tests/fakes/soak.py`."""
    if SOAK:
        return
    left = [item for item in items if any(mark.kwargs.get("only") for mark in item.iter_markers("soak"))]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in set(left)]


@pytest.fixture(scope="session")
def forked() -> Iterator[Forked]:
    """Runs commands in a way that saves Python's start."""
    made = Forked()
    yield made
    made.close()


@pytest.fixture(scope="module")
def quick(forked: Forked) -> Iterator[None]:
    """For tests to which it does not matter how a command starts."""
    Lab.forked = forked
    yield
    Lab.forked = None
