"""Messages to the real Codex: each command in a separate process, with no connection in between."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from codex_lab import CodexLab
from soak import only_in_soak


@pytest.fixture(scope="module")
def kept() -> list[str]:
    return []


@pytest.fixture
def talker(codex_shared: CodexLab, kept: list[str]) -> str:
    """The session that most tests of this file send messages to."""
    if not kept:
        kept.append(codex_shared.create())
    return kept[0]


def said_to_model(lab: CodexLab) -> str:
    """The newest text of the user, as the model received it."""
    texts = [
        block["text"]
        for message in lab.model.requests[-1].body["messages"]
        for block in message["content"]
        if message["role"] == "user" and block["type"] == "text"
    ]
    return str(texts[-1])


def outcomes(told: dict[str, object]) -> list[tuple[int, str, str | None]]:
    return [(turn["turn"], turn["outcome"], turn["reply"]) for turn in told["turns"]]  # type: ignore[attr-defined]


def test_a_new_session_is_idle_and_has_said_nothing(codex_lab: CodexLab) -> None:
    told = json.loads(codex_lab.ok("create", "--cli", "codex", "--json", "-d", "the parser"))
    assert (told["cli"], told["status"], told["model"]) == ("codex", "idle", None)
    assert {"attach", "interrupt"} <= set(told["capabilities"])
    id = told["id"]
    assert codex_lab.ok("status", id) == "idle"
    assert codex_lab.ok("wait", id) == "idle"
    assert codex_lab.ok("last-message", id) == ""
    (row,) = json.loads(codex_lab.ok("list", "--json"))
    assert (row["id"], row["status"], row["description"]) == (id, "idle", "the parser")


def test_ask_answers_with_the_reply_of_that_turn(codex_shared: CodexLab, talker: str) -> None:
    assert codex_shared.ok("ask", talker, "[[reply: first]]") == "first"
    assert codex_shared.ok("ask", talker, "[[reply: one]][[bash: true]][[reply: two]]") == "two"
    assert codex_shared.ok("last-message", talker, "-n", "3") == "first\n\none\n\ntwo"


def test_the_turn_goes_on_with_nobody_connected(codex_shared: CodexLab, talker: str) -> None:
    receipt = json.loads(codex_shared.ok("send", talker, "[[hold: alone]][[reply: done alone]]", "--json"))
    assert (receipt["receipt"], receipt["via"]) == ("started", "rpc")
    assert codex_shared.model.wait_until_blocked("alone")
    assert codex_shared.ok("status", talker) == "working"
    wait = codex_shared.start("wait", talker, "--json")
    codex_shared.model.release("alone")
    done = codex_shared.finish(wait)
    assert outcomes(done.json) == [(receipt["turn"], "completed", "done alone")]
    assert codex_shared.run("wait", talker, "--json").json == done.json


def test_a_message_to_a_busy_thread_joins_the_turn(codex_shared: CodexLab, talker: str) -> None:
    first = json.loads(codex_shared.ok("send", talker, "[[hold: busy]][[reply: x]]", "--json"))["turn"]
    assert codex_shared.model.wait_until_blocked("busy")
    told = json.loads(codex_shared.ok("send", talker, "[[reply: both]]", "--json"))
    assert (told["turn"], told["receipt"]) == (first + 1, "accepted")
    assert codex_shared.ok("status", talker) == "working"
    codex_shared.model.release("busy")
    done = codex_shared.run("wait", talker, "--json").json
    assert outcomes(done) == [(first, "completed", "both"), (first + 1, "completed", "both")]


def test_a_queued_message_has_a_turn_of_its_own(codex_shared: CodexLab, talker: str) -> None:
    first = json.loads(codex_shared.ok("send", talker, "[[hold: queue]][[reply: before]]", "--json"))["turn"]
    assert codex_shared.model.wait_until_blocked("queue")
    told = json.loads(codex_shared.ok("send", talker, "[[reply: after]]", "--queue", "--json"))
    assert told["receipt"] == "queued"
    codex_shared.model.release("queue")
    done = codex_shared.run("wait", talker, "--json").json
    assert outcomes(done)[-1] == (first + 1, "completed", "after")
    assert codex_shared.run("wait", talker, "--turn", str(first), "--json").json["turns"][0]["reply"] == "before"


def test_interrupt_ends_the_turn_and_the_commands_of_it(codex_shared: CodexLab, talker: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    codex_shared.ok("send", talker, f"[[bash: echo $$ > {pid}; exec sleep 300]][[reply: never]]")
    codex_shared.until(lambda: pid.exists() and pid.read_text().strip(), "the command")
    assert codex_shared.ok("interrupt", talker) == "interrupted"
    assert codex_shared.ok("status", talker) == "idle"
    done = codex_shared.run("wait", talker, "--json")
    assert (done.code, done.json["outcome"]) == (5, "interrupted")
    codex_shared.until(lambda: not os.path.exists(f"/proc/{pid.read_text().strip()}"), "the end of the command")
    assert codex_shared.ok("ask", talker, "[[reply: still here]]") == "still here"


def test_a_message_that_the_interrupted_turn_had_not_got_to_is_interrupted_too(
    codex_shared: CodexLab, talker: str
) -> None:
    codex_shared.ok("send", talker, "[[hold: lost]][[reply: x]]")
    assert codex_shared.model.wait_until_blocked("lost")
    codex_shared.ok("send", talker, "[[reply: never read]]")
    codex_shared.ok("interrupt", talker)
    done = codex_shared.run("wait", talker, "--json")
    assert [outcome for _, outcome, _ in outcomes(done.json)] == ["interrupted", "interrupted"]
    assert codex_shared.ok("status", talker) == "idle"


def test_the_same_words_again_are_another_message(codex_shared: CodexLab, talker: str) -> None:
    codex_shared.ok("send", talker, "[[hold: same]][[reply: x]]")
    assert codex_shared.model.wait_until_blocked("same")
    lost = json.loads(codex_shared.ok("send", talker, "[[reply: go on]]", "--json"))["turn"]
    codex_shared.ok("interrupt", talker)
    assert codex_shared.ok("ask", talker, "[[reply: go on]]") == "go on"
    done = codex_shared.run("wait", talker, "--turn", str(lost), "--json").json
    assert outcomes(done)[-1] == (lost, "interrupted", None)


def test_a_long_thread_is_told_as_truly_as_a_short_one(codex_lab: CodexLab) -> None:
    """What the rollout recorded long ago is stored separately, and only its newest part is read."""
    id, path = codex_lab.create(), codex_lab.path / "long"
    path.write_text("x" * 300_000)
    codex_lab.ok("ask", id, "[[reply: the first]]")
    codex_lab.ok("ask", id, "--file", str(path))
    codex_lab.ok("send", id, "[[hold: cut]][[reply: x]]")
    assert codex_lab.model.wait_until_blocked("cut")
    codex_lab.ok("send", id, "[[reply: lost]]")
    codex_lab.ok("interrupt", id)
    codex_lab.ok("ask", id, "--file", str(path))
    codex_lab.ok("ask", id, "[[reply: lost]]")
    assert (codex_lab.folder(id) / "agent" / "past.json").exists()
    told = [codex_lab.run("wait", id, "--turn", str(turn), "--json").json for turn in range(1, 7)]
    assert [one["outcome"] for one in told] == ["completed"] * 2 + ["interrupted"] * 2 + ["completed"] * 2
    assert outcomes(told[0]) == [(1, "completed", "the first")]
    assert codex_lab.ok("last-message", id, "-n", "9").startswith("the first\n\necho: xxx")


def test_send_with_interrupt_ends_the_running_turn_first(codex_shared: CodexLab, talker: str) -> None:
    codex_shared.ok("send", talker, "[[hold: aside]][[reply: x]]")
    assert codex_shared.model.wait_until_blocked("aside")
    told = json.loads(codex_shared.ok("send", talker, "[[reply: instead]]", "--interrupt", "--json"))
    assert told["receipt"] == "started"
    assert outcomes(codex_shared.run("wait", talker, "--json").json) == [(told["turn"], "completed", "instead")]


def test_a_failed_turn_has_the_words_of_the_model_server(codex_shared: CodexLab, talker: str) -> None:
    done = codex_shared.run("ask", talker, "[[error: 400]]", "--json")
    assert (done.code, done.json["outcome"]) == (5, "failed")
    assert "scripted error 400" in done.json["error"]
    assert codex_shared.ok("status", talker) == "idle"
    assert codex_shared.ok("ask", talker, "[[reply: recovered]]") == "recovered"


def test_a_question_is_waited_for_and_told(codex_shared: CodexLab, talker: str) -> None:
    codex_shared.ok("send", talker, "[[ask: Which colour?|Red|Blue]][[reply: thanks]]")
    done = codex_shared.run("wait", talker, "--json")
    assert (done.code, done.json["outcome"]) == (6, "waiting_for_input")
    asked = done.json["question"]
    assert (asked["kind"], asked["text"]) == ("question", "Which colour?")
    assert [option["label"] for option in asked["options"]] == ["Red", "Blue"]
    refused = codex_shared.run("send", talker, "hello?")
    assert refused.code == 6
    assert "Which colour?" in refused.err
    codex_shared.ok("interrupt", talker)
    assert codex_shared.ok("status", talker) == "idle"


TEXTS = {
    "control signs": "\ttab\r\n bell \x07 \x1b[0m",
    "blanks around": "  lead\n\ntrail  \n",
    "slash": "/clear",
    "dollar": "$skill and @file",
    "bang": "!ls",
    "exit": "exit",
    "unicode": "e\u0301 é \u202e 👩🏽‍🔬 日本語",
    "quotes": "'single' \"double\" `tick` $(id) \\n \\",
    "200 KB": "0123456789abcde\n" * 12_500,
    "just below the limit": "x" * 1_000_000,
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("control signs", "unicode", "just below the limit") else only_in_soak)
        for name in TEXTS
    ],
)
def test_any_text_arrives_as_it_is(codex_shared: CodexLab, talker: str, name: str) -> None:
    path = codex_shared.path / "text"
    path.write_bytes(TEXTS[name].encode())
    told = json.loads(codex_shared.ok("send", talker, "--file", str(path), "--json"))
    assert told["via"] == "rpc"
    codex_shared.ok("wait", talker)
    assert said_to_model(codex_shared) == TEXTS[name]


def test_what_codex_would_not_take_goes_by_file(codex_shared: CodexLab, talker: str) -> None:
    text = "[[reply: read it]]\n" + "0123456789abcde\n" * 327_000
    path = codex_shared.path / "large"
    path.write_text(text)
    told = json.loads(codex_shared.ok("send", talker, "--file", str(path), "--json"))
    assert told["via"] == "file"
    assert outcomes(codex_shared.run("wait", talker, "--json").json) == [(told["turn"], "completed", "read it")]
    assert str(codex_shared.folder(talker)) in said_to_model(codex_shared)
    kept = codex_shared.folder(talker) / "messages" / f"{told['turn']:04d}" / "text.md"
    assert kept.read_text() == text


def test_the_same_request_is_never_delivered_twice(codex_shared: CodexLab, talker: str) -> None:
    first = json.loads(codex_shared.ok("send", talker, "[[reply: once]]", "--request-id", "r1", "--json"))
    codex_shared.ok("wait", talker)
    before = len(codex_shared.model.requests)
    again = json.loads(codex_shared.ok("send", talker, "[[reply: once]]", "--request-id", "r1", "--json"))
    assert again["turn"] == first["turn"]
    assert codex_shared.ok("wait", talker) == "completed"
    assert len(codex_shared.model.requests) == before


def test_a_person_sits_down_at_the_live_thread(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: before]]") == "before"
    codex_lab.tmux("new-session", "-d", "-s", "me", "-x", "120", "-y", "50", " ".join(codex_lab.argv("attach", id)))

    def shows(words: str) -> None:
        codex_lab.until(lambda: words in codex_lab.tmux("capture-pane", "-p", "-t", "=me:"), words)

    shows("• before")
    assert codex_lab.ok("ask", id, "[[reply: from us]]") == "from us"
    shows("• from us")
    codex_lab.tmux("send-keys", "-t", "=me:", "-l", "[[reply: from me]]")
    shows("› [[reply: from me]]")
    codex_lab.tmux("send-keys", "-t", "=me:", "Enter")
    shows("• from me")
    assert codex_lab.ok("last-message", id) == "from me"
    told = json.loads(codex_lab.ok("status", id, "--json"))
    assert (told["status"], told["turn"]) == ("idle", 2)
