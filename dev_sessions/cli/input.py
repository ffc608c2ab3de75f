"""A command line through Typer: what it refuses is told as our own errors are."""

from __future__ import annotations

from typing import Any

import typer

from ..errors import UsageError
from .definition import app
from .output import Output, interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def run(argv: Sequence[str]) -> int:
    """Run a command line through Typer; returns the exit code."""
    out = Output(json="--json" in argv)
    try:
        code: Any = typer.main.get_command(app).main(args=list(argv), prog_name="dev-sessions", standalone_mode=False)
    except typer.Exit as end:
        return int(end.exit_code)
    except typer.Abort:
        return interrupted()
    except Exception as error:
        # Typer's own usage errors share no public base class but what BadParameter inherits from.
        if not isinstance(error, typer.BadParameter.__mro__[1]):
            raise
        if not argv:  # the help, with which Typer answers a call of nothing
            out.note(str(error.format_message()))  # type: ignore[attr-defined]
            return 2
        return out.error(_usage(error, argv))
    return int(code or 0)


def _usage(error: Any, argv: Sequence[str]) -> UsageError:
    # An option without its value does not say of which command it is.
    named = argv[:1] if argv[0] in typer.main.get_group(app).commands else []
    command = getattr(getattr(error, "ctx", None), "command_path", " ".join(["dev-sessions", *named]))
    return UsageError(str(error.format_message()).rstrip("."), next=f"{command} --help")
