"""A Claude conversation from its beginning: who said what, of recorded transcripts and of made-up lines."""

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev_sessions.backends.claude import conversation
from dev_sessions.backends.claude.conversation import ClaudeConversation, Ordered, Reader
from dev_sessions.backends.session import Session
from dev_sessions.backends.tail import Growing
from dev_sessions.model import Entry
from dev_sessions.state.folder import Folder

DATA = Path(__file__).parents[1] / "data"
VERSIONS = ("2.1.221", "2.1.330")
STAMP = "2026-11-22T10:00:00.000Z"


def read(*entries: Any) -> list[Entry]:
    reader = Reader()
    return [entry for one in entries for entry in reader.read(json.dumps(one).encode() + b"\n")]


def recorded(version: str, name: str) -> list[tuple[str, str, str]]:
    return told(DATA / f"claude-{version}" / "transcripts" / f"{name}.jsonl")


def told(path: Path) -> list[tuple[str, str, str]]:
    """Who said what, as `logs` tells it of a transcript."""
    reader, file = Reader(), Ordered(str(path))
    found = [one for lines in (file.lines, file.rest) for line in lines() for one in reader.read(line)]
    file.close()
    return [(one.role, one.kind, one.text[:22]) for one in found]


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "user", "timestamp": STAMP, "promptId": "p1", "message": {"content": content}, **more}


def assistant(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "assistant", "timestamp": STAMP, "message": {"content": list(blocks)}, **more}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


# Recorded ones.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", [("user", "message"), ("assistant", "message")]),
        (
            "tool",
            [
                *(("user", "message"), ("assistant", "message"), ("tool", "call"), ("tool", "result")),
                ("assistant", "message"),
            ],
        ),
        ("failed", [("user", "message"), ("tool", "error"), ("user", "message"), ("assistant", "message")]),
        ("interrupted", [("user", "message"), ("tool", "call"), ("tool", "result"), ("tool", "notice")]),
        (
            "followed",
            [
                *(("user", "message"), ("assistant", "message")),
                *(("user", "message"), ("user", "message"), ("assistant", "message")),
            ],
        ),
        (
            "background",
            [
                *(("user", "message"), ("tool", "call"), ("tool", "result"), ("assistant", "message")),
                *(("tool", "notice"), ("assistant", "message")),
            ],
        ),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_conversations(version: str, name: str, expected: list[tuple[str, str]]) -> None:
    assert [(role, kind) for role, kind, _ in recorded(version, name)] == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_that_joined_the_turn_has_the_users_role(version: str) -> None:
    told = recorded(version, "joined")
    assert told.index(("user", "message", "Second message")) == len(told) - 2


@pytest.mark.parametrize("version", VERSIONS)
def test_no_reminder_or_notice_is_shown_as_the_users_words(version: str) -> None:
    for path in (DATA / f"claude-{version}" / "transcripts").glob("*.jsonl"):
        for role, _, words in told(path):
            assert role != "user" or not words.startswith(("<", "[Request")), (path, words)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_conversation_begins_with_its_prompt(version: str) -> None:
    for path in (DATA / f"claude-{version}" / "transcripts").glob("*.jsonl"):
        assert told(path)[0][:2] == ("user", "message"), path


@given(st.data())
def test_the_first_lines_may_stand_in_any_order(data: st.DataObject) -> None:
    """2.1.221 and older may write them so if the first turn takes less than a second."""
    source = DATA / f"claude-{data.draw(st.sampled_from(VERSIONS))}" / "transcripts" / "tool.jsonl"
    lines = data.draw(st.permutations(source.read_bytes().splitlines(keepends=True)))
    with tempfile.TemporaryDirectory() as folder:
        shuffled = Path(folder, "t")
        shuffled.write_bytes(b"".join(lines))
        assert told(shuffled) == told(source)


# The author of the text.


@pytest.mark.parametrize(
    "words",
    [
        "[Request interrupted by user]",
        "<command-name>/clear</command-name>",
        "<command-message>init</command-message>\n<command-name>/init</command-name>",
        "<local-command-stdout>ok</local-command-stdout>",
        "<bash-input>ls</bash-input>",
        "<bash-stdout>a</bash-stdout><bash-stderr></bash-stderr>",
        "<task-notification>\n<task-id>b</task-id>",
    ],
)
def test_notes_of_the_program_are_not_the_users_words(words: str) -> None:
    for content in (words, [text(words)]):
        (entry,) = read(user(content))
        assert (entry.role, entry.kind, entry.text) == ("tool", "notice", words)


def test_a_summary_is_not_the_users_words() -> None:
    (entry,) = read(user("This session is being continued from ...", isCompactSummary=True))
    assert (entry.role, entry.kind) == ("tool", "notice")


