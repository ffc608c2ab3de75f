"""Ending the running turn, for `interrupt` and `send --interrupt`."""

from __future__ import annotations

import time

from ..backends.base import Interrupts
from ..errors import TimedOut
from ..model import EXITED, IDLE, INTERRUPTED, QUEUED
from ..system.waiting import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import State
    from .context import Session

_INTERRUPT_SECONDS = 15.0
# Between two attempts to end a turn where no event came. Seconds.
_TICK = 0.5


def end_turn(session: Session, before: State) -> State:
    """Interrupt until the running turn has ended; returns the state after that.

    Raises:
        TimedOut: the turn goes on.
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
        f"the turn of {session.id} goes on: it was asked to end, and has not within {_INTERRUPT_SECONDS:g} s",
        next=f"dev-sessions interrupt {session.id} again, or dev-sessions kill {session.id}",
    )


def outcome(before: State, after: State) -> str | None:
    """The outcome of what ran before an interrupt; None if nothing ran, or if it goes on."""
    if before.status in (IDLE, EXITED):
        return None
    ran = {turn.number for turn in before.turns if turn.open and turn.state != QUEUED}
    if any(turn.number in ran and turn.state == INTERRUPTED for turn in after.turns):
        return INTERRUPTED  # whatever the agent has said since: it may comment on the end of its subagents
    if after.last is not None and after.last != before.last:
        return after.last.state
    return {IDLE: INTERRUPTED, EXITED: EXITED}.get(after.status)
