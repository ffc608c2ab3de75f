"""Postpones Ctrl-C during steps that must not be left half done."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Postpone a Ctrl-C to the end of the block.

    Only the main thread is ever interrupted; in another thread the block just runs. A process that the block starts
    gets the terminal's Ctrl-C itself, unless it is in its own process session.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            raise KeyboardInterrupt
