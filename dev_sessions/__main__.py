"""`python -m dev_sessions`, and the console script."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def main() -> None:
    """Run one command and exit with its code."""
    sys.unraisablehook = _unraisable
    try:
        from .cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _unraisable(error: UnraisableHookArgs) -> None:
    """Keep a Ctrl-C that came while Python could not raise it (in a finalizer, say), and say nothing of the rest."""
    from . import waiting
    from .config import debug_wanted

    if issubclass(error.exc_type, KeyboardInterrupt):
        waiting.keep_interrupt()
    elif debug_wanted():
        sys.__unraisablehook__(error)


if __name__ == "__main__":
    main()
