"""The command line: the fast path or Typer."""

from __future__ import annotations

from .output import Output, interrupted, version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        if list(argv) == ["--version"]:
            out = Output()
            return out.guard(lambda: version(out))
        from . import fast

        call = fast.parse(argv)
        if call is not None:
            return Output(json=call.json).run(call.command)
        from .input import run as run_typer

        return run_typer(argv)
    except KeyboardInterrupt:
        return interrupted()
