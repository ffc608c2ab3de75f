"""`send` to a Claude Code in which a person left something open: a draft, a view, a menu, a mode, a small window."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from lab import Lab
from soak import only_in_soak

LINES = "ours alone\nshot.png\n!and more"


class Left(NamedTuple):
    """What a person left: keys that open it, words on the screen that show it, and keys that undo it afterwards."""

    typed: str
    keys: tuple[str, ...]
    shows: Callable[[str], bool]
    undo: tuple[str, ...] = ()


@pytest.fixture
def spoken(shared: Lab, talker: str) -> str:
    """A session whose conversation can be viewed."""
    if not shared.prompts(talker):
        shared.ok("ask", talker, "before")
        shared.prompts_since(talker, [], 1)
    return talker


def words(*wanted: str) -> Callable[[str], bool]:
    return lambda screen: all(word in screen for word in wanted)


def leave(lab: Lab, id: str, left: Left) -> None:
    if left.typed:
        lab.keys(id, "-l", left.typed)
        lab.until(lambda: left.typed.lstrip("!") in lab.input_box(id), "the draft in the box")
    for key in left.keys:
        lab.keys(id, key)
        if key == "C-o":
            lab.until(lambda: "Showing detailed transcript" in lab.screen(id), "the transcript")
    lab.until(lambda: left.shows(lab.screen(id).replace("\xa0", " ")), f"{left}")


# We treat each of these like one that `make test` tries too.
ALIKE = ("all of the transcript", "shell mode", "one sign", "a menu of files", "settings", "help in full")


def few(things: dict[str, Left]) -> list[Any]:
    return [pytest.param(left, id=id, marks=only_in_soak if id in ALIKE else ()) for id, left in things.items()]


# States that we close, or that do not prevent a delivery.
PASSABLE = {
    "transcript": Left("", ("C-o",), words("Showing detailed transcript")),
    "all of the transcript": Left("", ("C-o", "C-e"), words("ctrl+e to collapse")),
    "help": Left("", ("?",), words("! for shell mode")),
    "shell mode": Left("", ("!",), words("\n!")),
    "a shell command": Left("!ls", (), words("! ls"), ("C-u", "BSpace")),
    "one sign": Left("x", (), words("❯ x"), ("C-u",)),
    "one sign, the cursor on it": Left("x", ("C-a",), words("❯ x"), ("C-e", "C-u")),
    "a menu of files": Left("@", (), words("❯ @"), ("C-u",)),
    "a menu of commands": Left("/mod", (), words("/model"), ("C-u",)),
    "an entry of the history": Left("", ("Up",), lambda screen: re.search(r"\n❯ \S[^─]*\n─{20}", screen) is not None),
}


@pytest.mark.parametrize("left", few(PASSABLE))
def test_what_is_left_is_no_hindrance(shared: Lab, spoken: str, left: Left) -> None:
    before = shared.prompts(spoken)
    leave(shared, spoken, left)
    draft = shared.input_box(spoken) if left.undo else ""
    # Up recalls an earlier message of ours: we delete it, or stash it if the cursor is not in its last line.
    fine = {draft, shared.input_box(spoken)} if left.keys == ("Up",) else {draft}
    began = time.monotonic()
    assert shared.ok("ask", spoken, LINES).startswith("echo: ours alone")
    assert shared.prompts_since(spoken, before, 1) == [LINES]
    assert time.monotonic() - began < 25
    shared.until(lambda: shared.input_box(spoken) in fine, f"{fine} back in the box")
    for key in left.undo or ("C-c",) * bool(shared.input_box(spoken)):
        shared.keys(spoken, key)
    shared.until(lambda: shared.input_box(spoken) == "", "an empty box")
    # Another Ctrl+C while Claude offers to exit would end it.
    shared.until(lambda: "again to exit" not in shared.screen(spoken), "the end of the offer to exit")


# States that a person must resolve: reported at once, with the screen and a remedy that works.
BLOCKING = {
    "search in the history": Left("", ("C-r",), words("search prompts:")),
    "model picker": Left("", ("M-p",), words("Select model")),
    "settings": Left("/status", ("Enter",), words("Esc to")),
    "help in full": Left("/help", ("Enter",), words("For more help")),
    "background tasks": Left("/tasks", ("Enter",), words("Esc to")),
    "rewind": Left("", ("Escape", "Escape"), words("Rewind")),
}


@pytest.mark.parametrize("left", few(BLOCKING))
def test_what_a_person_has_to_leave_is_said_at_once(shared: Lab, spoken: str, left: Left) -> None:
    before = shared.prompts(spoken)
    leave(shared, spoken, left)
    began = time.monotonic()
    refused = shared.run("send", spoken, "--json", "--request-id", str(began), LINES)
    assert refused.code == 6, refused
    assert time.monotonic() - began < 15
    error = json.loads(refused.out)["error"]
    assert f"respond {spoken} --key" in error["data"]["next"]
    assert left.shows(shared.screen(spoken))  # no key was pressed
    for _ in range(3):
        if shared.run("respond", spoken, "--key", "Escape").code != 0:
            break
    shared.until(lambda: shared.input_box(spoken) == "", "an empty box")
    refused = shared.run("respond", spoken, "--key", "Escape")
    assert refused.code != 0
    again = shared.run("send", spoken, "--json", "--request-id", str(began), LINES)
    assert again.json["receipt"] == "started", again
    assert shared.ok("wait", spoken) == "completed"
    assert shared.prompts_since(spoken, before, 1) == [LINES]


@pytest.mark.parametrize("size", ["40x12", pytest.param("30x11", marks=only_in_soak)])
def test_a_small_window_with_a_long_name(shared: Lab, spoken: str, size: str) -> None:
    before = shared.prompts(spoken)
    width, height = size.split("x")
    window = ("-t", f"=dev-{spoken}:")
    shared.keys(spoken, "-l", "/rename a rather long name of a session")
    shared.keys(spoken, "Enter")
    shared.until(lambda: "a rather long name of a session ─" in shared.screen(spoken), "the name in the rule")
    shared.tmux("resize-window", *window, "-x", width, "-y", height)
    shared.until(lambda: "─" * (int(width) + 1) not in shared.screen(spoken), "the small window")
    shared.keys(spoken, "-l", "a draft that takes more than one row")
    shared.until(lambda: "one row" in shared.screen(spoken), "the draft")
    assert shared.ok("ask", spoken, LINES).startswith("echo: ours alone")
    assert shared.prompts_since(spoken, before, 1) == [LINES]
    shared.until(lambda: "one row\n──" in shared.screen(spoken), "the draft back in the box")
    shared.keys(spoken, "C-u", "C-u")
    shared.tmux("resize-window", *window, "-x", "40", "-y", "9")
    shared.until(lambda: shared.screen(spoken).count("\n") <= 9, "a window too low for lines")
    refused = shared.run("send", spoken, LINES)
    assert refused.code == 1
    assert "rows" in refused.err
    assert "enlarge" in refused.err
    assert shared.ok("ask", spoken, "one line").startswith("echo: one line")
    assert shared.prompts_since(spoken, before, 2) == [LINES, "one line"]
    shared.tmux("resize-window", *window, "-x", "200", "-y", "50")


def test_a_user_with_a_screen_reader(lab: Lab) -> None:
    (lab.home / ".claude").mkdir()
    (lab.home / ".claude" / "settings.json").write_text(json.dumps({"axScreenReader": True}))
    id = lab.create(env={"CLAUDE_AX_SCREEN_READER": "1"})
    assert lab.ok("ask", id, LINES).startswith("echo: ours alone")
