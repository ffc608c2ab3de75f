"""Property tests: the same examples on every run, and nothing left behind in the checkout."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, configuration, settings
from soak import size

# Hypothesis writes a table of Unicode, by default into the working folder.
configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"dev-sessions-hypothesis-{os.getuid()}")
settings.register_profile(
    "unit",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=size(40, 2000),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unit")
