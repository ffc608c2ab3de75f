"""Any content of an agent's files can be read without failing or hanging, and valid parts still count."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from texts import VALUES, deviations, lines

from dev_sessions import wire
from dev_sessions.backends.claude import conversation, dialogs, hooks, transcript
from dev_sessions.errors import ProtocolError
from dev_sessions.model import Fact, Question
from dev_sessions.state.folder import Payload
from dev_sessions.system import processes

RECORDED = Path(__file__).parents[1] / "data" / "claude-2.1.330"
TRANSCRIPTS = {path.stem: path.read_bytes() for path in sorted(RECORDED.glob("transcripts/*.jsonl"))}
PAYLOADS = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDED.glob("hooks/*.json"))}
SCREENS = {path.stem: path.read_text() for path in sorted(RECORDED.glob("*.txt"))}


def is_sound(fact):
    """A fact holds what `model.Fact` promises: other rooms sort by its time, look up its prompt and print its words."""
    return (
        isinstance(fact, Fact)
        and isinstance(fact.at, float)
        and math.isfinite(fact.at)
        and isinstance(fact.text, str)
        and all(isinstance(words, str | None) for words in (fact.prompt, fact.reply, fact.error))
        and isinstance(fact.background, int)
        and fact.outcome in ("", "completed", "failed", "interrupted")
        and (fact.question is None or is_sound_question(fact.question))
    )


def is_sound_question(question):
    words = (question.id, question.kind, question.text, *question.options)
    return isinstance(question, Question) and all(isinstance(word, str) for word in words)


# The transcript


def distinct(entries):
    """One entry of each shape."""
    return list({json.dumps(shape(entry)): entry for entry in entries}.values())


def shape(value):
    if isinstance(value, dict):
        return {name: value[name] if name in ("type", "subtype", "operation") else shape(value[name]) for name in value}
    return [shape(one) for one in value[:1]] if isinstance(value, list) else None


ENTRIES = distinct(json.loads(line) for content in TRANSCRIPTS.values() for line in content.splitlines())


@pytest.mark.parametrize("kind", sorted({entry["type"] for entry in ENTRIES}))
def test_an_entry_of_another_shape(kind):
    """Each node of each recorded kind of entry is replaced by each odd value."""
    for entry in (entry for entry in ENTRIES if entry["type"] == kind):
        for changed in deviations(entry):
            if isinstance(changed, dict):
                found = [*transcript.facts([changed, changed])]
                assert all(map(is_sound, found)), (changed, found)
                call = transcript.open_tool_call([changed])
                assert call is None or (isinstance(call[0], str) and isinstance(call[1], dict)), (changed, call)


@given(st.sampled_from(sorted(TRANSCRIPTS)), st.lists(st.tuples(st.integers(0, 40), lines()), max_size=5), lines())
def test_damage_between_the_lines_of_a_transcript(tmp_path_factory, name, damage, cut):
    whole = TRANSCRIPTS[name].splitlines()
    content = list(whole)
    for index, line in damage:
        content.insert(index % (len(content) + 1), line)
    path, clean = (str(tmp_path_factory.getbasetemp() / name) for name in ("damaged.jsonl", "clean.jsonl"))
    Path(path).write_bytes(b"\n".join(content) + b"\n" + cut)
    Path(clean).write_bytes(b"\n".join(whole) + b"\n")
    for when in (1.0, transcript.stamp(json.loads(whole[len(whole) // 2]))):
        assert transcript.since(path, when) == transcript.since(clean, when)
    assert list(transcript.facts(transcript.since(path, 0.0))) == list(transcript.facts(transcript.since(clean, 0.0)))
    assert conversation.written_replies(path, 5) == conversation.written_replies(clean, 5)


@given(st.sampled_from(sorted(TRANSCRIPTS)), st.data())
def test_a_transcript_cut_anywhere(tmp_path_factory, name, data):
    """The writer has not finished yet: complete lines are read, as they are later."""
    whole = TRANSCRIPTS[name]
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.write_bytes(whole[:cut])
    count = whole[:cut].count(b"\n")
    before = [json.loads(line) for line in whole.splitlines()[:count]]
    found = transcript.since(str(path), 1.0)
    stamped = [entry for entry in before if transcript.stamp(entry)]
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, stamped))
    times = [transcript.stamp(entry) for entry in found if entry["type"] in ("user", "assistant", "queue-operation")]
    assert times == sorted(times)


@given(st.lists(st.binary(max_size=200), max_size=30), st.integers(0, 3))
def test_the_lines_of_any_file_come_back_last_one_first(tmp_path_factory, pieces, long):
    wanted = [piece.replace(b"\n", b"") for piece in pieces] + [b"x" * 300_000] * long
    path = tmp_path_factory.getbasetemp() / "tail"
    path.write_bytes(b"".join(line + b"\n" for line in wanted) + b"not finished")
    assert list(transcript.reversed_lines(str(path))) == [line for line in reversed(wanted) if line]


@given(
    st.text(max_size=40) | st.text(st.sampled_from("0123456789e_+.Z "), max_size=6).map("2026-11-22T21:37:57.".__add__)
)
@example("2026-11-22T21:37:57.1e999Z")
def test_a_time_is_always_a_number(text):
    assert math.isfinite(transcript.stamp({"timestamp": text}))


# Reports of hooks


HOOKS = distinct(report["payload"] for reports in PAYLOADS.values() for report in reports)


@pytest.mark.parametrize("event", sorted({fields["hook_event_name"] for fields in HOOKS}))
def test_a_report_of_another_shape(event):
    for fields in (fields for fields in HOOKS if fields["hook_event_name"] == event):
        for changed in deviations(fields):
            payload = Payload("x.json", 5.0, json.dumps(changed).encode())
            fact = hooks.fact(payload, hooks.parse(payload))
            assert fact is None or is_sound(fact), (changed, fact)


@given(lines())
def test_a_damaged_report_gives_no_fact(content):
    payload = Payload("x.json", 5.0, content)
    assert hooks.fact(payload, hooks.parse(payload)) is None


@given(st.text(max_size=200))
def test_a_prompt_in_tags_is_read_as_it_was_given(text):
    tagged = f'\n\n<pasted_content id="ab12">\n{text}\n</pasted_content id="ab12">\n'
    assert hooks.plain(tagged) == text.rstrip()
    assert hooks.plain(text).rstrip() == hooks.plain(text)


@pytest.mark.timeout(60)  # what is quadratic takes minutes here
@pytest.mark.parametrize("text", ['\n<pasted_content id="ab12">\n' * 10_000 + ".", "\n" * 100_000 + "."])
def test_many_beginnings_of_tags_are_no_hang(text):
    assert hooks.plain(text) == text


# Screens


@given(st.sampled_from(sorted(SCREENS)), st.lists(st.tuples(st.integers(0, 4000), st.text(max_size=5)), max_size=6))
def test_any_screen_can_be_read(name, changes):
    text = SCREENS[name]
    for at, words in changes:
        at %= len(text) + 1
        text = text[:at] + words + text[at + len(words) :]
    check_screen(text)


@given(st.text(st.sampled_from("❯─ 1.Yes\n\x1b[2m!>│\xa0"), max_size=300) | st.text(max_size=300))
def test_any_text_can_be_a_screen(text):
    check_screen(text)
    check_screen("─" * 20 + "\n" + text + "\n" + "─" * 20)


def check_screen(text):
    box, options = dialogs.input_box(text), dialogs.options(text)
    assert not (box and dialogs.is_dialog(text))
    lines = text.split("\n")
    for row in range(len(lines)):
        assert dialogs.input_box(text, row) is None or any(line.startswith("───") for line in lines[row + 1 :])
    known = dialogs.known(text)
    assert known is None or any(option.text.startswith(known.answer) for option in options)
    assert dialogs.only_placeholder(text) in (True, False)
    assert dialogs.holds(box, text) in (True, False)
    assert dialogs.shown(text)


# Processes and the wire


@given(st.text(max_size=100) | st.text(st.sampled_from("0123456789 ()SZ\n"), max_size=200))
def test_any_text_can_be_a_process_note(words):
    found = processes.start_time_in(words)
    assert found is None or (found and found == found.strip())


@given(lines() | st.sampled_from(VALUES).map(lambda value: json.dumps({"op": value, "v": value}).encode()))
def test_invalid_requests_and_frames_are_refused(line):
    with pytest.raises(ProtocolError):
        wire.decode_request(line)
    with pytest.raises(ProtocolError):
        wire.decode_frame(line)


def test_a_request_of_another_shape_is_refused_or_understood():
    request = wire.Request("send", {"id": "x", "text": "y"}, "r1")
    for changed in deviations(request._asdict()):
        try:
            told = wire.decode_request(json.dumps(changed).encode())
        except ProtocolError:
            continue
        assert isinstance(told.params, dict)
        assert isinstance(told.op, str)
