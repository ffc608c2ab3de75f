"""Claude Code's transcript: read from the end of a file, and as facts and replies; recorded ones of 2.1.330."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev_sessions.backends.claude import conversation, transcript
from dev_sessions.model import COMPLETED, FAILED, INTERRUPTED, LIMIT

RECORDED = Path(__file__).parents[1] / "data" / "claude-2.1.330" / "transcripts"


def path(name):
    return str(RECORDED / f"{name}.jsonl")


def told(name):
    return list(transcript.facts(transcript.since(path(name), 0.0)))


def short(name):
    """The facts as (kind, how it ended or the beginning of its text)."""
    return [(fact.kind, fact.outcome or fact.text[:14]) for fact in told(name)]


def write(folder, *entries, end="\n"):
    file = folder / "t.jsonl"
    file.write_text("\n".join(json.dumps(entry) for entry in entries) + end)
    return str(file)


def clock(second):
    return f"2026-11-22T10:00:{second:06.3f}Z"


def user(text, second=0.0, prompt="p1", **more):
    return {
        "type": "user",
        "timestamp": clock(second),
        "promptId": prompt,
        "message": {"role": "user", "content": text},
        **more,
    }


def assistant(*texts, second=1.0, id="m1", **more):
    content = [{"type": "text", "text": text} for text in texts]
    return {"type": "assistant", "timestamp": clock(second), "message": {"id": id, "content": content}, **more}


def system(subtype="turn_duration", second=2.0):
    return {"type": "system", "subtype": subtype, "timestamp": clock(second)}


def facts(*entries):
    return list(transcript.facts(entries))


# Tail

BLOCKS = (transcript._FIRST_BLOCK, transcript._BLOCK)


@pytest.mark.parametrize("missing", ["", "gone/t.jsonl", "."])
def test_a_missing_file_has_no_lines(tmp_path, missing):
    assert list(transcript.reversed_lines(str(tmp_path / missing))) == []


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", []),
        (b"\n\n\n", []),
        (b"unfinished", []),
        (b"one\n", [b"one"]),
        (b"one\ntwo", [b"one"]),
        (b"one\n\ntwo\n", [b"two", b"one"]),
        (b"\none\n", [b"one"]),
    ],
)
def test_only_finished_lines_last_one_first(tmp_path, content, lines):
    file = tmp_path / "t"
    file.write_bytes(content)
    assert list(transcript.reversed_lines(str(file))) == lines


@pytest.mark.parametrize("unfinished", [b"", b"x", b"x" * (BLOCKS[0] + BLOCKS[1] + 9)])
@pytest.mark.parametrize(
    "sizes",
    [
        [BLOCKS[0] - 1],
        [BLOCKS[0]],
        [BLOCKS[0] - 2, 1],
        [1, BLOCKS[0] - 1],
        [5, BLOCKS[0] + 7, 3],
        [5, 3 * BLOCKS[1], 3],
        [3 * BLOCKS[1], 3 * BLOCKS[1]],
        [BLOCKS[1] - 1, BLOCKS[0] - 1],
        [1] * 70_000,
    ],
    ids=lambda sizes: f"{len(sizes)}-lines-of-{sizes[0]}",
)
def test_lines_over_the_borders_of_blocks(tmp_path, sizes, unfinished):
    lines = [bytes([97 + number % 26]) * size for number, size in enumerate(sizes)]
    file = tmp_path / "t"
    file.write_bytes(b"".join(line + b"\n" for line in lines) + unfinished)
    assert list(transcript.reversed_lines(str(file))) == lines[::-1]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 200_000), max_size=8), st.integers(0, 80_000))
def test_lines_of_any_length(tmp_path_factory, sizes, rest):
    file = tmp_path_factory.mktemp("tail") / "t"
    lines = [str(number).encode() * (size // len(str(number))) for number, size in enumerate(sizes, 10)]
    file.write_bytes(b"".join(line + b"\n" for line in lines) + b"r" * rest)
    assert list(transcript.reversed_lines(str(file))) == [line for line in reversed(lines) if line]


# since


def test_since_begins_at_the_given_time(tmp_path):
    file = write(tmp_path, user("a", 1), user("b", 2.5), user("c", 3))
    moment = transcript.stamp(user("", 2.5))
    assert [entry["message"]["content"] for entry in transcript.since(file, moment)] == ["b", "c"]
    assert len(transcript.since(file, 0.0)) == 3
    assert transcript.since(file, moment + 60) == []


def test_since_skips_other_lines(tmp_path):
    file = tmp_path / "t.jsonl"
    lines = [json.dumps(user("a", 1)), '{"type": "mode"}', "", '["timestamp":]', "null", '"timestamp":', "\udcff"]
    file.write_bytes("\n".join([*lines, json.dumps(user("b", 2))]).encode(errors="surrogateescape") + b"\n")
    assert [entry["message"]["content"] for entry in transcript.since(str(file), 1.0)] == ["a", "b"]


# Facts of recorded conversations


def test_a_plain_turn():
    assert short("plain") == [("accepted", "[[reply: It is"), ("ended", COMPLETED)]
    begun, over = told("plain")
    assert begun.text == r"[[reply: It is\nfixed.]]"
    assert over.reply == "It is\nfixed."
    assert begun.prompt == over.prompt
    assert begun.at < over.at


def test_a_turn_with_a_tool_replies_with_its_last_text():
    assert short("tool") == [("accepted", "[[reply: I loo"), ("ended", COMPLETED)]
    assert told("tool")[-1].reply == "Done."


def test_a_message_that_joined():
    assert short("joined") == [
        ("accepted", "[[bash: python"),
        ("accepted", "Second message"),
        ("joined", "Second message"),
        ("ended", COMPLETED),
    ]
    assert told("joined")[1].held


def test_messages_that_followed():
    assert short("followed") == [
        ("accepted", "[[hold: f]] [["),
        ("accepted", "[[reply: Two.]"),
        ("accepted", "[[reply: Three"),
        ("ended", COMPLETED),
        ("started", "[[reply: Two.]"),
        ("started", "[[reply: Three"),
        ("ended", COMPLETED),
    ]
    first, _, _, over, two, three, last = told("followed")
    assert (first.prompt, over.reply) == (over.prompt, "One.")
    assert len({first.prompt, two.prompt, three.prompt}) == 3
    assert (last.prompt, last.reply) == (three.prompt, "Three.")


@pytest.mark.parametrize("name", ["interrupted", "interrupted-after-text"])
def test_an_interrupt(name):
    facts = told(name)
    assert [(fact.kind, fact.outcome) for fact in facts] == [("accepted", ""), ("ended", INTERRUPTED)]
    assert facts[0].prompt == facts[1].prompt


def test_an_interrupt_before_output_leaves_no_entry():
    assert [fact.kind for fact in told("interrupted-before-output")] == ["accepted"]


def test_an_api_error_ends_its_turn():
    facts = told("failed")
    assert [(fact.kind, fact.outcome) for fact in facts] == [
        ("accepted", ""),
        ("ended", FAILED),
        ("accepted", ""),
        ("ended", COMPLETED),
    ]
    assert facts[1].error == "API Error: 400 scripted error 400"
    assert (facts[1].reply, facts[1].prompt) == (None, facts[0].prompt)


def test_a_limit_ends_its_turn_and_says_when_it_resets():
    ended = [fact for fact in told("limit") if fact.kind == "ended"]
    assert [(fact.outcome, fact.reason, fact.resets_at) for fact in ended] == [
        (FAILED, LIMIT, 1795900000),
        (COMPLETED, None, None),
    ]


def test_the_agent_wakes_itself():
    facts = told("background")
    assert [(fact.kind, fact.outcome) for fact in facts] == [
        ("accepted", ""),
        ("ended", COMPLETED),
        ("accepted", ""),
        ("ended", COMPLETED),
    ]
    assert facts[2].text.startswith("<task-notification>")
    assert [facts[1].reply, facts[3].reply] == ["Started.", "ok"]
    assert facts[0].prompt != facts[2].prompt


@pytest.mark.parametrize(("name", "replies"), [("question", ["Blue it is."]), ("permission", ["Made.", "Wrote."])])
def test_an_answered_question_is_part_of_its_turn(name, replies):
    facts = told(name)
    assert [fact.kind for fact in facts] == ["accepted", "ended"] * len(replies)
    assert [fact.reply for fact in facts if fact.kind == "ended"] == replies


def test_a_turn_that_waits_has_no_end():
    assert [fact.kind for fact in told("plan")] == ["accepted"]


# Facts of single entries


def test_the_second_of_two_ending_entries_ends_nothing():
    found = facts(user("a"), assistant("b"), system("stop_hook_summary"), system("turn_duration"))
    assert [fact.kind for fact in found] == ["accepted", "ended"]


def test_hooks_that_have_run_do_not_end_a_turn():
    """One of the user's own may have made the agent go on."""
    feedback = user("Stop hook feedback: go on", 2, isMeta=True)
    found = facts(user("a"), assistant("b"), feedback, system("stop_hook_summary"), assistant("c"), system())
    assert [(fact.kind, fact.reply) for fact in found] == [("accepted", None), ("ended", "c")]