@pytest.mark.parametrize(
    "line",
    [
        user("Caveat: The messages below were generated by the user", isMeta=True),
        user([text("<system-reminder>\nbe kind\n</system-reminder>")]),
        user("hello", isSidechain=True),
        assistant(text("hello"), isSidechain=True),
        user(""),
        user(" \n"),
        assistant(text("\n")),
        {"type": "file-history-snapshot"},
        {"type": "summary", "summary": "x"},
        {"type": "attachment", "attachment": {"type": "environment"}},
        {"type": "system", "subtype": "turn_duration"},
    ],
)
def test_bookkeeping_and_side_chains_are_left_out(line: dict[str, Any]) -> None:
    assert read(line) == []


def test_a_reminder_beside_the_users_words_is_left_out() -> None:
    (entry,) = read(user([text("fix it"), text("<system-reminder>x</system-reminder>")]))
    assert (entry.role, entry.text) == ("user", "fix it")


def test_a_pasted_text_is_shown_without_its_tags() -> None:
    (entry,) = read(user('\n<pasted_content id="0a1b">\na\nb\n</pasted_content id="0a1b">\n'))
    assert entry.text == "a\nb"


def test_a_reply_belongs_to_the_prompt_before() -> None:
    told = read(user("a"), assistant(text("b")), user("c", promptId="p2"), assistant(text("d"), text("e")))
    assert [(one.text, one.prompt) for one in told] == [("a", "p1"), ("b", "p1"), ("c", "p2"), ("d", "p2"), ("e", "p2")]
    assert {one.at for one in told} == {1795341600.0}


def test_thinking_has_a_kind_of_its_own() -> None:
    (entry,) = read(assistant({"type": "thinking", "thinking": "hm", "signature": "s"}))
    assert (entry.role, entry.kind, entry.text) == ("assistant", "thinking", "hm")


# Tools.


def test_a_call_and_its_result() -> None:
    given = {"file_path": "/a", "content": "x\ny", "n": 3}
    result = [text("one"), text("two")]
    told = read(
        assistant(text("I write."), {"type": "tool_use", "id": "t1", "name": "Write", "input": given}),
        user([{"type": "tool_result", "tool_use_id": "t1", "content": result, "is_error": True}, text("and stop")]),
    )
    assert [(one.role, one.kind) for one in told] == [
        ("assistant", "message"),
        ("tool", "call"),
        ("tool", "result"),
        ("user", "message"),
    ]
    _, call, returned, _ = told
    assert (call.tool, call.call, call.given, call.text) == ("Write", "t1", given, "file_path: /a\ncontent: x\ny\nn: 3")
    assert (returned.tool, returned.call, returned.result, returned.text) == ("Write", "t1", result, "one\ntwo")
    assert returned.failed


def test_a_command_is_shown_without_its_description() -> None:
    (call,) = read(
        assistant({"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls", "description": "List"}})
    )
    assert call.text == "ls"
    assert call.given == {"command": "ls", "description": "List"}


def test_images_are_mentioned_without_their_bytes() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4000}}
    (said,) = read(user([text("look"), image]))
    assert (said.role, said.text, said.images) == ("user", "look\n[image: image/png]", 1)
    (returned,) = read(user([{"type": "tool_result", "tool_use_id": "t", "content": [image]}]))
    assert (returned.role, returned.images, returned.text) == ("tool", 1, "[image: image/png]")
    assert returned.result[0]["source"] == {"type": "base64", "media_type": "image/png", "data": None, "bytes": 3000}


def test_broken_lines_give_no_entry() -> None:
    broken = [b"", b"\n", b"{", b"[]\n", b"null\n", b'"x"\n', b"[" * 100_000, b"\xff\xfe\n"]
    assert [entry for line in broken for entry in Reader().read(line)] == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["text", "image", "tool_use"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "message", "source", "input", "id", "prompt", "name"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["user", "assistant", "attachment", "system"]), _JSON, _JSON)
def test_lines_of_any_shape(kind: str, message: Any, attachment: Any) -> None:
    for entry in read({"type": kind, "message": message, "attachment": attachment, "timestamp": message}):
        assert entry.role in ("user", "assistant", "tool")
        assert isinstance(entry.text, str)
        json.dumps(entry._asdict())


# The file.


def test_a_line_is_read_when_it_is_finished(tmp_path: Path) -> None:
    file = tmp_path / "t"
    growing = Growing(str(file))
    assert list(growing.lines()) == []
    file.write_bytes(b"one\ntw")
    assert list(growing.lines()) == [b"one\n"]
    assert list(growing.lines()) == []
    with file.open("ab") as opened:
        opened.write(b"o\n\nthree\nf")
    assert list(growing.lines()) == [b"two\n", b"\n", b"three\n"]
    growing.close()


def test_an_answer_waits_for_the_prompt_that_is_written_after_it(tmp_path: Path) -> None:
    path = tmp_path / "1"
    conversation = ClaudeConversation(session(tmp_path, report("SessionStart", path)))
    question, answer = said_at(1.0, user("hello")), said_at(1.3, assistant(text("Hi.")))
    write(path, answer)
    assert list(conversation.new()) == []
    write(path, answer, question)
    assert [entry.text for entry in conversation.new()] == ["hello", "Hi."]
    write(path, answer, question, said_at(1.1, assistant(text("late"))))
    assert [entry.text for entry in conversation.new()] == ["late"]
    assert list(conversation.rest()) == []
    conversation.close()


