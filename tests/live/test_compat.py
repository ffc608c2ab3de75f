"""The core promises on the oldest supported Claude Code, and on unknown versions.

`make compat` also runs the whole state table and the tests of `send` on the oldest version.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import ROOT, Lab, subagent
from soak import only_in_soak

(OLDEST,) = json.loads((ROOT / "tests" / "agents.json").read_text())["claude"]["older"]


@pytest.fixture(scope="module")
def claude() -> str:
    """The pinned older claude; live tests are never skipped without it."""
    path = ROOT / ".agents" / f"claude-{OLDEST}" / "claude"
    assert os.access(path, os.X_OK), f"no claude at {path}; run: make agents"
    return str(path)


@pytest.fixture(scope="module")
def shared(claude: str) -> Iterator[Lab]:
    with Lab(claude, "compat") as made:
        yield made


def waited(lab: Lab, id: str, code: int = 0) -> dict[str, Any]:
    done = lab.run("wait", id, "--json")
    assert done.code == code, done
    return dict(done.json)


def hold(lab: Lab, id: str, gate: str, after: str) -> None:
    """Send a message and hold back the model's answer."""
    assert lab.run("send", id, "--json", f"[[hold: {gate}]]{after}").json["receipt"] == "started"
    assert lab.model.wait_until_blocked(gate, 30)


def test_create_past_the_trust_dialog_tells_the_version(lab: Lab) -> None:
    lab.trust()
    done = lab.run("create", "--json", "--file", "-", stdin="[[reply: here I am]]")
    assert done.code == 0, done
    assert "accepted Claude's trust dialog" in done.err
    id = done.json["id"]
    assert waited(lab, id)["outcome"] == "completed"
    assert lab.ok("last-message", id) == "here I am"
    assert json.loads((lab.folder(id) / "record.json").read_text())["backend"]["version"] == OLDEST
    assert lab.ok("kill", id)
    assert lab.ok("list", "--json") == "[]"
    assert lab.processes() == []


@pytest.mark.parametrize(
    ("text", "via"),
    [
        pytest.param("first line\n\n  indented `code` \\\n\nümläut 漢字 🙂 \\", "terminal", id="signs"),
        pytest.param("\n".join(f"{number:03d} a line" for number in range(60)) + "x" * 3000, "terminal", id="lines"),
        pytest.param("a\ttab and \x1b[31mred " + "long " * 50, "file", id="tab"),
        pytest.param("/clear", "file", id="command", marks=only_in_soak),
    ],
)
def test_a_text_arrives_whole(shared: Lab, talker: str, text: str, via: str) -> None:
    before = shared.prompts(talker)
    told = shared.run("ask", talker, "--json", "--file", "-", stdin=text).json
    assert told["via"] == via
    assert told["outcome"] == "completed"
    shared.until(lambda: len(shared.prompts(talker)) > len(before), "the prompt in the transcript")
    (prompt,) = shared.prompts(talker)[len(before) :]
    message = shared.folder(talker) / "messages" / f"{told['turn']:04d}" / "text.md"
    assert message.read_bytes() == text.encode()
    assert prompt == text.rstrip() if via == "terminal" else str(message) in prompt


def test_messages_to_a_busy_agent_follow_its_turn(shared: Lab, talker: str) -> None:
    hold(shared, talker, "busy", "[[reply: one]]")
    for word in ("two", "three"):
        told = shared.run("send", talker, "--json", f"[[reply: {word}]]").json
        assert told["receipt"] == "accepted"
    assert shared.ok("status", talker) == "working"
    shared.model.release("busy")
    last = waited(shared, talker)["turns"][-3:]
    assert [(turn["outcome"], turn["reply"]) for turn in last] == [
        ("completed", "one"),
        ("completed", "three"),  # Claude Code answers the queued message at once
        ("completed", "three"),
    ]
    assert shared.ok("last-message", talker, "-n", "2") == "one\n\nthree"


def test_messages_join_a_turn_in_which_a_tool_runs(shared: Lab, talker: str) -> None:
    gate = shared.project / "gate"
    script = shared.project / "tool.py"
    script.write_text("import os, time\nwhile not os.path.exists('gate'):\n    time.sleep(0.05)\n")
    shared.ok("send", talker, "[[bash: touch runs; python3 tool.py]][[reply: alone]]")
    shared.until((shared.project / "runs").exists, "the tool runs")
    assert shared.ok("send", talker, "[[reply: both]]").startswith("accepted")
    gate.touch()
    assert [turn["reply"] for turn in waited(shared, talker)["turns"][-2:]] == ["both", "both"]


def test_a_queued_message_has_a_turn_of_its_own(shared: Lab, talker: str) -> None:
    hold(shared, talker, "queue", "[[reply: before]]")
    assert shared.run("send", talker, "--queue", "--json", "[[reply: after]]").json["receipt"] == "queued"
    shared.model.release("queue")
    assert [turn["reply"] for turn in waited(shared, talker)["turns"][-2:]] == ["before", "after"]


def test_an_interrupt_ends_the_turn_and_leaves_nothing(shared: Lab, talker: str) -> None:
    hold(shared, talker, "interrupt", "[[reply: never]]")
    number = shared.run("status", talker, "--json").json["turn"]
    assert shared.ok("interrupt", talker) == "interrupted"
    assert shared.ok("status", talker) == "idle"
    assert waited(shared, talker, 5)["outcome"] == "interrupted"
    assert shared.ok("ask", talker, "[[reply: next]]") == "next"
    # Later events do not change the outcome of the turn.
    assert shared.run("wait", talker, "--turn", str(number), "--json").json["outcome"] == "interrupted"


