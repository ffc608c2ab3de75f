"""`python -m dev_sessions`, and the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run one command and exit with its code."""
    from .cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
