"""Delivers a message into Claude Code's input box, completely and once.

The receipt is Claude's own report (UserPromptSubmit) of a prompt equal to ours; without hooks, it is the transcript.
The screen only guides our keys: text is pasted into an empty box, and Enter is pressed only while the box shows our
text. A key pressed in a dialog would answer it. (Claude Code 2.1.221 to 2.1.332, tmux 3.3a.)
"""

from __future__ import annotations

import json
import os
import re
import time
import unicodedata
from contextlib import suppress

from ...errors import DeliveryFailed, DeliveryUnknown, DevSessionsError, UsageError, WaitingForInput
from ...state.folder import Payload
from ...system import files
from ...system.waiting import Watcher
from ..base import Wire
from . import dialogs, hooks, transcript, version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...terminal.screen import Screen
    from ..base import Delivery, Session

# Longer texts, and those with more pieces, are sent as a file: Claude needs about 5 s for 1000 pastes, and the box
# becomes taller than the screen.
_TERMINAL_LIMIT, _PIECES = 20_000, 1000
# A single paste with more than 2 line feeds, or of 700 to 802 characters, reaches the model marked as pasted content.
_PIECE = 600
# Whole messages that end Claude: exit, quit and the editor commands; Claude recognises :q, :q!, :wq and :wq!.
_ENDS = re.compile(r"exit|quit|:\S*", re.IGNORECASE)
# Words that make Claude mark the paste around them as pasted content (2.1.332).
_MARKING = ("pasted_content", "ultraplan")
# Places to split a text: before a line feed, and inside ".png" and "[I" (see `pieces`).
_SEAM = re.compile(r"(?=\n)|(?<=\.)(?=[\w\\])|(?<=\[)(?=[IO])")
_SHORT = re.compile(rf"(?s).{{1,{_PIECE}}}(?=[\s\w]|\Z)")
_SEAMLESS = re.compile(rf"[^\s\w]{{{_PIECE}}}")
# In a window of this many rows or fewer, Claude marks each pasted line feed as pasted content.
_LOW = 10
# How long to wait for a sign that Claude read Enter before checking again, and for the cursor to follow a key. Seconds.
_ENTER_AGAIN, _FOLLOW = 0.3, 1.0
# How long Claude may show no input box before a person must act; how long it may take to close its transcript view when
# we press the key; how long to clear the box after a failure. Seconds.
_STILL, _LEAVING, _TIDY = 2.0, 10.0, 3.0
# A menu that has just opened ignores keys for a moment; two Escapes in an empty box open another menu. Seconds.
_MENU_AGAIN = 1.0
_ZERO_WIDTH_JOINER = "\u200d"
# Invisible characters and marks, which Claude drops (2.1.330).
_DROPPED = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"

# Joiners and variation selectors are dropped outside emoji. `_PICTURE`: the part of Extended_Pictographic in use.
_JOINING = re.compile("[\ufe00-\ufe0f\u200d]")
_PICTURE = (
    "[\U0001f300-\U0001f3fa\U0001f400-\U0001faff\u2600\u2601\u260e\u2611\u2620\u2639\u263a\u2640\u2642\u2665\u2695"
    "\u2696\u2699\u26a0\u26a1\u2708\u2709\u270c\u270d\u270f\u2714\u2716\u2728\u2744\u274c\u2753\u2757\u2764\u2b50]"
)
_TONE = "(?:\ufe0f|[\U0001f3fb-\U0001f3ff])?"
_EMOJI = re.compile(f"{_PICTURE}{_TONE}(?:\u200d{_PICTURE}{_TONE})*")


def wire(text: str, path: str) -> Wire:
    """How `text` is sent: typed if the terminal accepts it unchanged, else as a line that points to the file `path`."""
    typed = text.rstrip()
    if len(typed) <= _TERMINAL_LIMIT and _survives(typed) and len(pieces(typed)) <= _PIECES:
        return Wire("terminal", typed)
    pointer = f"[dev-sessions] Your message is in the file {path} - read all of it and act on it as if it stood here."
    if not _survives(pointer):
        raise UsageError(
            f"Claude's input box would alter the path {path!r}, which this message has to point to",
            next="set DEV_SESSIONS_HOME to a folder with a plainer name",
        )
    return Wire("file", pointer)


