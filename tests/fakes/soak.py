"""The size of the tests that prove more the longer they run: small in `make test`, full in `make soak`.

A test that uses `size` has the mark `soak`, by which `make soak` finds it. One with the mark `soak(only=True)` runs
there alone; a smaller one beside it shows the same in `make test`.
"""

from __future__ import annotations

import os

import pytest

SOAK = bool(os.environ.get("DEV_SESSIONS_TEST_SOAK"))

only_in_soak = pytest.mark.soak(only=True)


def size(usual: int, soak: int) -> int:
    """How many in this run."""
    return soak if SOAK else usual
