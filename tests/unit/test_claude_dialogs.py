"""What stands on Claude Code's screen: screens recorded from each version that it is tried with."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev_sessions.backends.claude import dialogs

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(folder.name.removeprefix("claude-") for folder in DATA.glob("claude-*"))


def screen(name):
    """A recorded screen, by VERSION/NAME."""
    return (DATA / f"claude-{name}.txt").read_text(encoding="utf-8")


def each(*names):
    """These screens of every version that has them."""
    found = [f"{version}/{name}" for version in VERSIONS for name in names]
    return [name for name in found if (DATA / f"claude-{name}.txt").exists()]


def plain(name):
    """The name of a screen without its version."""
    return name.partition("/")[2]


of_each_version = pytest.mark.parametrize("version", VERSIONS)
NAMES = {path.stem for path in DATA.glob("claude-*/*.txt") if ".styled" not in path.name}
ALL = each(*sorted(NAMES))
DIALOGS = [name for name in ALL if plain(name).startswith("dialog-")]
BOXES = [name for name in ALL if name not in DIALOGS]

EMPTY = ["box-empty", "busy", "busy-tool", "failed", "idle-after-reply", "idle-background", "interrupted"]
TEXTS = {
    "box-one-line": "fix the parser, please",
    "box-multi-line": "first line\n\n  second line, indented\nthird: ünïcode ✓ 漢字",
    "box-wrapped": "word " * 110,
    "box-overflowing": "\n".join(f"line {n} of a long message" for n in range(80)),
    "box-escape": "hello",
    "box-menu": "/",
    "busy-draft": "a draft",
    "interrupted-before-output": "[[hold: g]] [[reply: no]]",
}
OPTIONS = {
    "2.1.221/dialog-trust": ["*Yes, I trust this folder", "No, exit"],
    "2.1.221/dialog-trust-yes": ["Yes, I trust this folder", "*No, exit"],  # one key down from the default
    "2.1.221/dialog-mcp": [
        "*Use this MCP server",
        "Use this and all future MCP servers in this project",
        "Continue without using this MCP server",
    ],
    "2.1.221/dialog-imports": ["*Yes, allow external imports", "No, disable external imports"],
    "2.1.221/dialog-plan": ["*Yes", "No"],
    "2.1.221/dialog-permission-bash": ["*Yes", "Yes, and always allow access to project/ from this project", "No"],
    "2.1.221/dialog-permission-write": ["*Yes", "Yes, allow all edits during this session (shift+tab)", "No"],
    "2.1.330/dialog-limit": [
        "*Stop and wait for limit to reset",
        "Wait here, then continue automatically at 9:06pm",
        "Switch to usage credits",
    ],
    "2.1.330/dialog-trust": ["*No, exit", "Yes, I trust this folder"],
    "2.1.330/dialog-trust-yes": ["No, exit", "*Yes, I trust this folder"],
    "2.1.330/dialog-mcp": [
        "Use this MCP server",
        "Use this and all future MCP servers in this project",
        "*Continue without using this MCP server",
    ],
    "2.1.330/dialog-imports": ["*No, disable external imports", "Yes, allow external imports"],
    "2.1.330/dialog-plan": ["*Yes, and switch to default (ask each time) for this session", "No"],
    "2.1.330/dialog-permission-write": [
        "*Yes",
        (
            "Yes, and switch to accept edits (auto-approve file edits and common file commands) for this session "
            "(shift+tab)"
        ),
        "No",
    ],
}
for _name in each("dialog-bypass"):
    OPTIONS[_name] = ["*No, exit", "Yes, I accept"]
for _name in each("dialog-api-key"):
    OPTIONS[_name] = ["Yes", "*No (recommended)"]
ANSWERS = {
    "dialog-trust": "Yes, I trust",
    "dialog-trust-yes": "Yes, I trust",
    "dialog-bypass": "Yes, I accept",
    "dialog-mcp": "Continue without",
    "dialog-imports": "No, disable",
}


@pytest.mark.parametrize("name", each(*EMPTY))
def test_an_empty_box(name):
    assert dialogs.input_box(screen(name)) == dialogs.Box("", True)


@pytest.mark.parametrize("name", each(*TEXTS))
def test_a_box_holds_what_was_typed(name):
    box = dialogs.input_box(screen(name))
    assert dialogs.holds(box, TEXTS[plain(name)])
    assert not dialogs.holds(box, "something else")
    assert not dialogs.holds(box, TEXTS[plain(name)] + "x")
    assert not dialogs.holds(box, "x" + TEXTS[plain(name)]) or not box.whole


@of_each_version
def test_a_box_that_outgrew_the_screen_is_not_whole(version):
    assert not dialogs.input_box(screen(f"{version}/box-overflowing")).whole
    assert dialogs.input_box(screen(f"{version}/box-wrapped")).whole


@pytest.mark.parametrize("name", each(*EMPTY))
def test_an_empty_box_holds_no_message(name):
    assert not dialogs.holds(dialogs.input_box(screen(name)), "hello")


@pytest.mark.parametrize(
    ("name", "claudes"),
    [
        (name, plain(name) == "busy-queued")
        for name in each("busy-queued", "busy-draft", "box-one-line", "box-multi-line")
    ],
)
def test_claudes_suggestion_in_the_box_differs_from_a_draft(name, claudes):
    # The box shows "Press up to edit queued messages", dimmed, while Claude holds some.
    assert dialogs.only_placeholder(screen(f"{name}.styled")) == claudes


@pytest.mark.parametrize("name", each("busy-queued", "busy-tool-queued"))
def test_the_hint_on_queued_messages_is_not_a_text(name):
    assert dialogs.input_box(screen(name)) == dialogs.Box("", True)


@of_each_version
def test_a_box_in_shell_mode_is_not_empty(version):
    # Text after "!" runs in a shell.
    box = dialogs.input_box(screen(f"{version}/box-shell"))
    assert box != dialogs.input_box(screen(f"{version}/box-empty"))
    assert not dialogs.holds(box, "make clean")
    assert not dialogs.holds(dialogs.input_box(screen(f"{version}/box-shell-typed")), "ls -l")


@pytest.mark.parametrize("name", BOXES)
def test_a_box_is_not_a_dialog(name):
    assert not dialogs.is_dialog(screen(name))


@pytest.mark.parametrize("name", [name for name in BOXES if plain(name) != "box-menu"])
def test_a_screen_without_a_dialog_gets_no_answer(name):
    assert dialogs.known(screen(name)) is None


@pytest.mark.parametrize("name", DIALOGS)
def test_a_dialog_is_not_an_input_box(name):
    assert dialogs.input_box(screen(name)) is None


@pytest.mark.parametrize("name", DIALOGS)
def test_dialogs_are_recognised(name):
    assert dialogs.is_dialog(screen(name))


@pytest.mark.parametrize("lines", [1, 5, 40])
@pytest.mark.parametrize("name", each("dialog-permission-bash", "dialog-permission-write", "dialog-plan"))
def test_a_dialog_below_an_indented_reply_is_not_an_input_box(name, lines):
    # A long reply has scrolled everything but its own indented lines away.
    asked = screen(name)
    below = asked[asked.index("────────") :]
    shown = "".join(f"  line {number} of the reply\n" for number in range(lines)) + below
    assert dialogs.input_box(shown) is None
    assert dialogs.is_dialog(shown)


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    assert [("*" if one.selected else "") + one.text for one in dialogs.options(screen(name))] == OPTIONS[name]


@of_each_version
def test_exactly_one_option_of_a_question_is_marked(version):
    found = dialogs.options(screen(f"{version}/dialog-question"))
    assert [one.text for one in found if one.selected] == ["Red"]
    assert {"Red", "Blue"} <= {one.text for one in found}


@pytest.mark.parametrize("name", each(*ANSWERS))
def test_a_known_dialog_has_an_answer_that_it_offers(name):
    known = dialogs.known(screen(name))
    assert known is not None
    assert known.answer == ANSWERS[plain(name)]
    assert sum(one.text.startswith(known.answer) for one in dialogs.options(screen(name))) == 1
    assert known.trust == plain(name).startswith("dialog-trust")
    assert known.said.format(path="/some/folder")


@pytest.mark.parametrize("name", [name for name in DIALOGS if plain(name) not in ANSWERS])
def test_a_dialog_for_a_person_is_not_answered(name):
    assert dialogs.known(screen(name)) is None


@of_each_version
@pytest.mark.parametrize("offer", ["Not now", "No thanks", "No, thanks", "Maybe later", "Skip for now", "Dismiss"])
def test_an_offer_that_can_be_declined_is_declined(version, offer):
    shown = (
        screen(f"{version}/dialog-bypass")
        .replace("Bypass Permissions", "Something New")
        .replace("Yes, I accept", offer)
    )
    known = dialogs.known(shown)
    assert known is not None
    assert known.answer == offer
    assert offer in known.said


@of_each_version
def test_words_of_a_dialog_in_a_reply_are_not_answered(version):
    shown = screen(f"{version}/idle-after-reply").replace("It is", "Bypass Permissions mode: Yes, I accept")
    assert dialogs.known(shown) is None


@pytest.mark.parametrize("name", ALL)
def test_shown_for_an_error_message(name):
    text = dialogs.shown(screen(name))
    assert text
    assert len(text.split("\n")) <= 30
    assert not any(line.startswith("────") for line in text.split("\n"))
    assert "" not in text.split("\n")


@of_each_version
def test_shown_keeps_what_a_dialog_asks(version):
    assert "Do you want to use this API key?" in dialogs.shown(screen(f"{version}/dialog-api-key"))
    assert "No (recommended)" in dialogs.shown(screen(f"{version}/dialog-api-key"))


@pytest.mark.parametrize("text", ["", "\n" * 40, "$ ls\nfile\n$ ", "Starting...\n", "─" * 80])
def test_other_screens_hold_nothing(text):
    assert dialogs.input_box(text) is None
    assert dialogs.options(text) == []
    assert not dialogs.is_dialog(text)


@of_each_version
def test_the_box_of_a_message_without_letters(version):
    # The text cannot be compared; it must be enough that the box is not empty.
    shown = screen(f"{version}/box-one-line").replace("fix the parser, please", "✓ ✓")
    assert dialogs.holds(dialogs.input_box(shown), "✓ ✓")
    assert not dialogs.holds(dialogs.input_box(screen(f"{version}/box-empty")), "✓ ✓")


def test_without_a_box_nothing_is_held():
    assert not dialogs.holds(None, "hello")


# Each with the cursor's row: what has the keys is the box that the cursor is in.
VIEWS = {
    "2.1.221-history-search": (22, None),
    "2.1.221-menu-of-commands": (20, "/mo"),
    "2.1.221-rewind": (32, None),
    "2.1.221-transcript": (22, None),
    "2.1.332-help": (18, ""),
    "2.1.332-history-entry": (18, "second one"),
    "2.1.332-history-search": (20, None),
    "2.1.332-menu-of-files": (18, "@"),
    "2.1.332-model-picker": (22, None),
    "2.1.332-shell": (18, "!"),
    "2.1.332-transcript": (21, None),
}


def view(name):
    return (DATA / "views" / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", VIEWS)
def test_only_a_box_with_the_cursor_takes_keys(name):
    row, text = VIEWS[name]
    assert dialogs.input_box(view(name), row) == (None if text is None else dialogs.Box(text, True))
    assert dialogs.is_transcript(view(name)) == name.endswith("transcript")


def test_every_recorded_view_is_tested():
    assert {path.stem for path in (DATA / "views").iterdir()} == set(VIEWS)


@pytest.mark.parametrize("name", each("box-multi-line", "box-one-line", "busy-draft", "box-overflowing"))
def test_the_cursor_elsewhere_means_no_box(name):
    lines = screen(name).split("\n")
    rules = [index for index, line in enumerate(lines) if line.startswith("───")]
    inside = [row for row in range(len(lines)) if dialogs.input_box(screen(name), row) is not None]
    assert inside == list(range(rules[-2] + 1 if len(rules) > 1 else 0, rules[-1]))


@pytest.mark.parametrize(
    "rule",
    ["────── a rather long name of a session ─", " a rather long name of a se… ─", "─── History 8/8 ─────"],
)
def test_the_rule_of_a_small_window_with_a_name(rule):
    shown = f"❯ said before\n\n{rule}\n❯ a draft that\n  wraps\n{'─' * 12}\n  bypass on\n"
    assert dialogs.input_box(shown, 4) == dialogs.Box("a draft that\n  wraps", True)
    assert dialogs.input_box(shown, 0) is None
    assert dialogs.input_box(shown.replace(rule, ""), 4) is None
    assert [dialogs.is_last_row(shown, row) for row in (3, 4, 6, 60)] == [False, True, False, False]


@pytest.mark.parametrize(
    ("shown", "claudes"),
    [
        ("\x1b[39m❯\xa0", False),
        ("\x1b[39m❯\xa0x\x1b[7m", False),
        ("\x1b[39m❯\xa0\x1b[7mx\x1b[0m\x1b[39m\x1b[49m", False),
        ('\x1b[39m❯\xa0\x1b[7mT\x1b[0m\x1b[2mry "fix it"\x1b[0m', True),
    ],
    ids=["empty", "one sign", "one sign under the cursor", "a suggestion"],
)
def test_a_draft_of_one_sign_is_not_a_suggestion(shown, claudes):
    rule = "─" * 40
    assert dialogs.only_placeholder(f"{rule}\n{shown}\n{rule}\n  \x1b[2mbypass\x1b[0m\n") == claudes


LONG = "".join(f"sentence {number} of many. " for number in range(500)).rstrip()


@pytest.mark.parametrize(
    ("shown", "held"),
    [
        (f"{LONG[:500]}[...Truncated text #1 +0 lines...]{LONG[-500:]}", True),
        (f"{LONG[:500]}[...Truncated text #1 +3 lines...]{LONG[700:900]}[...Truncated text #2 +0 lines...]", False),
        (f"{LONG[:500]}[...Truncated text #1 +3 lines...]{LONG[700:900]}[...Truncated text #2 +0 lines...]many.", True),
        (f"a draft {LONG[:500]}[...Truncated text #1 +0 lines...]{LONG[-500:]}", False),
        (f"{LONG[:500]}[...Truncated text #1 +0 lines...]{LONG[-500:]} and more", False),
        (f"{LONG[-600:]}[...Truncated text #1 +0 lines...]{LONG[:500]}", False),
    ],
    ids=["one", "unfinished", "two", "a draft before", "more behind", "another order"],
)
def test_a_box_that_shows_a_long_text_without_its_middle(shown, held):
    # As 2.1.221 does with more than 10,000 characters; they hand over all of it.
    box = dialogs.input_box(screen("2.1.221/box-one-line").replace("fix the parser, please", shown))
    assert dialogs.holds(box, LONG) == held


# The choices at a usage limit


@pytest.mark.parametrize("name", ALL)
def test_the_choices_at_a_limit_are_recognised_by_the_command_that_opens_them(name):
    assert dialogs.is_limit_menu(screen(name)) == (plain(name) == "dialog-limit")


def test_a_box_below_the_choices_is_not_a_dialog():
    menu = screen("2.1.330/dialog-limit")
    above, _, _ = menu.partition("\n───")
    assert not dialogs.is_limit_menu(above)
    assert not dialogs.is_limit_menu(f"{above}\n{'─' * 80}\n❯ text\n{'─' * 80}\n")
    # Somebody else's dialog, further down than that of an earlier limit.
    assert not dialogs.is_limit_menu(f"{above}\n● Bash(ls)\n{screen('2.1.330/dialog-permission-write')}")


@pytest.mark.parametrize(
    ("shown", "whole", "part"),
    [
        ("", True, True),
        (":word word", True, True),
        ("word\nword", True, False),  # the beginning of an earlier message
        ("word\nword", False, True),  # lines from the middle, of a box that is taller than the screen
        ("another", False, False),
        (":word word word and more", True, False),
    ],
)
def test_a_box_that_shows_a_part_of_a_paste(shown, whole, part):
    assert dialogs.shows_part(dialogs.Box(shown, whole), ":word word\n\n\nword word") is part
