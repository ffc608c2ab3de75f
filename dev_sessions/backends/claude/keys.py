"""The keys that do what we press them for, in a Claude Code whose user has bound them anew (`keybindings.json`).

As of 2.1.150 to 2.1.332 it cannot be told to leave that file aside, and reads it again when it changes. The last
binding of a key counts, in the contexts of the input box. Enter submits unless it is bound to something else, and then
only another key may submit; a key that is unbound (null) has no action, but still edits the text.
"""

from __future__ import annotations

import os
import re

from ...errors import DeliveryFailed, DevSessionsError, LaunchFailed
from . import container_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# What we press, by tmux's name: Claude's name of the key, its action (None: it edits the text), and what to say of it.
_OURS: dict[str, tuple[str, str | None, str]] = {
    "Enter": ("enter", "chat:submit", "submits a message (chat:submit)"),
    "C-s": ("ctrl+s", "chat:stash", "sets a draft aside (chat:stash)"),
    "Escape": ("escape", "chat:cancel", "ends a turn (chat:cancel)"),
    "C-u": ("ctrl+u", None, "clears a line (ctrl+u)"),
    "C-a": ("ctrl+a", None, "goes to the beginning of a line (ctrl+a or home)"),
    "C-e": ("ctrl+e", None, "goes to the end of a line (ctrl+e or end)"),
    "BSpace": ("backspace", None, "deletes a character (backspace)"),
    "C-o": ("ctrl+o", "app:toggleTranscript", "leaves the view of the transcript (app:toggleTranscript)"),
}
# Where nothing leaves it, nothing opens it either.
_OPTIONAL = ("C-o",)
_INSTEAD = {"C-a": ("Home", "home"), "C-e": ("End", "end")}
_CONTEXTS = ("Chat", "Global")
_ALIASES = {"control": "ctrl", "alt": "meta", "opt": "meta", "option": "meta", "return": "enter", "esc": "escape"}
# Those that a terminal can tell from others (tried): not Ctrl with h, i, j, m, not Shift or Ctrl with Enter, no F5.
_SENDABLE = re.compile(r"ctrl\+[abefgklnopqrstuvwxy]|meta\+(?:[a-z]|enter)|tab|escape|enter")
_TMUX_NAMES = {"tab": "Tab", "escape": "Escape", "enter": "Enter"}

Bound = dict[str, "str | None"]


def path_in(folder: str) -> str:
    """The file of key bindings of a Claude with that configuration folder."""
    return os.path.join(folder, "keybindings.json")


def pressed(folder: str) -> dict[str, tuple[str, ...]]:
    """What to press in the place of which key of ours, by tmux's names; keys that are as they were are left out.

    Raises:
        DeliveryFailed: some of them are bound to something else, and no other key does what they did.
    """
    found, missing = _read(folder)
    if missing:
        trouble, remedy = _trouble(folder, missing)
        raise DeliveryFailed(f"{trouble}; nothing was pressed", next=remedy)
    return found


def refuse_unusable(folder: str) -> None:
    """Raises:
    LaunchFailed: a Claude with that configuration could not be given messages.
    """
    _, missing = _read(folder)
    if missing:
        trouble, remedy = _trouble(folder, missing)
        raise LaunchFailed(trouble, next=remedy)


def troubles(folder: str) -> list[tuple[str, str]]:
    """What `doctor` says of the file, each with its remedy."""
    _, missing = _read(folder)
    return [_trouble(folder, missing)] if missing else []


def _trouble(folder: str, missing: list[str]) -> tuple[str, str]:
    what = ", and none that ".join(_OURS[name][2] for name in missing)
    where = path_in(folder)
    remedy = f"give it a key in {where} that a terminal can send (as meta+enter or ctrl+q), in the context Chat"
    return f"{where} leaves no key that {what}", f"{remedy}; or start agents with another CLAUDE_CONFIG_DIR"


def _read(folder: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The keys that take the place of ours, and those of ours that none can take the place of."""
    try:
        bound = dict(_bindings(container_files.read_json(path_in(folder))))
    except (OSError, DevSessionsError):
        return {}, []
    found, missing = {}, []
    begin_chords = {key.partition(" ")[0] for key, action in bound.items() if " " in key and action is not None}
    for ours, (key, action, _) in _OURS.items():
        if _is_as_it_was(key, action, bound) and key not in begin_chords:
            continue
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


def _is_as_it_was(key: str, action: str | None, bound: Mapping[str, str | None]) -> bool:
    if key not in bound:
        return True
    return bound[key] == action or (bound[key] is None and key == "enter")


def _bindings(content: Any) -> Iterator[tuple[str, str | None]]:
    """Each key with its action, in the order in which they count; nothing of a file that Claude would not take."""
    blocks = content.get("bindings") if isinstance(content, dict) else None
    for block in blocks if isinstance(blocks, list) else ():
        bindings = block.get("bindings") if isinstance(block, dict) and block.get("context") in _CONTEXTS else None
        for key, action in bindings.items() if isinstance(bindings, dict) else ():
            if action is None or isinstance(action, str):
                yield " ".join(map(_normal, str(key).lower().split())), action


def _normal(key: str) -> str:
    """One key press: its modifiers in one order, by their first names."""
    *modifiers, last = (_ALIASES.get(word, word) for word in key.split("+"))
    return "+".join([*sorted(modifiers), last])


def _sent(key: str) -> tuple[str, ...] | None:
    """A key, or a chord of several, by tmux's names; None if a terminal cannot send it."""
    presses = key.split(" ")
    if not all(map(_SENDABLE.fullmatch, presses)):
        return None
    return tuple(_tmux_name(press) for press in presses)


def _tmux_name(press: str) -> str:
    modifier, _, last = press.rpartition("+")
    return {"": "", "ctrl": "C-", "meta": "M-"}[modifier] + _TMUX_NAMES.get(last, last)