def _survives(text: str) -> bool:
    """True if Claude's input box accepts `text` unchanged.

    The box runs a text that begins with "/" or "!", quits at "exit", expands tabs, turns CR into LF, drops control and
    format characters, drops joiners and variation selectors outside emoji, normalises text to NFC, and puts tags around
    pasted text.
    """
    if text.lstrip().startswith(("/", "!")) or _ENDS.fullmatch(text.strip()) or _SEAMLESS.search(text):
        return False
    if any(word in text.lower() for word in _MARKING):
        return False
    if not text.isascii() and _JOINING.search(_EMOJI.sub("", text)):
        return False
    return unicodedata.is_normalized("NFC", text) and not any(
        sign in _INVISIBLE or sign >= "\U000e0000" or unicodedata.category(sign) in _DROPPED
        for sign in set(text) - {"\n", _ZERO_WIDTH_JOINER}
    )


def pieces(text: str) -> list[str]:
    """`text` as pastes that Claude reads as plain text (2.1.221 to 2.1.332).

    Each has at most `_PIECE` characters and one line feed, because a larger one would be marked as pasted content. The
    line feed comes first, so that no paste begins with "!", which would start shell mode. No paste contains a dot
    followed by a word: Claude replaces a paste in which a path ends in ".png" (or another ending on its list) by the
    image, or inserts it late, after the next pastes. None ends in "[I" or "[O", which Claude cuts off as focus reports
    of the terminal. The last one ends with a blank, which Claude trims: without it a trailing backslash would turn our
    Enter into a line feed, and a trailing "@" would open a menu.
    """
    return [piece for part in _SEAM.split(f"{text} ") for piece in _SHORT.findall(part)]


def clear(screen: Screen, text: str) -> None:
    """Remove `text` from the input box with Ctrl+U.

    Unlike Escape and Ctrl+C, Ctrl+U has no effect on a running turn or an empty box; two Ctrl+C within a second end
    Claude (2.1.330). It deletes what is before the cursor, which must be in the last line.
    """
    screen.keys("C-e")
    for _ in range(2 * len(text.splitlines()) + 2):
        screen.keys("C-u")


def deliver(session: Session, screen: Screen, delivery: Delivery) -> None:
    """Deliver a message; see `base.Backend.deliver`."""
    with Watcher() as watcher:
        watcher.watch_descriptor(screen.descriptor)
        watcher.watch_path(session.folder.facts_path)
        _Attempt(session, screen, delivery, watcher).run()


