"""Ending a running turn of Claude Code, its subagents included.

Escape ends it within some 0.2 s; no hook tells so, the status file does. Before any output Claude gives the prompt back
into the input box, where it would be mixed into the next one: it is taken out (2.1.330).

Escape does not end subagents, which run in the background; Ctrl-X Ctrl-K, pressed twice, does. Claude then tells itself
so in a turn of its own, which is ended too. Where none runs, these keys do nothing (2.1.150 to 2.1.332).
"""

from __future__ import annotations

import json
import time

from ...errors import TimedOut
from ...model import WORKING
from ...state.folder import Payload
from ...system.waiting import Watcher
from ...turns import reduce
from . import deliver, dialogs, hooks, observe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...model import State
    from ...terminal.screen import Screen
    from ..base import Session

# Escape closes what lies on top first (a menu, a question); only then it reaches the turn. Seconds between two. It is
# pressed once only where Claude does not say what it does: twice in an empty input box, it opens a menu.
_AGAIN = 1.0
_STOP_SUBAGENTS = ("C-x", "C-k", "C-x", "C-k")
# How long Claude may take to begin the turn in which it tells itself that its subagents were stopped. Seconds.
_WAKING = 2.0


def interrupt(session: Session, screen: Screen, timeout: float) -> None:
    """End the running turn; see `base.Interrupts.interrupt`."""
    _Interrupt(session, screen, timeout).run()


class _Interrupt:
    def __init__(self, session: Session, screen: Screen, timeout: float) -> None:
        self._session, self._screen = session, screen
        self._until = time.monotonic() + timeout
        self._pressed = 0.0
        self._escaped = False  # the last key was Escape
        self._stopped: float | None = None  # when the subagents were stopped
        self._taken_back = True

    def run(self) -> None:
        with Watcher() as watcher:
            watcher.watch_descriptor(self._screen.descriptor)
            watcher.watch(*observe.sources(self._session))
            while not (self._over() if self._at_rest() else self._press()):
                watcher.wait(0.2)
                self._screen.drain()

    def _press(self) -> bool:
        """Press the next key, if it is time for it; always False.

        Raises:
            TimedOut: nothing has helped.
        """
        if time.monotonic() >= self._until:
            what = "the subagents" if self._state().delegated else "the turn"
            raise TimedOut(
                f"{what} of {self._session.id} did not end; its screen shows:\n{dialogs.shown(self._screen.capture())}",
                next=f"dev-sessions attach {self._session.id}",
            )
        activity = observe.look(self._session).activity
        if not self._pressed or (activity is not None and time.monotonic() - self._pressed >= _AGAIN):
            self._pressed = time.monotonic()
            # An Escape that has not helped may have ended the agent's own work, and left its subagents.
            if (self._state().delegated or self._escaped) and dialogs.input_box(self._screen.capture()) is not None:
                self._stopped, self._escaped = time.time(), False
                self._screen.keys(*_STOP_SUBAGENTS)
            else:
                self._escaped, self._taken_back = True, False
                # What waits for an answer has keys of its own.
                self._screen.keys("Escape", exactly=activity == "waiting")
        return False

    def _at_rest(self) -> bool:
        return _at_rest(self._session, self._screen, bool(self._pressed))

    def _state(self) -> State:
        seen = observe.observe(self._session)
        return reduce(self._session.folder.messages(), seen.facts, seen.probe)

    def _over(self) -> bool:
        """True once nothing more is to come of the turn, of which Claude says that it does not run."""
        if not self._taken_back and _take_back(self._session, self._screen):
            self._taken_back = True
            _report(self._session)
        return time.monotonic() >= self._until or not (_ending(self._session) or self._wakes_up())

    def _wakes_up(self) -> bool:
        """True from when the subagents were stopped until the turn is over in which Claude tells itself so."""
        since = self._stopped
        if since is None:
            return False
        if any(fact.kind == "accepted" and fact.at > since for fact in observe.observe(self._session).facts):
            return self._state().status == WORKING
        return 0 <= time.time() - since < _WAKING


def _at_rest(session: Session, screen: Screen, pressed: bool) -> bool:
    """True if no turn runs. A Claude without a status file says so by the turn's end, or by giving the prompt back.

    One that waits for a limit to reset is idle: Escape ends that waiting too.
    """
    activity = observe.look(session).activity
    if activity is not None:
        waits = session.continues and observe.observe(session).probe.paused_until is not None
        return activity == "idle" and not waits
    marks = [fact.kind for fact in observe.observe(session).facts if fact.kind in ("accepted", "ended", "alive")]
    return marks[-1:] != ["accepted"] or (pressed and _given_back(session, screen) is not None)


def _ending(session: Session) -> bool:
    """True while Claude is at rest, and how its turn ended is not known yet."""
    return observe.look(session).activity == "idle" and observe.observe(session).probe.activity == "busy"


def _take_back(session: Session, screen: Screen) -> bool:
    """Take a message of ours that Claude gave back out of the input box; False if there is none."""
    text = _given_back(session, screen)
    if text is not None:
        deliver.clear(screen, text)
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
    probe = observe.look(session)
    alone = len(marks) > 1 and marks[-1].kind == "accepted" and marks[-2].kind != "accepted"
    at = probe.now if probe.activity is None else probe.since
    if alone and probe.activity in ("idle", None) and at > marks[-1].at:
        content = json.dumps({"type": hooks.GIVEN_BACK, "prompt_id": marks[-1].prompt}).encode()
        deliver.keep(session, Payload(f"given-back-{int(at * 1000)}.json", at, content))