def test_a_question_and_its_answer(shared: Lab, talker: str) -> None:
    shared.ok("send", talker, "[[ask: Which colour?|Red|Blue]][[reply: thanks]]")
    told = waited(shared, talker, 6)
    assert told["question"]["text"] == "Which colour?"
    assert [option["label"] for option in told["question"]["options"]] == ["Red", "Blue"]
    refused = shared.run("send", talker, "[[reply: unheard]]")
    assert refused.code == 6
    shared.until(lambda: re.search(r"❯ 1\. Red", shared.screen(talker)), "the question on the screen")
    shared.keys(talker, "2")
    shared.until(lambda: shared.ok("status", talker) == "idle", "the end of the turn")
    assert shared.ok("last-message", talker) == "thanks"


def test_a_failure_of_the_service(shared: Lab, talker: str) -> None:
    shared.ok("send", talker, "[[error: 429]]")
    told = waited(shared, talker, 5)
    assert (told["outcome"], told["reason"], told["resets_at"]) == ("failed", "limit", None)
    assert "scripted error 429" in told["error"]
    assert shared.ok("ask", talker, "[[reply: better]]") == "better"


def test_a_permission_is_asked_for(shared: Lab) -> None:
    id = shared.create("--permissions", "ask")
    shared.ok("send", id, "[[bash: touch asked]][[reply: touched]]")
    told = waited(shared, id, 6)
    assert (told["question"]["kind"], told["question"]["text"]) == ("permission", "Bash: touch asked")
    shared.until(lambda: re.search(r"❯ 1\. Yes", shared.screen(id)), "the dialog on the screen")
    assert not (shared.project / "asked").exists()
    shared.keys(id, "1")
    shared.until(lambda: shared.ok("status", id) == "idle", "the end of the turn")
    assert (shared.project / "asked").exists()

    # Each subagent in the foreground has its own dialog. The newest Claude Code has no such subagents.
    first = subagent("[[bash: touch one]][[bash: touch two]][[replytool]]", run_in_background=False)
    two = first + "[[and]]" + subagent("[[bash: touch three]]", run_in_background=False)
    shared.ok("send", id, f"{two}[[reply: all]]")
    one, three = shared.pending("touch one", "touch three")
    assert one["agent"]["type"] == three["agent"]["type"] == "general-purpose"
    assert one["agent"]["id"] != three["agent"]["id"]
    assert waited(shared, id, 6)["question"]["id"] in (one["id"], three["id"])
    shared.ok("respond", id, "--question", three["id"], "--allow")
    shared.ok("respond", id, "--allow")
    shared.pending("touch two")
    shared.until(lambda: re.search(r"touch two\n(.*\n)*.*❯ 1\. Yes", shared.screen(id)), "the dialog on the screen")
    shared.keys(id, "1")
    shared.pending()
    assert waited(shared, id)["turns"][-1]["reply"] == "all"
    assert all((shared.project / name).exists() for name in ("one", "two", "three"))
    assert shared.hooks() == []

    shared.ok(
        "send", id, subagent("[[bash: touch four]][[reply: four]]", run_in_background=True) + "[[reply: left it]]"
    )
    (asked,) = shared.pending("touch four")
    shared.until(
        lambda: re.search(r"^[●⏺] left it", shared.screen(id), re.MULTILINE), "the end of the agent's own turn"
    )
    shared.until(lambda: time.time() > asked["since"] + 3, "a while")
    assert shared.pending("touch four") == [asked]
    shared.ok("respond", id, "--allow")
    shared.until((shared.project / "four").exists, "what was allowed")
    shared.until(lambda: shared.ok("status", id) == "idle", "the end of all")
    assert shared.hooks() == []
    assert shared.ok("kill", id)


def test_a_dead_agent(shared: Lab) -> None:
    id = shared.create()
    hold(shared, id, "dead", "[[reply: never]]")
    os.kill(shared.pid(id), signal.SIGKILL)
    assert waited(shared, id, 5)["outcome"] == "exited"
    assert shared.ok("status", id) == "exited"
    assert shared.ok("kill", id)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Callable[[str], Lab]]:
    """Makes a lab whose `claude` reports a given version, and otherwise only records that it was started."""
    labs: list[Lab] = []

    def make(version: str) -> Lab:
        program = tmp_path / "claude"
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version} (Claude Code)"; exit; fi\n'
            f"touch {tmp_path}/started\necho 'A new kind of screen'\nexec sleep 600\n"
        )
        program.chmod(0o755)
        labs.append(Lab(str(program), "stranger").__enter__())
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


def test_one_that_is_too_old_is_refused_before_it_is_started(tmp_path: Path, stranger: Callable[[str], Lab]) -> None:
    lab = stranger("2.1.77")
    refused = lab.run("create", "--json")
    assert refused.code == 1
    error = refused.json["error"]
    assert error["code"] == "launch_failed"
    assert all(word in error["message"] for word in ("2.1.77", OLDEST, str(tmp_path / "claude")))
    assert error["data"]["next"]
    assert not (tmp_path / "started").exists()
    assert lab.ok("list", "--json") == "[]"
    assert lab.processes() == []


def test_one_that_nobody_knows_is_started_and_told_by_what_it_misses(
    tmp_path: Path, stranger: Callable[[str], Lab]
) -> None:
    lab = stranger("9.8.7")
    late = lab.run("create", "--id", "late", env={"DEV_SESSIONS_READY_TIMEOUT": "1"})
    assert late.code == 6
    assert (tmp_path / "started").exists()
    for words in (
        "Claude Code 9.8.7 (newer than",
        "no input box",
        "SessionStart",
        "A new kind of screen",
        "attach late",
    ):
        assert words in late.err
    assert lab.ok("kill", "late")
    assert lab.processes() == []
