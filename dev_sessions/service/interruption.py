"""Ends the running turn, for `interrupt` and `send --interrupt`."""

from __future__ import annotations

import time

from ..backends.base import Interrupts
from ..errors import TimedOut
from ..model import EXITED, IDLE, INTERRUPTED
from ..system.waiting import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import State
    from .context import Session

_INTERRUPT_SECONDS = 15.0
# When to try again if no event comes. Seconds.
_TICK = 0.5


def end_turn(session: Session, before: State) -> State:
    """Interrupt until the running turn has ended; returns the state after that.

    Raises:
        TimedOut: it has not ended.
    """
    backend = session.require(Interrupts, "interrupt")
    if before.status in (IDLE, EXITED):
        return before
    until = time.monotonic() + _INTERRUPT_SECONDS
    with Watcher() as watcher:
        while (left := until - time.monotonic()) > 0:
            watcher.watch(*session.sources())
            backend.interrupt(session, left)
            after = session.state()
            if outcome(before, after) is not None:
                return after
            watcher.wait(min(_TICK, left))
    raise TimedOut(
        f"the turn of {session.id} did not end within {_INTERRUPT_SECONDS:g} s",
        next=f"dev-sessions interrupt {session.id} again, or dev-sessions kill {session.id}",
    )


def outcome(before: State, after: State) -> str | None:
    """The outcome of the interrupted turn; None if no turn was running, or if it still is."""
    if before.status in (IDLE, EXITED):
        return None
    running = before.running
    if any(turn.number in running and turn.state == INTERRUPTED for turn in after.turns):
        return INTERRUPTED  # even if it has since ended a turn in which it comments on the end of its subagents
    if after.last is not None and after.last != before.last:
        return after.last.state
    return {IDLE: INTERRUPTED, EXITED: EXITED}.get(after.status)
