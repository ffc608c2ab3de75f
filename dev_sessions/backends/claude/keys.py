"""Presses keys in Claude Code: handles the user's own key bindings, dialogs, and an agent suspended by Ctrl-Z.

As of 2.1.221 to 2.1.332, Claude cannot be made to ignore the user's `keybindings.json`, and rereads it when it changes.
Among the contexts of the input box, the last binding of a key counts. Enter submits unless it is bound to something
else; then only another key may submit. A key that is unbound (null) has no action, but still edits the text.
"""

from __future__ import annotations

import os
import re
import signal
import termios
import time

from ...errors import DeliveryFailed, DevSessionsError, LaunchFailed, QuestionGone, UsageError
from ...system import processes
from ...system.waiting import Watcher
from ...turns import ASK_GRACE, WAITING_ACTIVITY
from . import container, dialogs, observe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...model import Question
    from ...terminal.screen import Screen
    from ..base import Session

# The keys that we press, by tmux's name: Claude's name of the key, its action (None: it edits the text), a description.
_OURS: dict[str, tuple[str, str | None, str]] = {
    "Enter": ("enter", "chat:submit", "submits a message (chat:submit)"),
    "C-s": ("ctrl+s", "chat:stash", "stashes a draft (chat:stash)"),
    "Escape": ("escape", "chat:cancel", "ends a turn (chat:cancel)"),
    "C-u": ("ctrl+u", None, "clears a line (ctrl+u)"),
    "C-a": ("ctrl+a", None, "goes to the beginning of a line (ctrl+a or home)"),
    "C-e": ("ctrl+e", None, "goes to the end of a line (ctrl+e or end)"),
    "BSpace": ("backspace", None, "deletes a character (backspace)"),
    "C-o": ("ctrl+o", "app:toggleTranscript", "leaves the view of the transcript (app:toggleTranscript)"),
}
# If no key closes the transcript, no key opens it either.
_OPTIONAL = ("C-o",)
_INSTEAD = {"C-a": ("Home", "home"), "C-e": ("End", "end")}
_CONTEXTS = ("Chat", "Global")
_ALIASES = {"control": "ctrl", "alt": "meta", "opt": "meta", "option": "meta", "return": "enter", "esc": "escape"}
# Keys that a terminal can distinguish (tested): not Ctrl with h, i, j or m, not Shift or Ctrl with Enter, not F5.
_SENDABLE = re.compile(r"ctrl\+[abefgklnopqrstuvwxy]|meta\+(?:[a-z]|enter)|tab|escape|enter")
_TMUX_NAMES = {"tab": "Tab", "escape": "Escape", "enter": "Enter"}

_DIALOG_KEY = re.compile(r"[0-9A-Za-z]|Enter|Escape|Tab|BTab|Space|BSpace|Up|Down|Left|Right")
# How long the screen may take to follow a key; a dialog that has just opened ignores keys for about 0.2 s. Seconds.
_FOLLOWS = 2.0
# How long a suspended Claude may take to take over its terminal again. Seconds.
_AWAKE = 5.0


def pressed(folder: str) -> dict[str, tuple[str, ...]]:
    """The keys to press instead of ours, by tmux's names, for a Claude with that configuration folder.

    Raises:
        DeliveryFailed: one of ours is bound to something else, and no other key has its action.
    """
    found, missing = _read(folder)
    if missing:
        trouble, remedy = _trouble(folder, missing)
        raise DeliveryFailed(f"{trouble}; nothing was pressed", next=remedy)
    return found


def refuse_unusable(folder: str) -> None:
    """Refuse key bindings with which Claude could not receive messages.

    Raises:
        LaunchFailed: the folder has such bindings.
    """
    for trouble, remedy in troubles(folder):
        raise LaunchFailed(trouble, next=remedy)


def troubles(folder: str) -> list[tuple[str, str]]:
    """The problems with the user's key bindings, each with its fix, for `doctor`."""
    _, missing = _read(folder)
    return [_trouble(folder, missing)] if missing else []


def _trouble(folder: str, missing: list[str]) -> tuple[str, str]:
    what = ", and none that ".join(_OURS[name][2] for name in missing)
    path = _path(folder)
    remedy = f"give it a key in {path} that a terminal can send (as meta+enter or ctrl+q), in the context Chat"
    return f"{path} leaves no key that {what}", f"{remedy}; or start agents with another CLAUDE_CONFIG_DIR"


