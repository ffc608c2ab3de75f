"""Keys for what stands on Claude Code's screen and is no question that it reports: looked at before and after."""

from __future__ import annotations

import re
import time

from ...errors import QuestionGone, UsageError
from ...model import IDLE, Question
from ...system.waiting import Watcher
from ...turns import ASK_GRACE, BUSY_ACTIVITY, WAITING_ACTIVITY
from . import dialogs, observe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...terminal.screen import Screen
    from ...terminal.tmux import Tmux
    from ..base import Observation, Session

_KEY = re.compile(r"[0-9A-Za-z]|Enter|Escape|Tab|BTab|Space|BSpace|Up|Down|Left|Right")
# How long the screen may take to follow a key; a dialog that has just come ignores them for some 0.2 s. Seconds.
_FOLLOWS = 2.0


def press(session: Session, screen: Screen, question: Question, key: str) -> str:
    """Press one key on a dialog; see `base.PressesKeys.press`."""
    if not _KEY.fullmatch(key):
        raise UsageError(
            f"no key called {key!r}", next="a letter, a digit, Enter, Escape, Tab, Space, Up, Down, Left or Right"
        )
    before = screen.capture()
    if dialogs.input_box(before, screen.row()) is not None:
        raise QuestionGone(
            f"{session.id} shows its input box; no key was pressed. It shows:\n{dialogs.shown(before)}",
            next=f"dev-sessions attach {session.id}",
        )
    until = time.monotonic() + _FOLLOWS
    with Watcher() as watcher:
        watcher.watch_descriptor(screen.descriptor)
        screen.keys(key)
        while (after := screen.capture()) == before and time.monotonic() < until:
            watcher.wait(until - time.monotonic())
            screen.drain()
    if after == before:
        raise QuestionGone(
            f"the key {key} has changed nothing on the screen of {session.id}:\n{dialogs.shown(after)}",
            next=f"dev-sessions attach {session.id}",
        )
    _settle(session, question)
    return dialogs.shown(screen.capture())


def _settle(session: Session, question: Question) -> None:
    """Give Claude a moment to say that it waits no more."""
    until = time.monotonic() + ASK_GRACE
    with Watcher() as watcher:
        watcher.watch(*observe.sources(session))
        while time.monotonic() < until:
            probe = observe.look(session)
            if probe.activity != WAITING_ACTIVITY or probe.since > question.since + ASK_GRACE:
                return
            watcher.wait(until - time.monotonic())


def with_screen(session: Session, seen: Observation, tmux: Tmux) -> Observation:
    """What was seen, with the screen's text in the place of a dialog of which nothing but its being there is known.

    The menu that Claude shows at a usage limit is none that anybody has to answer.
    """
    probe, question = seen.probe, seen.probe.question
    if question is None or question.kind != "dialog" or session.folder.notice() is not None:
        return seen
    answered = {fact.text for fact in seen.facts if fact.kind == "answered"}
    told = (fact for fact in reversed(seen.facts) if fact.question is None or fact.question.id not in answered)
    last = next((fact.kind for fact in told if fact.kind in ("asked", "ended", "accepted")), None)
    fresh = probe.now - probe.since <= ASK_GRACE
    if last == "asked" or (fresh and last != "ended"):
        return seen
    target = session.private.get("pane") or f"={observe.pane_name(session)}:"
    screen = tmux.run("capture-pane", "-p", "-t", target, check=False)
    if dialogs.is_limit_menu(screen):
        # Our settings have answered it, and the next delivery closes it. The report of the end may still come.
        return seen._replace(probe=probe._replace(activity=IDLE if last == "ended" else BUSY_ACTIVITY, question=None))
    if fresh:
        return seen
    options = tuple(option.text for option in dialogs.options(screen))
    whole = question._replace(text=f"{question.text}:\n{dialogs.shown(screen)}", options=options)
    return seen._replace(probe=probe._replace(question=whole))
