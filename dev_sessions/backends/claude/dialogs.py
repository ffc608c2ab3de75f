"""Claude Code's input box and dialogs, recognised on its screen. Pure functions over the text of a capture.

Used only where Claude offers no event: before its first hook, and for the input box. As of 2.1.221 to 2.1.332, with the
classic renderer, the box is between two rules, and the upper rule may end with the session's name. Its first line
begins with the prompt sign in the first column, the next ones with two blanks, and the cursor is in it. In a dialog,
the same sign, indented, marks the selected option.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_RULE = re.compile(r"^[─━]{3,}")
_RULE_SIGNS = ("─", "━")
_PROMPT_SIGN = "❯"
_PROMPT_SIGNS = (_PROMPT_SIGN, "!")
_LIMIT_COMMAND = f"{_PROMPT_SIGN} /rate-limit-options"
_PLACEHOLDERS = ("Press up to edit queued messages",)
_SELECTED = re.compile(r"^\s+❯\s|^❯ \d+\.")
_OPTION = re.compile(r"^\s*(❯)?\s*(?:\d+\.\s+)?(\S.*?)\s*$")
# 2.1.221 shows this instead of the middle of a text of more than 10,000 characters (here without blanks).
_TRUNCATED = re.compile(r"\[\.\.\.Truncatedtext#\d+\+\d+lines\.\.\.\]")
# Shown below the last rule while the whole transcript is shown instead of the box; and the key that closes it.
_TRANSCRIPT = re.compile(r"^[─━]{3,}\n\s+Showing detailed transcript · ctrl\+o to toggle\b", re.MULTILINE)
TRANSCRIPT_KEY = "C-o"
_HINT = re.compile(r"Esc to (cancel|exit)|Enter to (confirm|select)|↑/↓", re.IGNORECASE)


class Known(NamedTuple):
    """A dialog with a known right answer for an unattended session.

    Attributes:
        sign: words that appear only in this dialog.
        answer: the beginning of the option to choose.
        said: the message for the user.
        trust: it asks whether the folder is trusted.
    """

    sign: str
    answer: str
    said: str
    trust: bool = False


# The default of some of these dialogs is "No, exit": the answer is selected, checked, and only then confirmed.
KNOWN = (
    Known("Yes, I trust this folder", "Yes, I trust", "accepted Claude's trust dialog for {path}", trust=True),
    Known("Bypass Permissions mode", "Yes, I accept", "accepted Claude's warning about bypassing permissions"),
    Known(
        "New MCP server",
        "Continue without",
        "declined the MCP servers of the project; Claude notes that in its .claude/settings.local.json",
    ),
    Known(
        "external CLAUDE.md file imports",
        "No, disable",
        "declined imports of CLAUDE.md from outside {path}; to allow them, answer Claude's question by hand once",
    ),
    Known("fullscreen renderer", "Not now", "declined Claude's offer of the full-screen renderer"),
)
_DECLINING = ("Not now", "No thanks", "No, thanks", "Maybe later", "Skip", "Dismiss")


class Option(NamedTuple):
    text: str
    selected: bool


class Box(NamedTuple):
    """The input box: its text, and whether all of it is on the screen (a box can be taller than the screen).

    In shell mode the text begins with "!", which replaces the prompt sign.
    """

    text: str
    whole: bool


def input_box(screen: str, row: int | None = None) -> Box | None:
    """The input box, or None if none is shown.

    Args:
        row: the cursor's, counted from 0 at the top: only a box that contains the cursor receives keys. None: the last
            box on the screen, wherever the cursor is.
    """
    lines = screen.split("\n")
    rules = [index for index, line in enumerate(lines) if _RULE.fullmatch(line)]
    bottom = next((rule for rule in rules if rule > row), None) if row is not None else next(reversed(rules), None)
    if bottom is None:
        return None
    top = bottom - 1
    while top >= 0 and not lines[top].startswith(_PROMPT_SIGNS):
        if lines[top] and not lines[top].startswith("  "):
            return None
        top -= 1
    if row is not None and row < top:
        return None
    content = lines[max(top, 0) : bottom]
    if top < 0:
        # The first line may have scrolled off the screen. A dialog looks similar, but has options below.
        is_dialog = any(_SELECTED.match(line) for line in lines[bottom + 1 :])
        return Box(_text(content), False) if any(map(str.strip, content)) and not is_dialog else None
    if top > 0 and not lines[top - 1].endswith(_RULE_SIGNS):
        return None
    content[0] = content[0].removeprefix(_PROMPT_SIGN)
    return Box(_text(content), True)


def is_last_row(screen: str, row: int) -> bool:
    """True if this is the last row of the input box: the next one is the rule below it."""
    below = screen.split("\n")[row + 1 : row + 2]
    return bool(below) and _RULE.fullmatch(below[0]) is not None


def _text(content: list[str]) -> str:
    text = "\n".join(content).replace("\xa0", " ").strip()
    return "" if text in _PLACEHOLDERS else text


def only_placeholder(styled: str) -> bool:
    """True if the input box contains only a suggestion from Claude: dim except for the character at the cursor.

    Args:
        styled: a capture with its colour sequences.
    """
    lines = styled.split("\n")
    plain_lines = [_STYLE.sub("", line) for line in lines]
    rules = [index for index, line in enumerate(plain_lines) if _RULE.fullmatch(line)]
    if not rules:
        return False
    first = next((index for index in reversed(range(rules[-1])) if plain_lines[index].startswith(_PROMPT_SIGN)), None)
    if first is None:
        return False
    bright = _without_blanks(_bright(line) for line in lines[first : rules[-1]])
    return len(bright) <= 1 and len(bright) < len(_without_blanks(plain_lines[first : rules[-1]]))


def _without_blanks(lines: Iterable[str]) -> str:
    return "".join("".join(lines).removeprefix(_PROMPT_SIGN).split())


_STYLE = re.compile(r"\x1b\[([0-9;:]*)m")


def _bright(line: str) -> str:
    """The parts of a styled line that are not dim (SGR 2, until 22 or 0)."""
    dim, kept = False, ""
    for index, piece in enumerate(_STYLE.split(line)):
        if index % 2 == 0:
            kept += "" if dim else piece
        elif piece in ("", "0", "22") or piece.startswith("0;"):
            dim = piece.endswith(";2")
        elif piece == "2" or piece.startswith("2;") or piece.endswith(";2"):
            dim = True
    return kept


def squeezed(text: str) -> str:
    """The letters, digits and ASCII signs of a text: a terminal may wrap or pad everything else, or not show it."""
    return "".join(sign for sign in text if sign.isalnum() or (sign.isascii() and sign.isprintable() and sign != " "))


def holds(box: Box | None, text: str) -> bool:
    """True if the input box contains `text` and nothing else, as far as its content is visible."""
    if box is None:
        return False
    shown, wanted = squeezed(box.text), squeezed(text)
    if not wanted:
        return bool(box.text)
    first, *others = _TRUNCATED.split(shown)
    if not others:
        return shown == wanted if box.whole else bool(shown) and wanted.endswith(shown)
    # The visible parts must follow each other in the text, from its beginning (if that is visible) to its end.
    at = 0
    for part in (first, *others[:-1]):
        found = wanted.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    last = others[-1]
    ends = bool(last) and wanted.endswith(last) and at + len(last) <= len(wanted)
    return ends and (not box.whole or wanted.startswith(first))


def shows_part(box: Box, text: str) -> bool:
    """True if the input box contains only a part of `text`, as while Claude is still reading its paste.

    That part is the beginning; of a box that is not completely visible, it shows lines from anywhere in it.
    """
    shown, wanted = squeezed(box.text), squeezed(text)
    return wanted.startswith(shown) if box.whole else shown in wanted


def options(screen: str) -> list[Option]:
    """The options of a dialog, in order: the marked line, and the lines around it that begin in the same column."""
    lines = [line for line in screen.split("\n") if line.strip() and not _RULE.match(line)]
    marked = next((index for index, line in enumerate(lines) if _SELECTED.match(line)), None)
    if marked is None:
        return []
    column = _column(lines[marked])
    before = takewhile(lambda line: _column(line) >= column, reversed(lines[:marked]))
    after = takewhile(lambda line: _column(line) >= column, lines[marked + 1 :])
    shown = [*reversed(list(before)), lines[marked], *after]
    # A line with a deeper indent describes the option above it.
    matches = [_OPTION.match(line) for line in shown if _column(line) == column and not _HINT.search(line)]
    return [Option(match[2], match[1] is not None) for match in matches if match]


def _column(line: str) -> int:
    return len(line) - len(line.lstrip(" ❯"))


def known(screen: str) -> Known | None:
    """The dialog on the screen, if we answer it: one in the table, or any that can simply be declined."""
    shown = options(screen)
    if not shown:
        return None
    text = " ".join(screen.split())
    for dialog in KNOWN:
        if dialog.sign in text and any(option.text.startswith(dialog.answer) for option in shown):
            return dialog
    for option in shown:
        if option.text.startswith(_DECLINING):
            return Known("", option.text, f"declined an offer of Claude's with {option.text!r}")
    return None


def is_limit_menu(screen: str) -> bool:
    """True if the screen shows the choices that Claude offers automatically at a usage limit (2.1.332).

    They are the output of a command, which Claude shows on the line above. Escape chooses the first: stop, and wait.
    """
    lines = [line.rstrip() for line in screen.split("\n") if line.strip()]
    echoes = [index for index, line in enumerate(lines) if line == _LIMIT_COMMAND]
    below = lines[echoes[-1] + 1 :] if echoes else []
    return bool(below) and bool(_RULE.match(below[0])) and is_dialog("\n".join(below))


def is_dialog(screen: str) -> bool:
    """True if the screen shows a choice."""
    return input_box(screen) is None and len(options(screen)) > 1


def is_transcript(screen: str) -> bool:
    """True if the whole transcript is shown instead of the input box; `TRANSCRIPT_KEY` closes it."""
    return _TRANSCRIPT.search(screen) is not None


def shown(screen: str) -> str:
    """A screen for an error message: without blank lines and rules, at most the last 30 lines."""
    lines = [line.rstrip() for line in screen.split("\n")]
    return "\n".join([line for line in lines if line and not _RULE.match(line)][-30:]) or "(the screen is blank)"
