"""The only module that writes: results to stdout, everything else to stderr; and the exit codes."""

from __future__ import annotations

import os
import sys

from .. import config
from ..errors import DevSessionsError, unexpected
from ..text import escaped, stripped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..client import Client

    Command = Callable[["Output", Client], int]

# Exit code by error code; any other error is 1.
_EXIT_CODES = {
    "usage": 2,
    "not_found": 3,
    "unsupported": 4,
    "exited": 5,
    "turn_failed": 5,
    "waiting_for_input": 6,
    "timeout": 124,
    "unreachable": 255,
}
_OUTCOME_CODES = {
    "waiting_for_input": 6,
    "timeout": 124,
    **dict.fromkeys(("failed", "interrupted", "exited"), 5),
    **dict.fromkeys(("paused", "blocked", "usageLimited", "budgetLimited", "cleared"), 5),  # of a goal
}


def outcome_code(outcomes: list[str]) -> int:
    """The exit code for outcomes of `wait`: that of the worst one, in the order 5, 6, 124, 0."""
    return min((_OUTCOME_CODES[outcome] for outcome in outcomes if outcome in _OUTCOME_CODES), default=0)


def version(out: Output) -> int:
    """Print the version."""
    from .. import __version__

    out.result(None, f"dev-sessions {__version__}")
    return 0


def interrupted() -> int:
    """Report a Ctrl-C in one line; agents are not affected by it."""
    _write(sys.stderr, "interrupted; running sessions go on\n")
    return 130


class Output:
    """What one command prints.

    Attributes:
        json: print one JSON value on stdout instead of text, errors included.
        on_part: called with each part of a result when it arrives, if a command sets it; not in JSON mode.
    """

    def __init__(self, json: bool = False) -> None:
        self.json = json
        self.on_part: Callable[[dict[str, Any]], None] | None = None

    def run(self, command: Command) -> int:
        """Run a command with a client; an error becomes a message and an exit code."""

        def with_client() -> int:
            from ..app import client

            return command(self, client(on_event=self.event))

        return self.guard(with_client)

    def guard(self, act: Callable[[], int]) -> int:
        """The exit code of `act`; an error becomes a message."""
        try:
            return act()
        except DevSessionsError as error:
            return self.error(error)
        except KeyboardInterrupt:
            return interrupted()
        except BrokenPipeError:
            return 0  # the reader of our output has closed it, and the work is done
        except OSError as error:
            return self.error(
                DevSessionsError(f"cannot write the result: {error.strerror}", next="check where stdout goes")
            )
        except Exception as error:
            if config.debug_wanted():
                raise
            return self.error(unexpected(error))

    def event(self, event: dict[str, Any]) -> None:
        """Show a note from the service, or pass on a part of the result (see `on_part`)."""
        if "note" in event:
            self.note(str(event["note"]))
        elif self.on_part is not None and not self.json:
            self.on_part(event)

    def result(self, value: Any, text: str | None) -> None:
        """Print the result: `value` as JSON in JSON mode, else `text` (None: nothing).

        Control characters are removed for a terminal only: a pipe gets an agent's text unchanged.
        """
        if self.json:
            self.line(value)
        elif text is not None:
            shown = stripped(text) if sys.stdout is not None and sys.stdout.isatty() else text
            _write(sys.stdout, shown if shown.endswith("\n") else shown + "\n")

    def line(self, value: Any) -> None:
        """Print a line of JSON in any mode."""
        _write(sys.stdout, _encoded(value))

    def stream(
        self, values: Iterable[Any], text: Callable[[Any], str | None] | None = None, lines: bool = False
    ) -> None:
        """Print results when they arrive: the text of each; in JSON mode one array, or with `lines` one value per line.

        Without `text`, each one is a line of JSON in any mode.
        """
        if not self.json or lines:
            for value in values:
                if self.json or text is None:
                    self.line(value)
                else:
                    self.result(value, text(value))
            return
        lead = "["
        try:
            for value in values:
                _write(sys.stdout, lead + _encoded(value).rstrip("\n"))
                lead = ",\n"
        except DevSessionsError:
            if lead != "[":
                _write(sys.stdout, "]\n")
            raise
        _write(sys.stdout, "[]\n" if lead == "[" else "]\n")

    def note(self, text: str) -> None:
        """Print a message for the user to stderr."""
        _write(sys.stderr, f"dev-sessions: {stripped(text)}\n")

    def log(self, line: str) -> None:
        """Print a line of a log to stderr."""
        _write(sys.stderr, f"{stripped(line)}\n")

    def error(self, error: DevSessionsError) -> int:
        """Show an error with the command to run next; returns the exit code."""
        if self.json:
            _write(sys.stdout, _encoded({"error": error.to_wire()}))
        else:
            following = error.data.get("next")
            tail = f"next: {following}\n" if following else ""
            _write(sys.stderr, f"error: {stripped(error.message)}\n{stripped(tail)}")
        return _EXIT_CODES.get(error.code, 1)

    def draw(self, text: str) -> None:
        """Write to the terminal on stderr, cursor movements included."""
        _write(sys.stderr, text)


def _encoded(value: Any) -> str:
    import json  # takes 12 ms, and `--version` does not need it

    return escaped(json.dumps(value, ensure_ascii=False)) + "\n"


def _write(stream: Any, text: str) -> None:
    if stream is None:
        return  # closed by the caller
    content = memoryview(text.encode("utf-8", "replace"))
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError):  # not a file: a caller in Python collects what we write
        stream.write(bytes(content).decode())
        return
    # Not through the stream's buffer: after a failed write, Python would try again at exit.
    while content:
        content = content[os.write(descriptor, content) :]
