"""Ctrl-C, where half of a step would be worse than all of it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a Ctrl-C take effect at the end of the block only, as the KeyboardInterrupt that it is.

    Only the main thread is ever interrupted; in another one the block just runs. A process that is started meanwhile
    gets Ctrl-C of the terminal unless it is started in a session of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def note(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            raise KeyboardInterrupt
