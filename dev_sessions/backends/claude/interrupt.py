"""Ending a running turn of Claude Code.

Escape ends it within some 0.2 s; no hook tells so, the status file does. Before any output Claude gives the prompt back
into the input box, where it would be mixed into the next one: it is taken out (2.1.330).
"""

from __future__ import annotations

import time

from ...errors import TimedOut
from ...waiting import Watcher
from . import delivery, dialogs, evidence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...terminal.screen import Screen
    from ..base import Session

# Escape closes what lies on top first (a menu, a question); only then it reaches the turn. Seconds between two.
_AGAIN = 1.0


def interrupt(session: Session, screen: Screen, timeout: float) -> None:
    """End the running turn; see `base.Interrupts.interrupt`."""
    until = time.monotonic() + timeout
    pressed = 0.0
    with Watcher() as watcher:
        watcher.watch_descriptor(screen.descriptor)
        watcher.watch(*evidence.sources(session))
        while evidence.look(session).activity in ("busy", "waiting"):
            if time.monotonic() >= until:
                raise TimedOut(
                    f"the turn of {session.id} did not end; its screen shows:\n{dialogs.shown(screen.capture())}",
                    next=f"dev-sessions attach {session.id}",
                )
            if time.monotonic() - pressed >= _AGAIN:
                screen.keys("Escape")
                pressed = time.monotonic()
            watcher.wait(0.2)
            screen.drain()
        if pressed:
            _take_back(session, screen)
        while _ending(session) and time.monotonic() < until:
            watcher.wait(0.2)


def _ending(session: Session) -> bool:
    """True while Claude is at rest, and how its turn ended is not known yet."""
    return evidence.look(session).activity == "idle" and evidence.observe(session).probe.activity == "busy"


def _take_back(session: Session, screen: Screen) -> None:
    box = dialogs.input_box(screen.capture())
    if box is None or not box.text:
        return
    sent = [message.wire for message in session.folder.messages() if message.attempted is not None]
    if any(dialogs.holds(box, text) for text in sent):
        delivery.clear(screen, box.text)
