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
    gc.set_threshold(100_000)  # a command ends before it is worth collecting its garbage
    try:
        from .cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    _leave(code)


def _begin_again_in_utf8() -> NoReturn:
    """Read arguments, paths and variables as UTF-8 in any locale, since everything that we store is UTF-8.

    With an option, which no child inherits; an agent would inherit the variable PYTHONUTF8.
    """
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _leave(code: int) -> NoReturn:
    """End at once: a proper shutdown of the interpreter takes half as long as Python's start."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # closed by the caller or the reader
            pass
    os._exit(code)


def _unraisable(error: UnraisableHookArgs) -> None:
    """Keep a Ctrl-C that Python could not raise (for example in a finalizer), and ignore the rest."""
    from .config import debug_wanted
    from .system import waiting

    if issubclass(error.exc_type, KeyboardInterrupt):
        waiting.keep_interrupt()
    elif debug_wanted():
        sys.__unraisablehook__(error)


if __name__ == "__main__":
    main()
