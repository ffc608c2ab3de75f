"""`send` to a Claude Code in which a person has left something: a draft, a view, a menu, a mode, a small window."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest
from lab import Lab

LINES = "ours alone\nshot.png\n!and more"


class Left(NamedTuple):
    """What a person left: the keys for it, words on the screen that show it, and the keys that undo it afterwards."""

    typed: str
    keys: tuple[str, ...]
    shows: Callable[[str], bool]
    undo: tuple[str, ...] = ()


def words(*wanted: str) -> Callable[[str], bool]:
    return lambda screen: all(word in screen for word in wanted)


def leave(lab: Lab, id: str, left: Left) -> None:
    if left.typed:
        lab.keys(id, "-l", left.typed)
        lab.until(lambda: left.typed.lstrip("!") in lab.input_box(id), "the draft in the box")
    for key in left.keys:
        lab.keys(id, key)
    lab.until(lambda: left.shows(lab.screen(id).replace("\xa0", " ")), f"{left}")


# Left by us, or no hindrance at all.
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
    "an entry of the history": Left("", ("Up",), words("─ History")),
}


@pytest.mark.parametrize("left", PASSABLE.values(), ids=PASSABLE.keys())
def test_what_is_left_is_no_hindrance(shared: Lab, talker: str, left: Left) -> None:
    before = shared.prompts(talker)
    leave(shared, talker, left)
    draft = shared.input_box(talker) if left.undo else ""
    began = time.monotonic()
    assert shared.ok("ask", talker, LINES).startswith("echo: ours alone")
    assert shared.prompts_since(talker, before, 1) == [LINES]
    assert time.monotonic() - began < 25
    shared.until(lambda: shared.input_box(talker) == draft, f"{draft!r} back in the box")
    for key in left.undo:
        shared.keys(talker, key)
    shared.until(lambda: shared.input_box(talker) == "", "an empty box")


# A person has to decide: said at once, with the screen and the way out, which works.
BLOCKING = {
    "search in the history": Left("", ("C-r",), words("search prompts:")),
    "model picker": Left("", ("M-p",), words("Select model")),
    "settings": Left("/status", ("Enter",), words("Esc to")),
    "help in full": Left("/help", ("Enter",), words("Esc to close")),
    "background tasks": Left("/tasks", ("Enter",), words("Esc to")),
    "rewind": Left("", ("Escape", "Escape"), words("Rewind")),
}


@pytest.mark.parametrize("left", BLOCKING.values(), ids=BLOCKING.keys())
def test_what_a_person_has_to_leave_is_said_at_once(shared: Lab, talker: str, left: Left) -> None:
    before = shared.prompts(talker)
    leave(shared, talker, left)
    began = time.monotonic()
    refused = shared.run("send", talker, "--json", "--request-id", str(began), LINES)
    assert refused.code == 6, refused
    assert time.monotonic() - began < 15
    error = json.loads(refused.out)["error"]
    assert f"respond {talker} --key" in error["data"]["next"]
    assert left.shows(shared.screen(talker))  # no key was pressed
    for _ in range(3):
        if shared.run("respond", talker, "--key", "Escape").code != 0:
            break
    shared.until(lambda: shared.input_box(talker) == "", "an empty box")
    refused = shared.run("respond", talker, "--key", "Escape")
    assert refused.code != 0
    again = shared.run("send", talker, "--json", "--request-id", str(began), LINES)
    assert again.json["receipt"] == "started", again
    assert shared.ok("wait", talker) == "completed"
    assert shared.prompts_since(talker, before, 1) == [LINES]


@pytest.mark.parametrize("size", ["40x12", "30x11"])
def test_a_small_window_with_a_long_name(shared: Lab, talker: str, size: str) -> None:
    shared.ok("ask", talker, "before")
    before = shared.prompts(talker)
    width, height = size.split("x")
    window = ("-t", f"=dev-{talker}:")
    shared.keys(talker, "-l", "/rename a rather long name of a session")
    shared.keys(talker, "Enter")
    shared.until(lambda: "a rather long name of a session ─" in shared.screen(talker), "the name in the rule")
    shared.tmux("resize-window", *window, "-x", width, "-y", height)
    shared.until(lambda: "─" * (int(width) + 1) not in shared.screen(talker), "the small window")
    shared.keys(talker, "-l", "a draft that takes more than one row")
    shared.until(lambda: "one row" in shared.screen(talker), "the draft")
    assert shared.ok("ask", talker, LINES).startswith("echo: ours alone")
    assert shared.prompts_since(talker, before, 1) == [LINES]
    shared.until(lambda: "one row\n──" in shared.screen(talker), "the draft back in the box")
    shared.keys(talker, "C-u", "C-u")
    shared.tmux("resize-window", *window, "-x", "40", "-y", "9")
    shared.until(lambda: shared.screen(talker).count("\n") <= 9, "a window too low for lines")
    refused = shared.run("send", talker, LINES)
    assert refused.code == 1
    assert "rows" in refused.err
    assert "enlarge" in refused.err
    assert shared.ok("ask", talker, "one line").startswith("echo: one line")
    shared.tmux("resize-window", *window, "-x", "200", "-y", "50")


def test_a_user_with_a_screen_reader(lab: Lab) -> None:
    (lab.home / ".claude").mkdir()
    (lab.home / ".claude" / "settings.json").write_text(json.dumps({"axScreenReader": True}))
    id = lab.create(env={"CLAUDE_AX_SCREEN_READER": "1"})
    assert lab.ok("ask", id, LINES).startswith("echo: ours alone")
