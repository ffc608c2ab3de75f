"""`make bench` runs: each measure once and small, however long it takes, and the results page has a row for each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from lab import ROOT

BENCH, PAGE = ROOT / "tests" / "bench", ROOT / "docs" / "performance.md"


def test_every_measure_runs_and_has_its_row_on_the_page(claude: str, codex: str, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    agents = {"DEV_SESSIONS_TEST_CLAUDE": claude, "DEV_SESSIONS_TEST_CODEX": codex}
    argv = [sys.executable, str(BENCH), "--quick", "--json", str(results)]
    done = subprocess.run(argv, env={**os.environ, **agents}, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(results.read_text())
    rows = [*found["figures"], *found["growth"]]
    assert rows
    on_the_page = re.findall(r"^\| (.+?) \|", PAGE.read_text(), re.M)
    assert [row["what"] for row in rows if row["what"] not in on_the_page] == []
