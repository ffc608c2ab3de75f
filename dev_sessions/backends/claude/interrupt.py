"""Ends a running turn of Claude Code and its subagents.

Escape ends the turn within about 0.2 s; the status file shows that, and no hook reports it. If there was no output yet,
Claude puts the prompt back into the input box, where it would be added to the next one, so it is removed (2.1.330).

Escape does not end subagents, which run in the background; Ctrl-X Ctrl-K, pressed twice, does. Claude then reports
their end to itself in a separate turn, which is ended too. Without subagents, these keys have no effect (2.1.221 to
2.1.332).
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

# Escape first closes the top layer (a menu, a question); only the next Escape reaches the turn. Seconds between two. If
# Claude has no status file, Escape is pressed only once: twice in an empty input box, it opens a menu.
_AGAIN = 1.0
_STOP_SUBAGENTS = ("C-x", "C-k", "C-x", "C-k")
# How long Claude may take to begin the turn in which it reports to itself that its subagents were stopped. Seconds.
_WAKING = 2.0
_MARKS = ("accepted", "ended", "alive")


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
        self._taken_back = True  # the input box cannot contain a prompt that the last Escape put back

    def run(self) -> None:
        with Watcher() as watcher:
            watcher.watch_descriptor(self._screen.descriptor)
            watcher.watch(*observe.sources(self._session))
            while True:
                if not self._at_rest():
                    self._press()
                elif self._is_over():
                    return
                watcher.wait(0.2)
                self._screen.drain()

    def _press(self) -> None:
        """Press the next key, unless it is too early for it.

        Raises:
            TimedOut: the turn or its subagents did not end in time.
        """
        if time.monotonic() >= self._until:
            what = "the subagents" if self._state().delegated else "the turn"
            raise TimedOut(
                f"{what} of {self._session.id} did not end; its screen shows:\n{dialogs.shown(self._screen.capture())}",
                next=f"dev-sessions attach {self._session.id}",
            )
        activity = observe.look(self._session).activity
        if self._pressed and (activity is None or time.monotonic() - self._pressed < _AGAIN):
            return
        self._pressed = time.monotonic()
        # If an Escape had no visible effect, it may have ended the agent's own work but not its subagents.
        if (self._state().delegated or self._escaped) and dialogs.input_box(self._screen.capture()) is not None:
            self._stopped, self._escaped = time.time(), False
            self._screen.keys(*_STOP_SUBAGENTS)
        else:
            self._escaped, self._taken_back = True, False
            # A question has its own key bindings.
            self._screen.keys("Escape", exactly=activity == "waiting")

    def _at_rest(self) -> bool:
        """True if no turn runs. Without a status file: if the turn has ended or the prompt is back in the input box.

        A Claude that waits for a limit to reset is idle too, but Escape must end that wait.
        """
        activity = observe.look(self._session).activity
        if activity is not None:
            waits = self._session.continues and observe.observe(self._session).probe.paused_until is not None
            return activity == "idle" and not waits
        marks = [fact.kind for fact in observe.observe(self._session).facts if fact.kind in _MARKS]
        return marks[-1:] != ["accepted"] or (bool(self._pressed) and self._given_back() is not None)

    def _is_over(self) -> bool:
        """True if nothing more can happen in the turn. Called once Claude shows that the turn is not running."""
        session = self._session
        if not self._taken_back and (text := self._given_back()) is not None:
            deliver.clear(self._screen, text)
            self._taken_back = True
            _report(session)
        if time.monotonic() >= self._until:
            return True
        if observe.look(session).activity == "idle" and observe.observe(session).probe.activity == "busy":
            return False  # it is not yet known how the turn ended
        since = self._stopped
        if since is None:
            return True
        # Claude reports to itself that the subagents were stopped, in a turn that must end too.
        if any(fact.kind == "accepted" and fact.at > since for fact in observe.observe(session).facts):
            return self._state().status != WORKING
        return not 0 <= time.time() - since < _WAKING

    def _state(self) -> State:
        seen = observe.observe(self._session)
        return reduce(self._session.folder.messages(), seen.facts, seen.probe)

    def _given_back(self) -> str | None:
        """The text in the input box, if it is one of our messages."""
        box = dialogs.input_box(self._screen.capture(), self._screen.row())
        if box is None or not box.text:
            return None
        sent = [message.wire for message in self._session.folder.messages() if message.attempted is not None]
        return box.text if any(dialogs.holds(box, text) for text in sent) else None


def _report(session: Session) -> None:
    """Store the report that Claude does not write: it puts a prompt back only if the turn ended before any output.

    Without it, all readers would have to wait until no other evidence can arrive. Nothing is stored if Claude has more
    prompts in its queue, because one of them may be running already.
    """
    marks = [fact for fact in hooks.facts(hooks.reports(session)) if fact.kind in _MARKS]
    probe = observe.look(session)
    alone = len(marks) > 1 and marks[-1].kind == "accepted" and marks[-2].kind != "accepted"
    at = probe.now if probe.activity is None else probe.since
    if alone and probe.activity in ("idle", None) and at > marks[-1].at:
        content = json.dumps({"type": hooks.GIVEN_BACK, "prompt_id": marks[-1].prompt}).encode()
        deliver.keep(session, Payload(f"given-back-{int(at * 1000)}.json", at, content))