class _Attempt:
    """One attempt to deliver a message."""

    def __init__(self, session: Session, screen: Screen, delivery: Delivery, watcher: Watcher) -> None:
        self._session, self._screen, self._delivery, self._watcher = session, screen, delivery, watcher
        self._text = delivery.message.wire
        self._deadline = time.monotonic() + delivery.timeout
        self._begun = delivery.message.attempted or time.time()
        # `_stashed`: a draft was stashed; `_emptied`: the box was empty before our text.
        self._stashed = self._emptied = False

    def run(self) -> None:
        box = self._box()
        if self._delivery.message.attempted is None or dialogs.holds(box, self._text):
            # If this is a second attempt and the text is still in the box, only Enter is missing.
            if not dialogs.holds(box, self._text):
                self._write()
            if self._delivery.message.attempted is None:
                self._begun = time.time()
                self._delivery.attempt()
        self._submit()

    def _box(self) -> dialogs.Box:
        """The content of the input box; waits until there is a box.

        Raises:
            WaitingForInput: something else receives the keys, and a person must close it.
        """
        id, until, left, pressed = self._session.id, time.monotonic() + _STILL, False, 0.0
        while (box := dialogs.input_box(screen := self._screen.capture(), self._screen.row())) is None:
            menu = dialogs.is_limit_menu(screen)
            if (dialogs.is_dialog(screen) and not menu) or time.monotonic() >= until:
                raise WaitingForInput(
                    f"{id} does not show its input box; nothing was sent. It shows:\n{dialogs.shown(screen)}",
                    next=f"dev-sessions respond {id} --key Escape, or dev-sessions attach {id}",
                )
            if dialogs.is_transcript(screen) and not left:
                until, left = time.monotonic() + _LEAVING, True
                self._delivery.say(f"left the view of the transcript in {id}")
                self._screen.keys(dialogs.TRANSCRIPT_KEY)
            if menu and time.monotonic() - pressed >= _MENU_AGAIN:
                if not pressed:
                    until = time.monotonic() + _LEAVING
                    self._delivery.say(f"closed the choices that Claude offered in {id} at a usage limit")
                self._screen.keys("Escape", exactly=True)
                pressed = time.monotonic()
            self._wait(until - time.monotonic())
        return box

    def _write(self) -> None:
        """Put our text into the box, or leave the box unchanged.

        A person's draft is stashed: Claude restores it after our message is submitted.
        """
        if "\n" in self._text and (rows := self._screen.height()) <= _LOW:
            raise DeliveryFailed(
                f"the terminal of {self._session.id} has only {rows} rows, where Claude marks lines as pasted from "
                "elsewhere; nothing was sent",
                next=f"enlarge or detach the terminal that shows {self._session.id}, or send one line",
            )
        try:
            self._make_room()
            self._emptied = True
            self._paste()
        except BaseException:
            with suppress(DevSessionsError):
                self._tidy()
            raise

    def _make_room(self) -> None:
        seen = None
        while (box := self._box()).text and not self._is_placeholder():
            if box != seen and (seen is None or box.text == "!"):
                seen = box
                self._empty(box)
            elif not self._wait(1.0):
                raise self._failed("the input box does not get empty: is somebody typing?")

    def _is_placeholder(self) -> bool:
        return dialogs.only_placeholder(self._screen.capture(styled=True))

    def _empty(self, box: dialogs.Box) -> None:
        if box.text == "!":
            self._screen.keys("BSpace")  # leave shell mode, when nothing is typed in it
        elif self._left_by_us(box) and dialogs.is_last_row(self._screen.capture(), self._screen.row()):
            clear(self._screen, box.text)
        else:
            self._delivery.say(f"stashed the draft in the input box of {self._session.id}; it will be restored")
            self._screen.keys("C-s")
            self._stashed = True

    def _tidy(self) -> None:
        """Remove our text from the box, and restore the stashed draft.

        A person can press Ctrl+Y to restore what they typed meanwhile.
        """
        self._deadline = time.monotonic() + _TIDY
        while self._emptied and (box := self._box()).text and not self._is_placeholder():
            clear(self._screen, box.text)
            if not self._wait(1.0):
                break
        if self._stashed and not self._box().text:
            self._screen.keys("C-s")

    def _left_by_us(self, box: dialogs.Box) -> bool:
        """True if the box contains messages that an interrupt, or an interrupted command of ours, left there."""
        rest = shown = dialogs.squeezed(box.text)
        messages = self._session.folder.messages()
        texts = [dialogs.squeezed(message.wire) for message in messages if not message.queued or message.attempted]
        while whole := next((text for text in texts if text and rest.startswith(text)), ""):
            rest = rest[len(whole) :]
        return bool(shown) and any(text.startswith(rest) for text in texts)

    def _paste(self) -> None:
        """Paste our text into the empty box."""
        self._put()
        while not dialogs.holds(box := self._box(), self._text):
            if not dialogs.shows_part(box, self._text) and self._left_by_us(box):
                # A slow Claude has only now read the paste of an earlier sender.
                self._make_room()
                self._put()
            elif not self._wait(1.0):
                raise self._failed("the message did not appear in the input box as it is")

    def _put(self) -> None:
        script = os.path.join(self._session.folder.agent_path, "paste.tmux")
        try:
            self._screen.paste(f"dev-{self._session.id}", pieces(self._text), script)
        finally:
            files.remove(script)

    def _submit(self) -> None:
        """Press Enter while the box shows our text, until there is a receipt."""
        pressed: float | None = None
        while True:
            # If no hook has reported for a while after Enter, look in Claude's queue.
            late = pressed is not None and time.monotonic() - pressed >= _ENTER_AGAIN
            if received(self._session, self._text, self._begun, ask_queue=late):
                return
            if self._shows_ours() and (pressed is None or self._enter_was_lost(pressed)):
                self._screen.keys("Enter")
                pressed = time.monotonic()
            if not self._wait(_ENTER_AGAIN):
                raise self._unconfirmed()

    def _shows_ours(self) -> bool:
        return dialogs.holds(dialogs.input_box(self._screen.capture(), self._screen.row()), self._text)

    def _enter_was_lost(self, pressed: float) -> bool:
        """True if Claude has read a key pressed after our Enter, and the text is still in the box.

        A slow Claude shows the text for a while after Enter. A second Enter pressed too early would submit the restored
        draft, or answer a dialog. Claude reads keys in order: once the cursor has followed a later key, Claude has read
        the Enter before it.
        """
        if time.monotonic() - pressed < _ENTER_AGAIN:
            return False
        before = self._screen.cursor()
        self._screen.keys("C-a")  # has no effect in an empty box, where the arrow keys open menus
        until = time.monotonic() + _FOLLOW
        while (moved := self._screen.cursor()) == before and time.monotonic() < until:
            self._wait(_FOLLOW)
        self._screen.keys("C-e")
        return moved != before and self._shows_ours()

    def _wait(self, seconds: float) -> bool:
        """Wait for a change, at most `seconds`; return False once the delivery's time is over."""
        left = self._deadline - time.monotonic()
        self._watcher.wait(min(seconds, left))
        self._screen.drain()
        return left > 0

    def _unconfirmed(self) -> DeliveryUnknown:
        id, message = self._session.id, self._delivery.message
        reported = bool(hooks.facts(hooks.reports(self._session)))
        missed = "has not reported the prompt (hook UserPromptSubmit)" if reported else "has run none of our hooks"
        return DeliveryUnknown(
            f"no receipt from {id} for message {message.number} within {self._delivery.timeout:g} s: "
            f"{version.name(self._session)} {missed}, and its transcript does not show it. "
            f"Its screen shows:\n{dialogs.shown(self._screen.capture())}",
            next=f"dev-sessions status {id}; the same --request-id {message.request_id} again never delivers twice",
            session=id,
            turn=message.number,
            request_id=message.request_id,
        )

    def _failed(self, why: str) -> DeliveryFailed:
        shown = dialogs.shown(self._screen.capture())
        return DeliveryFailed(
            f"{why}; nothing was sent to {self._session.id}. Its screen shows:\n{shown}",
            next=f"dev-sessions attach {self._session.id}",
        )


