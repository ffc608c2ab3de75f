"""The core promises on an older Codex, and an upgrade during a session.

With `DEV_SESSIONS_TEST_CODEX` set to the path of an older one, most of the other live tests of Codex run on that.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from codex_lab import OLDER_TOOLS, CodexLab, copy_of
from lab import ROOT
from soak import only_in_soak

states = copy_of(Path(__file__).with_name("test_codex_states.py"), "older_codex_states")
questions = copy_of(Path(__file__).with_name("test_codex_questions.py"), "older_codex_questions")
agents = copy_of(Path(__file__).with_name("test_codex_agents.py"), "older_codex_agents")
(OLDER,) = json.loads((ROOT / "tests" / "agents.json").read_text())["codex"]["older"]
ROWS = ("a permission prompt open", "a usage limit", "the server killed at work")
ROWS_IN_SOAK = (
    "interrupted by us in a tool",
    "nothing ever sent",
    "a tool runs for minutes",
    "a question open",
    "accepted while the model thinks",
    "a person's own prompt",
)


@pytest.fixture(scope="module")
def codex() -> str:
    """The pinned older codex; live tests are never skipped without it."""
    path = ROOT / ".agents" / f"codex-{OLDER}" / "bin" / "codex"
    assert os.access(path, os.X_OK), f"no codex at {path}; run: make agents"
    return str(path)


@pytest.fixture(scope="module")
def codex_shared(codex: str) -> Iterator[CodexLab]:
    with CodexLab(codex, "compat") as made:
        yield made


left = states.left


@pytest.fixture
def stage(codex: str, row: Any, left: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    shared = left if states.TABLE.can_share(row) and row.name not in states.SEATED else None
    yield from states.TABLE.staged(lambda: CodexLab(codex, "compat"), row, shared, request)


def rows() -> list[Any]:
    found = [row for row in states.CODEX_ROWS if row.name in (*ROWS, *ROWS_IN_SOAK)]
    return [pytest.param(row, id=row.name, marks=() if row.name in ROWS else only_in_soak) for row in found]


@pytest.mark.parametrize("row", rows())
def test_row(stage: Any, row: Any) -> None:
    states.TABLE.test_row(stage, row)


def test_a_conversation(codex_shared: CodexLab) -> None:
    id = codex_shared.create("--env", "COLOUR=red", env={"SECRET_TOKEN": "of the first"})
    other = codex_shared.create()
    show = "[[bash: echo $DEV_SESSIONS_ID $COLOUR ${SECRET_TOKEN:-none}]][[replytool]]"
    assert codex_shared.ok("ask", id, show) == f"{id} red of the first"
    assert codex_shared.ok("ask", other, show) == f"{other} none"
    assert codex_shared.ok("last-message", id) == f"{id} red of the first"
    codex_shared.ok("send", id, "[[hold: h]][[reply: one]]")
    assert codex_shared.model.wait_until_blocked("h")
    told = json.loads(codex_shared.ok("send", id, "[[reply: two]]", "--queue", "--json"))
    assert told["receipt"] == "queued"
    codex_shared.model.release("h")
    done = codex_shared.run("wait", id, "--json").json
    assert [turn["reply"] for turn in done["turns"]][-1] == "two"
    assert [one["role"] for one in codex_shared.run("logs", id, "--json").json if one["turn"] == 2] == [
        "user",
        "assistant",
    ]
    codex_shared.ok("kill", id, other)
    assert codex_shared.processes() == []


def test_any_text_arrives_as_it_is(codex_shared: CodexLab) -> None:
    id, path = codex_shared.create(), codex_shared.path / "text"
    text = "\t'q' \"d\" $x `y` \x07 e\u0301 日本語\r\n" + "0123456789abcde\n" * 12_500
    path.write_bytes(text.encode())
    codex_shared.ok("ask", id, "--file", str(path))
    assert text in codex_shared.prompts(id)


def test_questions_are_answered(codex_shared: CodexLab) -> None:
    id = codex_shared.create("--permissions", "ask")
    for check in (questions.test_a_refusal_and_its_reason, questions.test_a_change_of_files):
        check(codex_shared, id)


def test_subagents(codex_shared: CodexLab) -> None:
    agents.test_a_turn_is_over_when_its_subagents_are(codex_shared, OLDER_TOOLS)


@only_in_soak
def test_subagents_that_ask_and_are_ended(codex_shared: CodexLab) -> None:
    agents.test_what_subagents_ask_is_seen_and_answered(codex_shared, OLDER_TOOLS)
    agents.test_an_interrupt_ends_them_too_and_a_kill(codex_shared, OLDER_TOOLS)


def test_codex_is_upgraded_under_a_session(codex_lab: CodexLab, codex: str) -> None:
    link = codex_lab.path / "codex"
    link.symlink_to(codex)
    codex_lab.env["DEV_SESSIONS_CODEX"] = str(link)
    id = codex_lab.create()
    assert codex_lab.ok("ask", id, "[[reply: from the old one]]") == "from the old one"
    (old,) = codex_lab.servers()
    link.unlink()
    link.symlink_to(ROOT / ".agents" / "codex")
    other = codex_lab.create()
    assert codex_lab.servers() == [old]  # the server is still running its work, so it is not ended
    assert codex_lab.ok("ask", id, "[[reply: still the old one]]") == "still the old one"
    assert codex_lab.ok("ask", other, "[[reply: joined]]") == "joined"
    os.kill(old, signal.SIGKILL)
    assert codex_lab.ok("ask", id, "[[reply: from the new one]]") == "from the new one"
    assert "from the old one" in json.dumps(codex_lab.model.requests[-1].body)
    assert codex_lab.ok("last-message", id, "-n", "3").split("\n\n") == [
        *("from the old one", "still the old one", "from the new one"),
    ]
    (new,) = codex_lab.servers()
    assert os.path.realpath(f"/proc/{new}/exe") == os.path.realpath(link)
    codex_lab.ok("kill", id, other)
    assert codex_lab.processes() == []
