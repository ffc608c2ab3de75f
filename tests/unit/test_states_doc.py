"""docs/states.md states exactly what the live tests check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from state_rows import ROWS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "states.md"


def states(*words: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "scripts" / "states.py")
    return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)


def test_the_page_is_up_to_date() -> None:
    done = states("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_check_fails_on_a_stale_page_and_leaves_it(tmp_path: Path) -> None:
    stale = tmp_path / "states.md"
    text = PAGE.read_text().replace("`waiting_for_input` (6)", "`waiting_for_input` (0)", 1)
    stale.write_text(text)
    done = states("--check", "--page", str(stale))
    assert done.returncode == 1
    assert "run: python scripts/states.py" in done.stderr
    assert stale.read_text() == text


def test_check_fails_without_a_page(tmp_path: Path) -> None:
    assert states("--check", "--page", str(tmp_path / "states.md")).returncode == 1
    assert not (tmp_path / "states.md").exists()


def test_writing_updates_a_stale_page(tmp_path: Path) -> None:
    stale = tmp_path / "states.md"
    stale.write_text("old")
    assert states("--page", str(stale)).returncode == 0
    assert states("--check", "--page", str(stale)).returncode == 0
    assert stale.read_text() == PAGE.read_text()


def test_every_row_is_one_line_of_the_page() -> None:
    lines = PAGE.read_text().splitlines()
    for row in ROWS:
        shown = f"`{row.wait}` ({row.code})"
        assert any(
            line.startswith(f"| {row.situation} | {row.end} |") and f"**`{row.during}`**" in line and shown in line
            for line in lines
        ), row.name


def test_every_situation_has_its_own_description() -> None:
    told = [(row.part, row.situation, row.end) for row in ROWS]
    assert len(set(told)) == len(told)
