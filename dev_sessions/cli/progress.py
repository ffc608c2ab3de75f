"""How far the branches of a run are, while it lasts: a live table on a terminal, else a line for each change."""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .output import Output


class Progress:
    """Shown on stderr. Every method may be called by any thread.

    Args:
        names: the branches, in the order of their rows.
        about: what to say of a branch besides its phase: its session, say.
    """

    def __init__(self, out: Output, names: Sequence[str], about: Callable[[str], str]) -> None:
        self._out = out
        self._about = about
        self._phases = dict.fromkeys(names, "waiting for its turn")
        self._width = max(len(name) for name in names)
        self._lock = threading.Lock()
        self._live = _fits(len(names))
        self._shown = 0

    def changed(self, name: str, phase: str) -> None:
        with self._lock:
            self._phases[name] = phase
            if self._live:
                self._draw()
            else:
                self._out.note(self._row(name))

    def note(self, text: str) -> None:
        """Say something else, above the table."""
        with self._lock:
            self._erase()
            self._out.note(text)
            if self._live:
                self._draw()

    def close(self) -> None:
        """Leave the table as it stands, and draw no more."""
        with self._lock:
            self._live, self._shown = False, 0

    def _row(self, name: str) -> str:
        return " ".join(f"{name:{self._width}}  {self._phases[name]:20}  {self._about(name)}".split("\n")).rstrip()

    def _draw(self) -> None:
        self._erase()
        width = _columns()
        self._out.draw("".join(f"{self._row(name)[:width]}\n" for name in self._phases))
        self._shown = len(self._phases)

    def _erase(self) -> None:
        if self._shown:
            self._out.draw(f"\x1b[{self._shown}A\r\x1b[J")
            self._shown = 0


def _fits(rows: int) -> bool:
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).lines > rows + 1
    except (AttributeError, OSError, ValueError):
        return False


def _columns() -> int:
    try:
        return max(20, os.get_terminal_size(sys.stderr.fileno()).columns - 1)
    except (OSError, ValueError):
        return 79