def launched(id, second=0.0):
    content = [{"type": "tool_result", "tool_use_id": "t", "content": []}]
    result = {"isAsync": True, "status": "async_launched", "agentId": id}
    return user("", second, message={"content": content}, toolUseResult=result)


def notice(id):
    return f"<task-notification>\n<task-id>{id}</task-id>\n<status>completed</status>\n</task-notification>"


def test_running_subagents_are_named_at_each_end_until_their_own_end_is_reported():
    enqueued = {"type": "queue-operation", "timestamp": clock(2), "operation": "enqueue", "content": notice("x")}
    told = user(notice("x"), 2, prompt="p2")
    found = facts(
        user("a"), launched("x"), launched("y"), assistant("b"), system(), enqueued, told, assistant("c"), system()
    )
    assert [(fact.kind, fact.task, fact.subagents) for fact in found] == [
        ("accepted", None, None),
        ("launched", "x", None),
        ("launched", "y", None),
        ("ended", None, ("x", "y")),
        ("accepted", "x", None),
        ("ended", None, ("y",)),
    ]


def test_subagents_that_a_key_stopped_do_not_run_any_more():
    found = facts(user("a"), launched("x"), assistant("b"), system("agents_killed"), user("x was stopped"), system())
    assert [(fact.kind, fact.subagents) for fact in found][2:] == [("stopped", None), ("accepted", None), ("ended", ())]


