"""Ending a running turn of Claude Code.

Escape ends it within some 0.2 s; no hook tells so, the status file does. Before any output Claude gives the prompt back
into the input box, where it would be mixed into the next one: it is taken out (2.1.330).
"""

from __future__ import annotations

import json
import time

from ...errors import TimedOut
from ...records import Payload
from ...waiting import Watcher
from . import delivery, dialogs, evidence, hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...terminal.screen import Screen
    from ..base import Session

# Escape closes what lies on top first (a menu, a question); only then it reaches the turn. Seconds between two. It is
# pressed once only where Claude does not say what it does: twice in an empty input box, it opens a menu.
_AGAIN = 1.0


def interrupt(session: Session, screen: Screen, timeout: float) -> None:
    """End the running turn; see `base.Interrupts.interrupt`."""
    until = time.monotonic() + timeout
    pressed = 0.0
    with Watcher() as watcher:
        watcher.watch_descriptor(screen.descriptor)
        watcher.watch(*evidence.sources(session))
        while not _at_rest(session, screen, bool(pressed)):
            if time.monotonic() >= until:
                raise TimedOut(
                    f"the turn of {session.id} did not end; its screen shows:\n{dialogs.shown(screen.capture())}",
                    next=f"dev-sessions attach {session.id}",
                )
            activity = evidence.look(session).activity
            if not pressed or (activity is not None and time.monotonic() - pressed >= _AGAIN):
                # What waits for an answer has keys of its own.
                screen.keys("Escape", exactly=activity == "waiting")
                pressed = time.monotonic()
            watcher.wait(0.2)
            screen.drain()
        taken_back = not pressed
        while True:
            if not taken_back and (taken_back := _take_back(session, screen)):
                _report(session)
            if not _ending(session) or time.monotonic() >= until:
                return
            watcher.wait(0.2)
            screen.drain()


def _at_rest(session: Session, screen: Screen, pressed: bool) -> bool:
    """True if no turn runs. A Claude without a status file says so by the turn's end, or by giving the prompt back.

    One that waits for a limit to reset is idle: Escape ends that waiting too.
    """
    activity = evidence.look(session).activity
    if activity is not None:
        waits = session.continues and evidence.observe(session).probe.paused_until is not None
        return activity == "idle" and not waits
    marks = [fact.kind for fact in evidence.observe(session).facts if fact.kind in ("accepted", "ended", "alive")]
    return marks[-1:] != ["accepted"] or (pressed and _given_back(session, screen) is not None)


def _ending(session: Session) -> bool:
    """True while Claude is at rest, and how its turn ended is not known yet."""
    return evidence.look(session).activity == "idle" and evidence.observe(session).probe.activity == "busy"


def _take_back(session: Session, screen: Screen) -> bool:
    """Take a message of ours that Claude gave back out of the input box; False if there is none."""
    text = _given_back(session, screen)
    if text is not None:
        delivery.clear(screen, text)
    return text is not None


def _given_back(session: Session, screen: Screen) -> str | None:
    """What stands in the input box, if it is a message of ours."""
    box = dialogs.input_box(screen.capture(), screen.row())
    if box is None or not box.text:
        return None
    sent = [message.wire for message in session.folder.messages() if message.attempted is not None]
    return box.text if any(dialogs.holds(box, text) for text in sent) else None


def _report(session: Session) -> None:
    """Keep the report that Claude owes: it gives a prompt back only if its turn has ended before any output.

    No hook and no line of the transcript tells of such an end, so all would have to wait until none can come any more.
    Nothing is kept where Claude holds more prompts, of which one may run by now.
    """
    payloads = [(payload, hooks.parse(payload)) for payload in session.folder.facts()]
    facts = [fact for payload, fields in payloads if (fact := hooks.fact(payload, fields)) is not None]
    marks = [fact for fact in facts if fact.kind in ("accepted", "ended", "alive")]
    probe = evidence.look(session)
    alone = len(marks) > 1 and marks[-1].kind == "accepted" and marks[-2].kind != "accepted"
    at = probe.now if probe.activity is None else probe.since
    if alone and probe.activity in ("idle", None) and at > marks[-1].at:
        content = json.dumps({"type": hooks.GIVEN_BACK, "prompt_id": marks[-1].prompt}).encode()
        delivery.keep(session, Payload(f"given-back-{int(at * 1000)}.json", at, content))
