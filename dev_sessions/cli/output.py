"""The only writer: results to stdout, everything else to stderr; and the only place that knows the exit codes."""

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
_OUTCOME_CODES = {"failed": 5, "interrupted": 5, "exited": 5, "waiting_for_input": 6, "timeout": 124}
# A goal that was not reached.
_OUTCOME_CODES |= dict.fromkeys(("paused", "blocked", "usageLimited", "budgetLimited", "cleared"), 5)
_WORST_FIRST = (5, 6, 124)


def outcome_code(outcomes: list[str]) -> int:
    """The exit code for the outcomes of `wait`: the worst of them."""
    codes = {_OUTCOME_CODES.get(outcome, 0) for outcome in outcomes}
    return next((code for code in _WORST_FIRST if code in codes), 0)


def interrupted() -> int:
    """Ctrl-C: say so in one line, for the agent goes on."""
    _write(sys.stderr, "interrupted; sessions that are there go on\n")
    return 130


class Output:
    """What one command prints.

    Args:
        json: one JSON value on stdout instead of text, errors included.

    `on_part`, if a command sets it, is called with each part of a result as it comes; not in JSON mode.
    """

    def __init__(self, json: bool = False) -> None:
        self.json = json
        self.on_part: Callable[[dict[str, Any]], None] | None = None

    def run(self, command: Command) -> int:
        """Run a command against this machine's sessions; an error becomes a message and an exit code."""

        def with_client() -> int:
            from ..app import client

            return command(self, client(on_event=self.event))

        return self.guard(with_client)

    def guard(self, act: Callable[[], int]) -> int:
        """The exit code of `act`; whatever it raises becomes a message."""
        try:
            return act()
        except DevSessionsError as error:
            return self.error(error)
        except KeyboardInterrupt:
            return interrupted()
        except BrokenPipeError:
            return 0  # whoever read our output has had enough: what was asked for is done, and nobody listens
        except OSError as error:
            return self.error(
                DevSessionsError(f"cannot write the result: {error.strerror}", next="check where stdout goes")
            )
        except Exception as error:
            if config.debug_wanted():
                raise
            return self.error(unexpected(error))

    def event(self, event: dict[str, Any]) -> None:
        """Show a note that a service has for the user, or hand on a part of the result (see `on_part`)."""
        if "note" in event:
            self.note(str(event["note"]))
        elif self.on_part is not None and not self.json:
            self.on_part(event)

    def result(self, value: Any, text: str | None) -> None:
        """The result: `value` as JSON in JSON mode, else `text` (None: nothing).

        Text is stripped for a terminal only: a pipe gets what an agent said as it said it.
        """
        if self.json:
            _write(sys.stdout, _encoded(value))
        elif text is not None:
            shown = stripped(text) if _is_terminal(sys.stdout) else text
            _write(sys.stdout, shown if shown.endswith("\n") else shown + "\n")

    def line(self, value: Any) -> None:
        """A part of the result, as a line of JSON in any mode."""
        _write(sys.stdout, _encoded(value))

    def stream(
        self, values: Iterable[Any], text: Callable[[Any], str | None] | None = None, lines: bool = False
    ) -> None:
        """Results as they come: the text of each; in JSON mode one array of them, or with `lines` a value a line.

        What has no text is printed as a line of JSON in any mode.
        """
        if self.json and not lines:
            self._array(values)
            return
        for value in values:
            if self.json or text is None:
                _write(sys.stdout, _encoded(value))
            else:
                self.result(value, text(value))

    def _array(self, values: Iterable[Any]) -> None:
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
        """Talk: to stderr, and never in the way of a result."""
        _write(sys.stderr, f"dev-sessions: {stripped(text)}\n")

    def log(self, line: str) -> None:
        """A line of a log, as it is: to stderr."""
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
        """Write to the terminal on stderr as it stands: what moves the cursor too."""
        _write(sys.stderr, text)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and bool(stream.isatty())


def _encoded(value: Any) -> str:
    import json  # 12 ms, which a plain `--version` need not spend

    return escaped(json.dumps(value, ensure_ascii=False)) + "\n"


def _write(stream: Any, text: str) -> None:
    if stream is None:
        return  # closed by the caller
    content = memoryview(text.encode("utf-8", "replace"))
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError):  # no file: somebody who calls us from Python collects what we write
        stream.write(bytes(content).decode())
        return
    # Past the stream's own buffer: what could not be written must not be tried again at the exit.
    while content:
        content = content[os.write(descriptor, content) :]