def test_an_api_error_before_a_reply_is_not_a_failure():
    failure = assistant("API Error: 529", second=1, isApiErrorMessage=True)
    found = facts(user("a", 0), failure, user("a", 2, prompt="p2"), assistant("Done.", second=3), system(second=4))
    assert (found[-1].outcome, found[-1].reply, found[-1].error) == (COMPLETED, "Done.", None)


def test_a_failure_counts_once_if_an_end_follows():
    failure = assistant("API Error: 529", isApiErrorMessage=True)
    found = [fact for fact in facts(user("a"), failure, system()) if fact.kind == "ended"]
    assert [(fact.outcome, fact.error) for fact in found] == [(FAILED, "API Error: 529")]


def test_texts_of_a_subagent_give_no_fact():
    found = facts(
        user("a"),
        user("sub", 1, prompt="s", isSidechain=True),
        assistant("sub says", isSidechain=True),
        assistant("main says"),
        system(),
    )
    assert [(fact.kind, fact.reply) for fact in found] == [("accepted", None), ("ended", "main says")]


@pytest.mark.parametrize(
    "text",
    ["<command-name>/clear</command-name>", "<local-command-stdout>x", "<bash-input>ls</bash-input>", "<bash-stdout>x"],
)
def test_local_commands_are_not_prompts(text):
    assert facts(user(text)) == []


def test_claudes_own_additions_are_not_prompts():
    assert facts(user("Caveat: ...", isMeta=True)) == []


def test_a_tool_result_is_not_a_prompt():
    entry = user([{"type": "tool_result", "tool_use_id": "t", "content": "x"}])
    assert facts(entry) == []


def test_a_prompt_in_blocks_and_in_paste_tags():
    blocks = [{"type": "text", "text": "Look:"}, {"type": "image"}, {"type": "text", "text": "thanks  "}]
    assert facts(user(blocks))[0].text == "Look:\nthanks"
    pasted = '\n\n<pasted_content id="0a1f">\nline 1\nline 2\n</pasted_content id="0a1f">\n'
    assert facts(user(pasted))[0].text == "line 1\nline 2"


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"type": "user"},
        {"type": "user", "message": None},
        {"type": "user", "message": {"content": None}},
        {"type": "user", "message": {"content": [17, None]}},
        {"type": "assistant"},
        {"type": "assistant", "message": {"content": "text"}},
        {"type": "queue-operation", "operation": "enqueue"},
        {"type": "queue-operation", "operation": "enqueue", "content": [1]},
        {"type": "queue-operation", "operation": "dequeue"},
        {"type": "queue-operation", "content": "x"},
        {"type": "system"},
        {"type": "what-comes-next-year", "timestamp": 5},
    ],
    ids=repr,
)
def test_odd_entries_give_no_fact(entry):
    assert facts(entry) == []


