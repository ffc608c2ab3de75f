"""Questions of the real Codex as data, and answers to them through its app-server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from codex_lab import NEWER_TOOLS, CodexLab
from lab import Done
from soak import size

# How often a person and `respond` answer at the same moment.
RACES = size(2, 30)
# Codex does not treat it as a harmless command, and it needs no file that the sandbox protects.
ASKING = "[[bash: python3 -c 'print(6 * 7)']]"
TWO = [
    {
        "id": name,
        "header": name,
        "question": question,
        "options": [{"label": label, "description": f"Take {label}"} for label in labels],
    }
    for name, question, labels in (("size", "Which size?", ("Small", "Large")), ("of", "Of what?", ("Wood", "Paper")))
]


@pytest.fixture(scope="module")
def asker(codex_shared: CodexLab) -> str:
    return codex_shared.create("--permissions", "ask")


def question(lab: CodexLab, id: str) -> dict[str, Any]:
    """The open question, as `wait` reports it."""
    waited = lab.run("wait", id, "--json")
    assert waited.code == 6, waited
    found: dict[str, Any] = waited.json["question"]
    return found


def told(lab: CodexLab, id: str) -> str:
    """The reply that ends the same turn."""
    waited = lab.run("wait", id, "--json")
    assert waited.code == 0, waited
    return str(waited.json["turns"][-1]["reply"])


def gone(done: Done) -> bool:
    return done.code == 1 and done.json["error"]["code"] == "question_gone"


def test_a_question_is_told_of_everywhere_and_answered(codex_shared: CodexLab, asker: str) -> None:
    lab = codex_shared
    lab.ok("send", asker, f"{ASKING}[[replytool]]")
    asked = question(lab, asker)
    assert (asked["kind"], asked["text"]) == ("permission", "exec_command: python3 -c 'print(6 * 7)'")
    assert [option["label"] for option in asked["options"]] == ["allow", "always", "deny"]
    assert lab.run("status", asker, "--json").json["question"] == asked
    assert json.loads(lab.ok("pending", "--json")) == [{"session": asker, **asked}]
    assert "waiting_for_input" in [row["status"] for row in json.loads(lab.ok("list", "--json"))]
    assert json.loads(lab.ok("inspect", asker, "--json"))["status"] == "waiting_for_input"
    events = [json.loads(line) for line in lab.ok("events", asker).splitlines()]
    assert [event["question"] for event in events if event["event"] == "asked"] == [asked]
    refused = lab.run("send", asker, "and now?")
    assert refused.code == 6
    assert "--allow" in refused.err
    # None of our processes runs meanwhile: an answer the next morning works like an immediate one.
    assert [pid for pid in lab.processes() if b"dev_sessions\0" in commandline(pid)] == []
    assert lab.ok("respond", asker, "--allow") == "answered (permission)"
    assert told(lab, asker) == "42\n"
    assert gone(lab.run("respond", asker, "--deny", "--question", asked["id"], "--json"))


def commandline(pid: int) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_refusal_and_its_reason(codex_shared: CodexLab, asker: str) -> None:
    codex_shared.ok("send", asker, f"{ASKING}[[reply: not heard]]")
    question(codex_shared, asker)
    codex_shared.ok("respond", asker, "--deny", "not before the tests pass")
    # The message comes with the refusal, before the model's next output: it does not reach the rest of its script.
    assert told(codex_shared, asker) == "echo: not before the tests pass"
    outputs = [line["payload"].get("output") for line in codex_shared.rollout(asker)]
    assert "rejected by user" in [one for one in outputs if one][-1]


def test_always_is_for_the_same_command(codex_shared: CodexLab, asker: str) -> None:
    other = ASKING.replace("7", "8")
    codex_shared.ok("send", asker, f"{ASKING}{ASKING}{other}[[replytool]]")
    question(codex_shared, asker)
    codex_shared.ok("respond", asker, "--always")
    assert question(codex_shared, asker)["text"] == "exec_command: python3 -c 'print(6 * 8)'"
    codex_shared.ok("respond", asker, "--allow")
    assert told(codex_shared, asker) == "48\n"
    assert not (codex_shared.codex_home / "rules").exists()  # where Codex would store it for every session


def test_what_a_script_of_the_model_wants_to_do(codex_shared: CodexLab) -> None:
    """Newer models use their tools only through scripts, which the rollout records in less detail."""
    lab, id = codex_shared, codex_shared.create("--permissions", "ask", "--model", NEWER_TOOLS)
    for script, shown in ((ASKING, "print(6 * 7)"), ("[[write: never.txt|one line]]", "+one line")):
        lab.ok("send", id, f"{script}[[replytool]]")
        assert shown in question(lab, id)["text"]
        lab.ok("respond", id, "--deny")
        assert "rejected by user" in told(lab, id)
    assert not (lab.project / "never.txt").exists()
    lab.ok("send", id, f"{ASKING}[[replytool]]")
    question(lab, id)
    lab.ok("respond", id, "--allow")
    assert told(lab, id).startswith("42\n")


def test_a_change_of_files(codex_shared: CodexLab, asker: str) -> None:
    made = codex_shared.project / "made.txt"
    codex_shared.ok("send", asker, "[[write: made.txt|one line]][[replytool]]")
    assert "+one line" in question(codex_shared, asker)["text"]
    codex_shared.ok("respond", asker, "--deny")
    assert "rejected by user" in told(codex_shared, asker)
    assert not made.exists()
    codex_shared.ok("send", asker, "[[write: made.txt|one line]][[replytool]]")
    question(codex_shared, asker)
    codex_shared.ok("respond", asker, "--allow")
    told(codex_shared, asker)
    assert made.read_text() == "one line\n"


def test_questions_asked_together(codex_shared: CodexLab, asker: str) -> None:
    codex_shared.ok("send", asker, f"[[tool: request_user_input {json.dumps({'questions': TWO})}]][[replytool]]")
    asked = question(codex_shared, asker)
    assert [part["text"] for part in asked["parts"]] == ["Which size?", "Of what?"]
    refused = codex_shared.run("respond", asker, "--choose", "1.1")
    assert refused.code == 2
    assert "question 2 of 2" in refused.err
    codex_shared.ok("respond", asker, "--answers", "-", stdin='["Large", "Bamboo"]')
    given = json.loads(told(codex_shared, asker))["answers"]
    assert given == {"size": {"answers": ["Large"]}, "of": {"answers": ["Bamboo"]}}


def press(lab: CodexLab, id: str, key: str, words: str) -> None:
    """Press a key on the TUI's question; the TUI may ignore a key that comes right after it has drawn the question."""
    lab.until(lambda: words in lab.screen(id), f"{words} in the TUI")
    pressed = 0.0

    def is_answered() -> bool:
        nonlocal pressed
        if time.monotonic() > pressed + 2.0:
            pressed = time.monotonic()
            lab.keys(id, key)
        return words not in lab.screen(id)

    lab.until(is_answered, f"the end of {words}")


