"""What the skills say is played through: the real agent reads the skill, runs its commands, and they have their effect.

The sessions that it starts are of the scripted agent; the model does what the skill tells, as its script says.
"""

from __future__ import annotations

import sys

import pytest
from codex_lab import CodexLab
from lab import Lab

RELEASE = 'd=$(echo "$DEV_SESSIONS_HOME"/sessions/$sid-*)/agent/release; mkdir -p "$d"; touch "$d/go"'
CREATE = "sid=$(dev-sessions create -q --cli fake --description scenario); "


class Parent:
    """A Claude session that has the skills."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.ok("install-skill", "--claude")
        self.id = lab.create()
        lab.ok("ask", self.id, '[[tool: Skill {"skill": "dev-sessions"}]]')

    def plays(self, script: str, **briefs: str) -> list[str]:
        """Have it run the script, with the skill read; the lines that its commands have printed."""
        for name, text in briefs.items():
            (self.lab.project / f"{name}.md").write_text(text)
        before = len(self.lab.model.requests)
        shown = self.lab.ok("ask", self.id, f"[[bash: {script}]][[replytool]]")
        sent = str([request.body for request in self.lab.model.requests[before:]])
        assert "not a failure" in sent  # the skill's text has come to the model
        return shown.splitlines()

    def others(self) -> list[str]:
        return [row["id"] for row in self.lab.run("list", "--json").json if row["id"] != self.id]


@pytest.fixture(scope="module")
def parent(shared: Lab) -> Parent:
    return Parent(shared)


def test_after_a_timeout_it_waits_again_and_sends_nothing_twice(parent: Parent) -> None:
    lines = parent.plays(
        f"{CREATE}dev-sessions send $sid --file slow.md; dev-sessions wait $sid --timeout 1; echo rc=$?; "
        f"dev-sessions status $sid; {RELEASE}; dev-sessions wait $sid --timeout 60; echo rc=$?; "
        "dev-sessions logs $sid | grep -c ^user; dev-sessions last-message $sid; dev-sessions kill $sid",
        slow="[[hold: go]][[reply: at last]]",
    )
    assert [line for line in lines if line.startswith("rc=")] == ["rc=124", "rc=0"]
    assert lines[lines.index("rc=124") + 1] == "working"
    assert lines[lines.index("rc=0") + 1 : lines.index("rc=0") + 3] == ["1", "at last"]
    assert parent.others() == []


def test_a_question_is_told_and_nothing_is_typed_into_it(parent: Parent) -> None:
    lines = parent.plays(
        f"{CREATE}dev-sessions send $sid --file asks.md; dev-sessions wait $sid --timeout 60; echo rc=$?; "
        "dev-sessions status $sid; dev-sessions send $sid more; echo rc=$?; dev-sessions kill $sid",
        asks="[[ask: Which one?|this|that]]",
    )
    assert [line for line in lines if line.startswith("rc=")] == ["rc=6", "rc=6"]
    assert any("Which one?" in line for line in lines)
    assert parent.others() == []


def test_a_death_is_reported_with_its_evidence(parent: Parent) -> None:
    lines = parent.plays(
        f"{CREATE}dev-sessions send $sid --file dies.md; dev-sessions wait $sid --timeout 60; echo rc=$?; "
        "dev-sessions status $sid; dev-sessions logs $sid; dev-sessions kill $sid",
        dies="[[reply: half of it]][[die: out of memory]]",
    )
    assert "rc=5" in lines
    assert "exited" in lines
    assert any("half of it" in line for line in lines)
    assert parent.others() == []


def test_a_message_to_a_busy_child_is_queued_for_a_turn_of_its_own(parent: Parent) -> None:
    lines = parent.plays(
        f"{CREATE}dev-sessions send $sid --file slow.md; dev-sessions send $sid --queue --file next.md; "
        f"{RELEASE}; dev-sessions wait $sid --timeout 60; dev-sessions last-message $sid -n 2; dev-sessions kill $sid",
        slow="[[hold: go]][[reply: first]]",
        next="[[reply: second]]",
    )
    assert any(line.startswith("queued") for line in lines)
    assert lines.index("first") < lines.index("second")
    assert parent.others() == []


def test_cleaning_up_ends_what_it_created_and_nothing_else(parent: Parent) -> None:
    stranger = parent.lab.create("--cli", "fake")
    lines = parent.plays(
        "dev-sessions create -q --cli fake --group mine-1; dev-sessions create -q --cli fake --group mine-1; "
        "dev-sessions kill --group mine-1"
    )
    assert sum(line.startswith("Killed session") for line in lines) == 2
    assert parent.others() == [stranger]
    parent.lab.ok("kill", stranger)


def test_a_sandboxed_codex_gets_the_remedy_and_starts_nothing(codex_lab: CodexLab) -> None:
    codex_lab.ok("install-skill", "--codex")
    caller = codex_lab.create("--permissions", "edit")
    shown = codex_lab.ok(
        "ask", caller, f"[[bash: {sys.executable} -m dev_sessions create --cli fake; echo rc=$?]][[replytool]]"
    )
    assert "rc=1" in shown
    assert "run the command outside of it" in shown
    assert [row["id"] for row in codex_lab.run("list", "--json").json] == [caller]
