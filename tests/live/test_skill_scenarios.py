"""Scenarios from the skills: a real agent reads the skill and runs its commands, and the commands have their effect.

The sessions that it starts are real too. The model's script follows the skill.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from codex_lab import CodexLab
from lab import Done
from soak import only_in_soak

CREATE = "sid=$(dev-sessions create -q --description scenario); "
OF_CODEX = CREATE.replace("create", "create --cli codex")
# A login shell, such as Codex's, has its own PATH.
COMMAND = f'dev-sessions() {{ {sys.executable} -m dev_sessions "$@"; }}; '


class Parent:
    """A session that has the skills installed, and reads the first one as its agent does."""

    def __init__(self, lab: CodexLab, cli: str) -> None:
        self.lab, self.cli = lab, cli
        lab.ok("install-skill", f"--{cli}")
        self.id = lab.ok("create", "-q", "--cli", cli)
        path = lab.codex_home / "skills/dev-sessions/SKILL.md"
        read = '[[tool: Skill {"skill": "dev-sessions"}]]' if cli == "claude" else f"[[bash: cat {path}]]"
        before = len(lab.model.requests)
        lab.ok("ask", self.id, f"{read}[[reply: read]]")
        assert "not a failure" in str(
            [request.body for request in lab.model.requests[before:]]
        )  # the model has received it

    def begin(self, script: str, **briefs: str) -> None:
        """Make it run the script, with these files beside it."""
        for name, text in briefs.items():
            (self.lab.project / f"{name}.md").write_text(text)
        self.lab.ok("send", self.id, f"[[bash: {COMMAND}{script}]][[replytool]]")

    def end(self) -> list[str]:
        """The lines that its commands printed."""
        done: Done = self.lab.run("wait", self.id, "--timeout", "100")
        assert done.code == 0, done
        return self.lab.ok("last-message", self.id).splitlines()

    def plays(self, script: str, **briefs: str) -> list[str]:
        self.begin(script, **briefs)
        return self.end()

    def others(self) -> list[str]:
        return [row["id"] for row in self.lab.run("list", "--json").json if row["parent"] == self.id]

    def made(self, name: str) -> Path:
        """A file that its script makes to show its progress."""
        path = self.lab.project / name
        self.lab.until(path.exists, f"the script at {name}", 60)
        return path


def exits(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("rc=")]


@pytest.fixture(scope="module")
def both(claude: str, codex: str) -> Iterator[CodexLab]:
    with CodexLab(codex, "scenarios", claude) as made:
        yield made


@pytest.fixture(scope="module")
def by_claude(both: CodexLab) -> Parent:
    return Parent(both, "claude")


@pytest.fixture(scope="module")
def by_codex(both: CodexLab) -> Parent:
    return Parent(both, "codex")


def test_after_a_timeout_it_waits_again_and_sends_nothing_twice(by_claude: Parent) -> None:
    by_claude.begin(
        f"{OF_CODEX}dev-sessions send $sid --file slow.md; dev-sessions wait $sid --timeout 1; echo rc=$?; "
        "dev-sessions status $sid; touch timed-out; dev-sessions wait $sid --timeout 60; echo rc=$?; "
        "dev-sessions logs $sid | grep -c ^user; dev-sessions last-message $sid; dev-sessions kill $sid",
        slow="[[hold: slow]][[reply: at last]]",
    )
    by_claude.made("timed-out")
    by_claude.lab.model.release("slow")
    lines = by_claude.end()
    assert exits(lines) == ["rc=124", "rc=0"]
    assert lines[lines.index("rc=124") + 1] == "working"
    assert lines[lines.index("rc=0") + 1 : lines.index("rc=0") + 3] == ["1", "at last"]
    assert by_claude.others() == []


def test_a_question_is_shown_answered_and_not_typed_into(by_codex: Parent) -> None:
    lines = by_codex.plays(
        f"{CREATE}dev-sessions send $sid --file asks.md; dev-sessions wait $sid --timeout 60; echo rc=$?; "
        "dev-sessions send $sid more; echo rc=$?; dev-sessions pending; dev-sessions respond $sid --choose 2; "
        "dev-sessions wait $sid --timeout 60; echo rc=$?; dev-sessions last-message $sid; dev-sessions kill $sid",
        asks="[[ask: Which one?|this|that]][[replytool]]",
    )
    assert exits(lines) == ["rc=6", "rc=6", "rc=0"]
    assert any("Which one?" in line for line in lines[lines.index("rc=6") :])
    assert "answered (question)" in lines
    assert "that" in lines[lines.index("rc=0") + 1]
    assert by_codex.others() == []


def test_a_death_is_reported_with_its_evidence_and_the_agent_brought_back(by_codex: Parent) -> None:
    by_codex.begin(
        f"{CREATE}dev-sessions ask $sid --file half.md; dev-sessions send $sid --file dies.md; "
        "dev-sessions wait $sid --timeout 60; echo rc=$?; dev-sessions status $sid; dev-sessions logs $sid; "
        "dev-sessions revive $sid; dev-sessions ask $sid --file again.md; echo rc=$?; dev-sessions kill $sid",
        half="[[reply: half of it]]",
        dies="[[hold: dies]][[reply: never]]",
        again="[[reply: the other half]]",
    )
    assert by_codex.lab.model.wait_until_blocked("dies", 60)
    (child,) = by_codex.others()
    os.kill(by_codex.lab.pid(child), signal.SIGKILL)
    lines = by_codex.end()
    assert exits(lines) == ["rc=5", "rc=0"]
    assert "exited" in lines[lines.index("rc=5") :]  # stderr lines may come in between
    assert any("half of it" in line for line in lines[lines.index("exited") :])
    assert f"Revived session {child} (interrupted: turn 2)" in lines
    assert lines[lines.index("rc=0") - 1] == "the other half"
    assert by_codex.others() == []


@only_in_soak
def test_a_message_to_a_busy_child_is_queued_for_a_turn_of_its_own(by_claude: Parent) -> None:
    by_claude.begin(
        f"{CREATE}dev-sessions send $sid --file slow.md; dev-sessions send $sid --queue --file next.md; touch queued; "
        "dev-sessions wait $sid --timeout 60; dev-sessions last-message $sid -n 2; dev-sessions kill $sid",
        slow="[[hold: busy]][[reply: first]]",
        next="[[reply: second]]",
    )
    by_claude.made("queued")
    by_claude.lab.model.release("busy")
    lines = by_claude.end()
    assert any(line.startswith("queued") for line in lines)
    assert lines.index("first") < lines.index("second")
    assert by_claude.others() == []


def test_cleaning_up_ends_what_it_created_and_nothing_else(by_claude: Parent) -> None:
    stranger = by_claude.lab.create()
    create = "dev-sessions create -q --cli codex --group mine-1; "
    lines = by_claude.plays(f"{create}{create}dev-sessions kill --group mine-1")
    assert sum(line.startswith("Killed session") for line in lines) == 2
    assert by_claude.others() == []
    assert by_claude.lab.ok("status", stranger) == "idle"
    by_claude.lab.ok("kill", stranger)


@only_in_soak
def test_a_sandboxed_codex_gets_the_remedy_and_starts_nothing(both: CodexLab) -> None:
    caller = both.create("--permissions", "edit")
    shown = both.ok("ask", caller, f"[[bash: {COMMAND}dev-sessions create; echo rc=$?]][[replytool]]")
    assert "rc=1" in shown
    assert "run the command outside of it" in shown
    assert caller not in [row["parent"] for row in both.run("list", "--json").json]
    both.ok("kill", caller)


def test_a_long_wait_in_the_background_wakes_its_parent_when_it_ends(by_claude: Parent) -> None:
    lab, child = by_claude.lab, by_claude.lab.create()
    lab.ok("send", child, "[[hold: long]][[reply: found it]]")
    command = f"{COMMAND}dev-sessions wait {child} && dev-sessions last-message {child}"
    assert lab.ok("ask", by_claude.id, f"[[bash_bg: {command}]][[reply: I go on elsewhere]]") == "I go on elsewhere"
    assert lab.run("status", by_claude.id, "--json").json["background"] == 1
    woken = lab.start("wait", by_claude.id, "--next-turn", "--timeout", "100")
    lab.until(lambda: lab.is_waiting(woken.pid), "a wait for the parent's next turn")
    before = len(lab.model.requests)
    lab.model.release("long")
    assert lab.finish(woken).out == "completed\n"
    assert "<task-notification>" in str([request.body["messages"][-1] for request in lab.model.requests[before:]])
    assert lab.run("status", by_claude.id, "--json").json["background"] == 0
    lab.ok("kill", child)
