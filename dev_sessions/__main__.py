"""`python -m dev_sessions`, and the console script."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from typing import NoReturn


def main() -> None:
    """Run one command and exit with its code."""
    if sys.getfilesystemencoding() != "utf-8" and "utf8" not in sys._xoptions:
        _begin_again_in_utf8()
    sys.unraisablehook = _unraisable
    gc.set_threshold(100_000)  # a command is over before its garbage is worth looking for
    try:
        from .cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    _leave(code)


def _begin_again_in_utf8() -> NoReturn:
    """Have words, paths and variables read as UTF-8 whatever the caller's locale: all that we keep is UTF-8.

    By an option, which no child inherits, and not by the variable PYTHONUTF8, which an agent would get too.
    """
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _leave(code: int) -> NoReturn:
    """End at once: to take the interpreter down properly costs as much as half of Python's start."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # closed by the caller, or nobody reads any more
            pass
    os._exit(code)


def _unraisable(error: UnraisableHookArgs) -> None:
    """Keep a Ctrl-C that came while Python could not raise it (in a finalizer, say), and say nothing of the rest."""
    from .config import debug_wanted
    from .system import waiting

    if issubclass(error.exc_type, KeyboardInterrupt):
        waiting.keep_interrupt()
    elif debug_wanted():
        sys.__unraisablehook__(error)


if __name__ == "__main__":
    main()