def received(session: Session, text: str, since: float, ask_queue: bool = True) -> bool:
    """True if Claude has reported, since that time, that it accepted the prompt `text`.

    Args:
        ask_queue: also look in the queue, for a Claude that reports a prompt only when its turn begins.
    """
    reports = hooks.reports(session)
    facts = hooks.facts(reports)
    if any(fact.kind == "accepted" and fact.at >= since and fact.text == text for fact in facts):
        return True
    if facts and not ask_queue:
        return False
    path = transcript.find(session, reports)
    entries = transcript.since(path, since - 1.0) if path else []
    if facts:
        return any(_queued(session, entry, text, since) for entry in entries)
    found = transcript.facts(entries)
    return any(fact.kind == "accepted" and fact.text == text and fact.at >= since - 0.5 for fact in found)


def _queued(session: Session, entry: dict[str, Any], text: str, since: float) -> bool:
    """True if this line of the transcript shows that the prompt was queued; it is then stored as the missing report.

    In 2.1.221, no hook reports a prompt that Claude accepts while a turn is running.
    """
    at = transcript.stamp(entry)
    payload = Payload(f"queued-{int(at * 1000)}.json", at, json.dumps(entry).encode())
    fact = hooks.fact(payload, entry) if entry.get("type") == "queue-operation" else None
    if fact is None or fact.text != text or at < since - 0.001:
        return False
    keep(session, payload)
    return True


def keep(session: Session, payload: Payload) -> None:
    """Store something that Claude has shown in another way as one of its reports."""
    staged = os.path.join(session.folder.agent_path, payload.name)
    files.write_whole(staged, payload.content)
    os.utime(staged, (payload.at, payload.at))
    os.rename(staged, os.path.join(session.folder.facts_path, payload.name))