def test_an_answer_whose_prompt_was_never_written_comes_after_it(tmp_path: Path) -> None:
    path = write(tmp_path / "1", said_at(1.3, assistant(text("Hi."))))
    made = session(tmp_path, report("UserPromptSubmit", path, prompt="hello"))
    assert whole(ClaudeConversation(made)) == ["hello", "Hi."]


def test_only_the_beginning_is_put_in_order(tmp_path: Path) -> None:
    """What is far behind the beginning is given as it stands, and at once."""
    later = [said_at(at, assistant(text(str(at)))) for at in (9.0, 8.0)]
    path = write(tmp_path / "1", said_at(1.0, user("hello")), *later)
    assert [words for _, _, words in told(path)] == ["hello", "9.0", "8.0"]


def test_an_invalid_path(tmp_path: Path) -> None:
    assert whole(ClaudeConversation(session(tmp_path, report("Stop", Path("a\0b"), last_assistant_message="Hi.")))) == [
        "Hi."
    ]


def said_at(second: float, entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "timestamp": f"2026-11-22T10:00:0{second:.3f}Z"}


def session(folder: Path, *reports: dict[str, Any]) -> Session:
    made = Folder(str(folder / "s"))
    made.make()
    for number, report in enumerate(reports):
        path = Path(made.facts_path, f"{number}.json")
        path.write_text(json.dumps(report))
        os.utime(path, (1795341600.0 + number, 1795341600.0 + number))
    return Session({"id": "x", "key": "x-1", "backend": {"uuid": "u", "config": str(folder)}}, made, {})


def report(event: str, path: Path, **more: Any) -> dict[str, Any]:
    return {"hook_event_name": event, "transcript_path": str(path), "prompt_id": "p1", **more}


def write(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def whole(conversation: ClaudeConversation) -> list[str]:
    texts = [entry.text for entry in (*conversation.new(), *conversation.rest())]
    conversation.close()
    return texts


def test_the_conversation_after_a_clear_follows(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", user("first")), write(tmp_path / "2", user("second"))
    made = session(tmp_path, report("SessionStart", one), report("Stop", one), report("SessionStart", two))
    assert whole(ClaudeConversation(made)) == ["first", "second"]


def test_without_hooks_the_transcript_is_found_by_its_uuid(tmp_path: Path) -> None:
    (tmp_path / "projects" / "-x").mkdir(parents=True)
    write(tmp_path / "projects" / "-x" / "u.jsonl", user("found"))
    assert whole(ClaudeConversation(session(tmp_path))) == ["found"]


def test_a_reported_text_that_is_not_written_yet_is_given_once(tmp_path: Path) -> None:
    path = write(tmp_path / "1", user("hello"))
    made = session(
        tmp_path,
        report("UserPromptSubmit", path, prompt="hello"),
        report("Stop", path, last_assistant_message="Hi."),
    )
    assert whole(ClaudeConversation(made)) == ["hello", "Hi."]
    write(path, user("hello"), assistant(text("Hi.")))
    assert whole(ClaudeConversation(made)) == ["hello", "Hi."]


def test_without_a_transcript_the_reports_are_left(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    made = session(
        tmp_path,
        report("UserPromptSubmit", path, prompt="hello"),
        report("Stop", path, last_assistant_message="Hi."),
    )
    assert whole(ClaudeConversation(made)) == ["hello", "Hi."]


def test_replies_of_lives_without_a_transcript(tmp_path: Path) -> None:
    """The agent was killed as soon as it had reported, twice; each time a new conversation began."""
    reports = []
    for name in ("one", "two", "three"):
        path, prompt = tmp_path / name, f"p-{name}"
        reports += [
            report("SessionStart", path, source="startup"),
            report("UserPromptSubmit", path, prompt=f"say {name}", prompt_id=prompt),
            report("Stop", path, last_assistant_message=name, prompt_id=prompt),
        ]
    made = session(tmp_path, *reports)
    for number in range(len(reports)):
        os.utime(Path(made.folder.facts_path, f"{number}.json"), (1795341600.0 + 5 * number,) * 2)
    stamp = {"promptId": "p-three", "timestamp": "2026-11-22T10:00:36Z"}
    write(tmp_path / "three", {**user("say three"), **stamp}, {**assistant(text("three")), **stamp})
    assert [entry.text for entry in conversation.replies(made, 3, running=True)] == ["one", "two", "three"]
    assert [entry.text for entry in conversation.replies(made, 1, running=True)] == ["three"]
    assert whole(ClaudeConversation(made)) == ["say one", "one", "say two", "two", "say three", "three"]


def test_a_transcript_of_any_size_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "t"
    line = json.dumps(assistant(text("x" * 100_000))).encode() + b"\n"
    with path.open("wb") as file:
        for _ in range(600):
            file.write(line)
    conversation = ClaudeConversation(session(tmp_path, report("SessionStart", path)))
    tracemalloc.start()
    count = sum(1 for _ in conversation.new())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    conversation.close()
    assert count == 600
    assert most < 10 * len(line)
