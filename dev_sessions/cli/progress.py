"""The progress of a run: a live table on a terminal, else a line for each change."""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .output import Output


class Progress:
    """Progress on stderr. Any thread may call any method.

    Args:
        names: the branches, in the order of their rows.
        about: returns a text to show after a branch's phase, for example its session.
    """

    def __init__(self, out: Output, names: Sequence[str], about: Callable[[str], str]) -> None:
        self._out, self._about = out, about
        self._phases = dict.fromkeys(names, "waiting for its turn")
        self._width = max(len(name) for name in names)
        self._lock = threading.Lock()
        size = _size()
        self._live = size is not None and size.lines > len(names) + 1
        self._shown = 0

    def changed(self, name: str, phase: str) -> None:
        with self._lock:
            self._phases[name] = phase
            if self._live:
                self._draw()
            else:
                self._out.note(self._row(name))

    def note(self, text: str) -> None:
        """Print a note above the table."""
        with self._lock:
            self._erase()
            self._out.note(text)
            if self._live:
                self._draw()

    def close(self) -> None:
        """Leave the table as it is, and draw no more."""
        with self._lock:
            self._live, self._shown = False, 0

    def _row(self, name: str) -> str:
        return " ".join(f"{name:{self._width}}  {self._phases[name]:20}  {self._about(name)}".split("\n")).rstrip()

    def _draw(self) -> None:
        self._erase()
        size = _size()
        width = 79 if size is None else max(20, size.columns - 1)
        self._out.draw("".join(f"{self._row(name)[:width]}\n" for name in self._phases))
        self._shown = len(self._phases)

    def _erase(self) -> None:
        if self._shown:
            self._out.draw(f"\x1b[{self._shown}A\r\x1b[J")
            self._shown = 0


def _size() -> os.terminal_size | None:
    """The size of the terminal on stderr; None if that is not a terminal."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()) if sys.stderr.isatty() else None
    except (AttributeError, OSError, ValueError):
        return None