@pytest.mark.soak
def test_a_person_in_the_same_terminal(codex_lab: CodexLab) -> None:
    """First a person answers, then both answer at the same moment: one answer counts, and `respond` reports which."""
    lab = codex_lab
    id = lab.create("--permissions", "ask")
    lab.ok("send", id, f"{ASKING}[[hold: on]][[replytool]]")
    asked = question(lab, id)
    lab.sit_down(id)
    press(lab, id, "y", "Yes, proceed")
    assert gone(lab.run("respond", id, "--deny", "no", "--question", asked["id"], "--json"))
    lab.model.release("on")
    assert told(lab, id) == "42\n"
    for number in range(RACES):
        lab.ok("send", id, f"[[bash: python3 -c 'print({number} + 100)']][[replytool]]")
        asked = question(lab, id)
        lab.until(lambda: "Yes, proceed" in lab.screen(id), "the question in the TUI")
        with ThreadPoolExecutor(2) as pool:
            answered = pool.submit(lab.run, "respond", id, "--deny", "--question", asked["id"], "--json")
            # The command takes some time to start: the key is pressed before, during and after its answer.
            for _ in range(number % 4):
                lab.ok("status", id)
            if lab.run("status", id, "--json").json["question"] is not None:
                lab.keys(id, "y")
            done: Done = answered.result()
        reply = told(lab, id)
        assert (done.code == 0) == ("rejected by user" in reply), (number, done, reply)
        assert (done.code == 0) != (reply == f"{number + 100}\n"), (number, done, reply)
        assert done.code == 0 or gone(done), done
        lab.keys(id, "C-u")  # a "y" that came too late for the question becomes a draft in the input box


def test_a_question_is_closed_when_its_server_ends(codex_lab: CodexLab) -> None:
    lab = codex_lab
    id = lab.create("--permissions", "ask")
    lab.ok("send", id, f"{ASKING}[[replytool]]")
    asked = question(lab, id)
    (server,) = lab.servers()
    os.kill(server, signal.SIGKILL)
    waited = lab.run("wait", id, "--json")
    assert (waited.code, waited.json["outcome"]) == (5, "interrupted")
    assert json.loads(lab.ok("pending", "--json")) == []
    assert gone(lab.run("respond", id, "--allow", "--question", asked["id"], "--json"))
    assert lab.ok("ask", id, "[[reply: on]]") == "on"


def several(cli: str, words: list[str]) -> str:
    """A prompt that makes an agent ask all of these at once, each with the same two choices."""
    options = [{"label": label, "description": label} for label in ("Yes", "No")]
    asked = [
        {"question": word, "header": "H", "options": options} | ({"id": f"q{n}"} if cli == "codex" else {})
        for n, word in enumerate(words)
    ]
    tool = "request_user_input" if cli == "codex" else "AskUserQuestion"
    return f"[[tool: {tool} {json.dumps({'questions': asked})}]][[replytool]]"


@pytest.mark.soak
def test_questions_of_several_sessions_at_once(codex: str, claude: str) -> None:
    """Both agents' questions are open at once and answered at once: each answer reaches its own question."""
    with CodexLab(codex, "several", claude) as lab, ThreadPoolExecutor(8) as pool:
        clis = ["claude", "codex"] * size(1, 4)
        ids = list(pool.map(lambda cli: lab.create("--cli", cli), clis))
        words = {id: [f"{id} number {n}?" for n in range(3 if place % 2 else 2)] for place, id in enumerate(ids)}
        for cli, id in zip(clis, ids, strict=True):
            lab.ok("send", id, several(cli, words[id]))
        lab.until(lambda: len(json.loads(lab.ok("pending", "--json"))) == len(ids), "all questions")
        asked = json.loads(lab.ok("pending", "--json"))
        assert {one["session"]: [part["text"] for part in one["parts"]] for one in asked} == words
        answers = {one["session"]: json.dumps([f"to {text}" for text in words[one["session"]]]) for one in asked}
        list(pool.map(lambda id: lab.ok("respond", id, "--answers", "-", stdin=answers[id]), ids))
        replies = list(pool.map(lambda id: told(lab, id), ids))
        for id, reply in zip(ids, replies, strict=True):
            said = sorted(re.findall(r"to (\S+ number \d\?)", reply))  # Codex lists them in any order
            assert said == words[id], reply
        assert json.loads(lab.ok("pending", "--json")) == []