def _path(folder: str) -> str:
    return os.path.join(folder, "keybindings.json")


def _read(folder: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The keys to press instead of ours, and those of ours that have no replacement."""
    try:
        bound = dict(_bindings(container.read_json(_path(folder))))
    except (OSError, DevSessionsError):
        return {}, []
    found, missing = {}, []
    begin_chords = {key.partition(" ")[0] for key, action in bound.items() if " " in key and action is not None}
    for ours, (key, action, _) in _OURS.items():
        does = bound.get(key, action)
        if key not in begin_chords and (does == action or (does is None and key == "enter")):
            continue  # it has its default binding
        others = [other for other, does in bound.items() if action and does == action]
        names = [sent for other in others if other not in begin_chords and (sent := _sent(other))]
        name, instead = _INSTEAD.get(ours, ("", ""))
        if name and bound.get(instead) is None and instead not in begin_chords:
            names = [(name,)]
        if names:
            found[ours] = names[-1]
        elif ours not in _OPTIONAL:
            missing.append(ours)
    return found, missing


def _bindings(content: Any) -> Iterator[tuple[str, str | None]]:
    """Each key with its action, in the order in which they count; nothing if Claude would not accept the file."""
    blocks = content.get("bindings") if isinstance(content, dict) else None
    for block in blocks if isinstance(blocks, list) else ():
        bindings = block.get("bindings") if isinstance(block, dict) and block.get("context") in _CONTEXTS else None
        for key, action in bindings.items() if isinstance(bindings, dict) else ():
            if action is None or isinstance(action, str):
                yield " ".join(map(_normal, str(key).lower().split())), action


def _normal(key: str) -> str:
    """One key press in a normal form: its modifiers in one order, by their first names."""
    *modifiers, last = (_ALIASES.get(word, word) for word in key.split("+"))
    return "+".join([*sorted(modifiers), last])


def _sent(key: str) -> tuple[str, ...] | None:
    """A key, or a chord of several keys, by tmux's names; None if a terminal cannot send it."""
    names = []
    for press in key.split(" "):
        if not _SENDABLE.fullmatch(press):
            return None
        modifier, _, last = press.rpartition("+")
        names.append({"": "", "ctrl": "C-", "meta": "M-"}[modifier] + _TMUX_NAMES.get(last, last))
    return tuple(names)


def press(session: Session, screen: Screen, question: Question, key: str) -> str:
    """Press one key in a dialog; see `base.PressesKeys.press`."""
    if not _DIALOG_KEY.fullmatch(key):
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
    until = time.monotonic() + ASK_GRACE  # for Claude to show that it no longer waits
    with Watcher() as watcher:
        watcher.watch(*observe.sources(session))
        while time.monotonic() < until:
            probe = observe.look(session)
            if probe.activity != WAITING_ACTIVITY or probe.since > question.since + ASK_GRACE:
                break
            watcher.wait(until - time.monotonic())
    return dialogs.shown(screen.capture())


def continue_suspended(session: Session, screen: Screen) -> None:
    """Continue a Claude that a person has suspended with Ctrl-Z. Called before any key is pressed, under the lock.

    Its process does not stop, because a pane's program has no shell as its parent: Claude releases the terminal, in
    the mode for a shell, and reads no key until SIGCONT (2.1.221 to 2.1.332). That also continues a stopped process.
    """
    process = session.folder.process()
    if process is None or not _is_suspended(process[0]):
        return
    until = time.monotonic() + _AWAKE
    with Watcher() as watcher:
        watcher.watch_descriptor(screen.descriptor)
        processes.send_signal(*process, signal.SIGCONT)
        while _is_suspended(process[0]) and (left := until - time.monotonic()) > 0:
            watcher.wait(min(left, 0.2))
            screen.drain()


def _is_suspended(pid: int) -> bool:
    """True if that process is stopped, or its terminal is in line mode, as for a shell, and not in raw mode."""
    if processes.is_stopped(pid):
        return True
    try:
        descriptor = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(termios.tcgetattr(descriptor)[3] & termios.ICANON)
    except termios.error:  # not a terminal
        return False
    finally:
        os.close(descriptor)
