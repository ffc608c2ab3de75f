"""Generate docs/states.md from the rows that the live tests check.

python scripts/states.py            write the page
python scripts/states.py --check    write nothing; exit 1 if the page is out of date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "fakes"))

from state_rows import ROWS, Row  # noqa: E402 (found by the line above)

PAGE = ROOT / "docs" / "states.md"

HEAD = """\
# The state table

What `dev-sessions status` and `dev-sessions wait` print in every situation that a session can be in.
`scripts/states.py` generates this page from `tests/fakes/state_rows.py`; `tests/live/test_states.py` puts a real Claude
Code into each situation and checks every word, exit code and JSON field.

- **status** shows what `status` prints before, during (bold) and after the situation.
- **wait** shows the word and exit code of a `wait` that was started before, during or at the end of the situation: all
  three give the same result. With an hourglass (⏳) it waits until the end; without, it returns at once.
- **wait afterwards** shows the result of a `wait` that was started after the end.
- `wait` covers only the turns of messages that you sent with dev-sessions. What a person types, or what the agent does
  by itself, shows only in `status`.
"""
COLUMNS = ("situation", "how it ends", "status", "wait", "wait afterwards")


def page() -> str:
    parts = list(dict.fromkeys(row.part for row in ROWS))
    return "\n".join([HEAD, *(section(part) for part in parts)])


def section(part: str) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(cells(row) for row in ROWS if row.part == part)]
    return "\n".join([f"## {part}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def cells(row: Row) -> tuple[str, ...]:
    during = f"**`{row.during}`**" + (f" (background: {row.background})" if row.background else "")
    status = f"`{row.before}` → {during} → `{row.after}`"
    wait = f"{'⏳ ' if row.blocks else ''}`{row.wait}` ({row.code})"
    return row.situation, row.end, status, wait, f"`{row.later}` ({row.later_code})"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Generate docs/states.md from the rows that the live tests check.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is out of date")
    parser.add_argument("--page", type=Path, default=PAGE, help="the file to write or check")
    options = parser.parse_args(argv)
    wanted = page()
    if not options.check:
        options.page.write_text(wanted, encoding="utf-8")
        return 0
    if options.page.exists() and options.page.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{options.page} is out of date; run: python scripts/states.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
