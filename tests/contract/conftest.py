"""Contract tests: each body runs against every implementation of one protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import Lab


@pytest.fixture(scope="module", autouse=True)
def commands_are_forked(quick: None) -> None:
    """How a command starts does not matter here."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab for the tests of one module; each of them has sessions of its own."""
    with Lab(name="contract") as made:
        yield made
