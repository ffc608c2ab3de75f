"""How a message travels into Claude Code's input box: typed or by file, and in which pieces."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev_sessions.backends.base import Session
from dev_sessions.backends.claude import deliver, hooks
from dev_sessions.errors import UsageError
from dev_sessions.state.folder import Folder

PATH = "/home/user/.dev-sessions/sessions/fizz-top-0a1b2c3d/messages/0001/text.md"

# Signs that mean something to a terminal, a shell, tmux or Claude's input box, and a few of everybody's languages.
SIGNS = st.sampled_from(
    list("ab1 \n\t\r\\;\"'$~`#@!/?-&|<>{}[]%*^=:,.\0\x1b\x7f\x85é漢🙂👩\u200d\u0301\xa0\u2028\u200b\ufeff")
)
TEXTS = st.text(SIGNS, max_size=60)
LONG = st.builds(lambda piece, times: piece * times, st.text(SIGNS, min_size=1, max_size=9), st.integers(1, 400))


@pytest.mark.parametrize(
    "text",
    [
        "fix the parser",
        "a\nb\n\nc",
        "trailing backslash \\",
        "trailing semicolon;",
        "trailing @",
        "@/some/path",
        "# heading",
        "- item",
        "? what",
        "&",
        "-n",
        "exit the loop",
        "path /etc/hosts!",
        'it\'s "quoted" `and` $HOME ~ %s #{x}',
        "ünïcode 漢字 🙂 👩‍💻 \u00a0 ✓",
        '{"a": [1, 2]}',
        "  indented",
        "x" * 20_000,
        "1",
    ],
    ids=lambda text: text[:20],
)
def test_texts_that_are_typed(text):
    assert deliver.wire(text, PATH) == ("terminal", text)


@pytest.mark.parametrize(
    "text",
    [
        "/clear",
        "/tmp/x is a file",
        "!ls",
        "exit",
        "quit",
        " exit ",
        "Quit",
        ":q",
        ":wq!",
        ":whatever",
        "the word ultraplan",
        "x" + "!" * 600,
        "a\tb",
        "a\r\nb",
        "a\rb",
        "\x1b[31mred\x1b[0m",
        "nul \0",
        "bell \a",
        "e\u0301",
        unicodedata.normalize("NFD", "Jürgen"),
        "zero\u200bwidth",
        "\ufeffmark",
        "right \u202e left",
        "line\u2028separator",
        "paragraph\u2029separator",
        "c1 \x85 control",
        "private \ue000",
        "unassigned \u0378",
        "lone \ud800 surrogate",
        '<pasted_content id="0a1f">\nx\n</pasted_content id="0a1f">\n',
        "x" * 20_001,
        "line\n" * 4_001,
        "so.many.pieces." * 400,
    ],
    ids=ascii,
)
def test_texts_that_go_by_file(text):
    wire = deliver.wire(text, PATH)
    assert wire.via == "file"
    assert PATH in wire.text
    assert "\n" not in wire.text
    assert deliver.wire(wire.text, PATH) == ("terminal", wire.text)


@pytest.mark.parametrize("end", [" ", "\n", "\n\n", " \n ", "\t", "\r\n"])
def test_blanks_at_the_end_do_not_matter(end):
    # Claude trims them, so two receipts would look the same.
    assert deliver.wire(f"hello{end}", PATH) == ("terminal", "hello")


@pytest.mark.parametrize("path", ["/a\tb/text.md", "/e\u0301/text.md"])
def test_a_path_that_the_box_would_alter_is_refused(path):
    with pytest.raises(UsageError, match="alter"):
        deliver.wire("/clear", path)


@given(TEXTS | LONG)
def test_only_texts_that_the_box_accepts_unchanged_are_typed(text):
    wire = deliver.wire(text, PATH)
    if wire.via == "terminal":
        assert wire.text == text.rstrip()
        assert wire.text == unicodedata.normalize("NFC", wire.text)
        assert not wire.text.startswith(("/", "!"))
        assert not set(wire.text) & set("\t\r\0\x1b\x7f\x85\u200b\u2028\ufeff")
    else:
        assert PATH in wire.text


# What Claude recognises in a paste: the path of an image (it splits at line feeds and at blanks before a path, drops
# quotes and backslashes), a report of the terminal's focus, and "!" at the beginning (2.1.221 to 2.1.332).
_RECOGNISED = re.compile(r"\.\\?(p\\?n\\?g|jpe?g|gif|webp)|\[[IO]$|^!", re.IGNORECASE)
PICTURES = [
    "shot.png",
    "SHOT.PNG",
    "a.b.jpeg",
    '"/tmp/my shot.gif"',
    "'/tmp/x.webp'",
    "/tmp/my\\ shot.jpg",
    "shot.\\png",
    "file:///tmp/x.png",
    "see /tmp/a.png /tmp/b.jpg",
    "C:\\x\\y.PNG",
    "q.png ",
]


@given(TEXTS | LONG | st.lists(st.sampled_from([*PICTURES, "!ls", "a.!b", "[I", "[O", "x [I", "", "!"])).map("\n".join))
def test_each_piece_is_read_as_text(text):
    if deliver.wire(text, PATH).via == "file":
        return
    pieces = deliver.pieces(text.rstrip())
    assert "".join(pieces) == f"{text.rstrip()} "
    for piece in pieces:
        assert 0 < len(piece) <= 600
        assert "\n" not in piece[1:]
        assert not _RECOGNISED.search(piece)


@pytest.mark.parametrize("picture", PICTURES)
def test_no_piece_holds_the_path_of_a_picture(picture):
    whole = f"see\n{picture}\nthere"
    assert _RECOGNISED.search(whole)
    assert not any(_RECOGNISED.search(piece) for piece in deliver.pieces(whole))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [" "]),
        ("a", ["a "]),
        ("x" * 599, ["x" * 599 + " "]),
        ("x" * 600, ["x" * 600, " "]),
        ("x" * 1200, ["x" * 600, "x" * 600, " "]),
        ("x" * 599 + "!!y", ["x" * 598, "x!!y "]),
        ("a\nb\n", ["a", "\nb", "\n "]),
        ("one. Two ... 3.5", ["one. Two ... 3.", "5 "]),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:10],
)
def test_pieces(text, pieces):
    assert deliver.pieces(text) == pieces


# What Claude reports only when its turn comes


@pytest.fixture
def session(tmp_path):
    """A session whose Claude works on a prompt, and has queued another one at 1795383460.5."""
    folder = Folder(str(tmp_path / "session"))
    folder.make()
    path = tmp_path / "transcript.jsonl"
    line = {"type": "queue-operation", "operation": "enqueue", "timestamp": "2026-11-22T21:37:40.500Z", "content": "go"}
    path.write_text(json.dumps(line) + "\n")
    report = {"hook_event_name": "UserPromptSubmit", "prompt": "first", "transcript_path": str(path)}
    (tmp_path / "session" / "facts" / "a.json").write_text(json.dumps(report))
    return Session({"id": "fizz-top", "backend": {}}, folder, {})


def kept(session):
    return [(fact.kind, fact.text, fact.held) for fact in facts_of(session)][1:]


def facts_of(session):
    found = [hooks.fact(one, hooks.parse(one)) for one in session.folder.facts()]
    return sorted(found, key=lambda fact: fact.text != "first")


def test_a_queued_prompt_is_received_and_its_line_is_kept_as_the_report(session):
    assert deliver.received(session, "go", 1795383460.0)
    assert kept(session) == [("accepted", "go", True)]
    assert facts_of(session)[1].at == pytest.approx(1795383460.5, abs=0.001)
    # From now on it is a report like any other, and is kept once.
    assert deliver.received(session, "go", 1795383460.0, ask_queue=False)
    assert deliver.received(session, "go", 1795383460.0)
    assert len(kept(session)) == 1


@pytest.mark.parametrize(
    ("text", "since", "ask_queue"),
    [("gone", 1795383460.0, True), ("go", 1795383460.6, True), ("go", 1795383460.0, False)],
    ids=["another text", "an older one", "not asked"],
)
def test_a_prompt_outside_the_queue_is_not_received(session, text, since, ask_queue):
    assert not deliver.received(session, text, since, ask_queue=ask_queue)
    assert kept(session) == []