WORDS = st.sampled_from(["", "content", "id", "input", "name", "text", "tool_result", "tool_use", "type", "[Request"])
JSON = st.recursive(
    st.sampled_from([None, True, 17, -0.5]) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


FIELDS = ("message", "content", "operation", "subtype", "timestamp", "promptId", "isApiErrorMessage", "isSidechain")
TYPES = st.sampled_from(["user", "assistant", "system", "queue-operation"])
ENTRIES = st.fixed_dictionaries({"type": TYPES}, optional=dict.fromkeys(FIELDS, JSON))


@settings(max_examples=40)
@given(st.lists(ENTRIES, max_size=4))
def test_any_entries_at_all(entries):
    transcript.open_tool_call(entries)
    assert {fact.kind for fact in transcript.facts(entries)} <= {"accepted", "joined", "started", "ended", "returned"}


# Replies


def texts(file, count=9, skip=frozenset()):
    return [entry.text for entry in conversation.written_replies(file, count, skip)]


@pytest.mark.parametrize(
    ("name", "replies"),
    [
        ("plain", ["It is\nfixed."]),
        ("tool", ["I look.", "Done."]),
        ("joined", ["First done."]),
        ("followed", ["One.", "Three."]),
        ("interrupted", []),
        ("interrupted-after-text", ["some words first"]),
        ("failed", ["Better now."]),
        ("background", ["Started.", "ok"]),
        ("question", ["Blue it is."]),
        ("permission", ["Made.", "Wrote."]),
        ("plan", []),
    ],
)
def test_replies(name, replies):
    assert texts(path(name)) == replies
    for count in (1, 2):
        assert texts(path(name), count) == replies[-count:]


def test_a_reply_has_its_prompt():
    prompts = [fact.prompt for fact in told("permission") if fact.kind == "accepted"]
    assert [entry.prompt for entry in conversation.written_replies(path("permission"), 9)] == prompts


def test_replies_without_those_of_running_turns():
    prompts = [str(fact.prompt) for fact in told("permission") if fact.kind == "accepted"]
    assert texts(path("permission"), skip=frozenset(prompts[1:])) == ["Made."]
    assert texts(path("permission"), skip=frozenset(prompts)) == []


def test_a_missing_file_has_no_replies(tmp_path):
    assert texts(str(tmp_path / "none")) == []


def test_each_text_block_is_a_text(tmp_path):
    file = write(
        tmp_path,
        user("a"),
        assistant("one", id="m1"),
        assistant("two", "three", id="m1"),
        assistant("four", id="m2"),
    )
    assert texts(file) == ["one", "two", "three", "four"]


def test_messages_without_an_id_stay_apart(tmp_path):
    entries = [{**assistant(text, id=None), "uuid": text} for text in ("one", "two")]
    assert texts(write(tmp_path, user("a"), *entries)) == ["one", "two"]


def test_a_tool_call_between_texts_is_not_a_text(tmp_path):
    call = assistant(id="m1")
    call["message"]["content"] = [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]
    result = user([{"type": "tool_result", "tool_use_id": "t", "content": "x"}], 2)
    file = write(tmp_path, user("a"), assistant("before", id="m1"), call, result, assistant("after", id="m2"))
    assert texts(file) == ["before", "after"]


def test_only_words_of_the_agent_itself_are_replies(tmp_path):
    thinking = assistant(id="m4")
    thinking["message"]["content"] = [{"type": "thinking", "thinking": "hm"}]
    file = write(
        tmp_path,
        user('says "assistant"'),
        assistant("sub", isSidechain=True),
        assistant("API Error", isApiErrorMessage=True, id="m2"),
        assistant(" \n ", id="m3"),
        thinking,
        assistant("mine", id="m5"),
    )
    assert texts(file) == ["mine"]


def test_an_unfinished_line_is_not_a_reply(tmp_path):
    assert texts(write(tmp_path, user("a"), assistant("one"), assistant("two", id="m2"), end="")) == ["one"]


def test_the_first_reply_of_a_cut_transcript_counts(tmp_path):
    # Claude may have removed the beginning (a compaction): there is no prompt before the text.
    found = conversation.written_replies(write(tmp_path, assistant("one"), user("b"), assistant("two", id="m2")), 9)
    assert [(entry.text, entry.prompt) for entry in found] == [("one", None), ("two", "p1")]


# Open tool calls


def test_an_open_call():
    assert transcript.open_tool_call(transcript.since(path("plan"), 0.0))[0] == "ExitPlanMode"


@pytest.mark.parametrize("name", ["tool", "question", "permission", "background", "plain", "interrupted"])
def test_no_call_is_open(name):
    assert transcript.open_tool_call(transcript.since(path(name), 0.0)) is None


def test_the_call_before_its_result_is_open():
    entries = transcript.since(path("question"), 0.0)
    result = next(n for n, entry in enumerate(entries) if "answered" in json.dumps(entry.get("message", "")))
    name, given, at = transcript.open_tool_call(entries[:result])
    assert name == "AskUserQuestion"
    assert given["questions"][0]["question"] == "Which colour?"
    assert at == transcript.stamp(entries[result - 1])
