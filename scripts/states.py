"""Make docs/states.md of the rows that the live tests check.

python scripts/states.py            write it
python scripts/states.py --check    write nothing; exit 1 if it is out of date
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "fakes"))

from state_rows import ROWS  # noqa: E402 (found by the line above)

PAGE = ROOT / "docs" / "states.md"

HEAD = """\
# The state table

What `dev-sessions status` and `dev-sessions wait` say in every situation that a session can be in. Made by
`scripts/states.py` of `tests/fakes/state_rows.py`; `tests/live/test_states.py` brings a real Claude Code into each
row and checks every word, exit code and JSON field of it.

- **status** is what `status` says before the situation, in the middle of it (bold), and after its end.
- **wait** is the word and the exit code of a `wait` that was started before, in the middle of, or at the end of the
  situation: all give the same answer. With an hourglass (⏳) it goes on until the end; without, it answers at once.
- **wait afterwards** is what a `wait` says that is started after the end.
- `wait` speaks of our own turns only. What a person types, and what the agent does by itself, shows in `status`.
"""
COLUMNS = ("situation", "how it ends", "status", "wait", "wait afterwards")


def page():
    parts = list(dict.fromkeys(row.part for row in ROWS))
    return "\n".join([HEAD, *(section(part) for part in parts)])


def section(part):
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(cells(row) for row in ROWS if row.part == part)]
    return "\n".join([f"## {part}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def cells(row):
    during = f"**`{row.during}`**" + (f" (background: {row.background})" if row.background else "")
    status = f"`{row.before}` → {during} → `{row.after}`"
    wait = f"{'⏳ ' if row.blocks else ''}`{row.wait}` ({row.code})"
    return row.situation, row.end, status, wait, f"`{row.later}` ({row.later_code})"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
