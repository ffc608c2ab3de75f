"""The skills as they ship: valid by the rules of agentskills.io, the same for both agents, right about the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

import dev_sessions
from dev_sessions import skills
from dev_sessions.cli import input

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "skills").glob("*/*/SKILL.md"))
NAMES = {"dev-sessions", "delegate", "handoff", "fan-out"}
# Commands in the skills that do not exist yet. To be emptied, then removed.
NOT_HERE_YET: set[str] = set()

COMMANDS = typer.main.get_command(input.app).commands  # type: ignore[attr-defined]
_KEYS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
_CALL = re.compile(r"dev-sessions ([a-z][a-z-]*)([^`\n)]*)")


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parts[-3]}-{path.parts[-2]}")
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_each_agent_has_every_skill() -> None:
    assert {path.parts[-3:-1] for path in FILES} == {(agent, name) for agent in ("claude", "codex") for name in NAMES}


def test_front_matter_is_valid(file: Path) -> None:
    text = file.read_text()
    head = skills.front_matter(text)
    assert head.keys() <= _KEYS
    assert head["name"] == file.parent.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", head["name"])
    assert len(head["name"]) <= 64
    assert len(head["compatibility"]) <= 500
    assert head["metadata"] == {"version": dev_sessions.__version__}
    assert not text.startswith("\ufeff")


def test_description_says_when_and_when_not(file: Path) -> None:
    description = skills.front_matter(file.read_text())["description"]
    assert description.startswith("Use when ")
    assert " Not for " in description
    assert len(description) <= 1024


def test_skills_are_short_and_references_one_level_deep(file: Path) -> None:
    assert len(file.read_text().split()) <= 500
    for other in file.parent.rglob("*"):
        relative = other.relative_to(file.parent)
        assert relative == Path("SKILL.md") or relative.parts[0] == "references"
        assert len(relative.parts) <= 2


@pytest.mark.parametrize("name", sorted(NAMES))
def test_copies_differ_only_in_the_paragraph_about_the_agents_own_shell(name: str) -> None:
    mine, theirs = (
        (ROOT / "skills" / agent / name / "SKILL.md").read_text().split("\n\n") for agent in ("claude", "codex")
    )
    assert len(mine) == len(theirs)
    assert [pair for pair in zip(mine, theirs, strict=True) if pair[0] != pair[1]].__len__() == 1


def test_claude_is_told_of_its_time_limit_and_codex_of_its_sandbox() -> None:
    assert "10 minutes" in (ROOT / "skills/claude/dev-sessions/SKILL.md").read_text()
    assert "workspace-write" in (ROOT / "skills/codex/dev-sessions/SKILL.md").read_text()


def test_commands_and_options_in_skills_exist(file: Path) -> None:
    text = file.read_text()
    for name, rest in _CALL.findall(text.partition("\n---\n")[2]):
        if name in NOT_HERE_YET:
            continue
        assert name in COMMANDS, name
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts} | {"--help"}
        unquoted = re.sub(r'"[^"]*"', "", rest)
        assert set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z])(?![\w-])", unquoted)) <= options, name


def test_features_that_do_not_exist_are_not_mentioned() -> None:
    assert not NOT_HERE_YET & COMMANDS.keys()


def test_plugins_have_this_version_and_lead_each_agent_to_its_own_copies() -> None:
    for agent in ("claude", "codex"):
        plugin = json.loads((ROOT / f".{agent}-plugin/plugin.json").read_text())
        assert plugin["version"] == dev_sessions.__version__
        assert plugin["skills"].startswith("./")  # else Codex takes everything below skills/
        assert {path.name for path in (ROOT / plugin["skills"]).iterdir()} == NAMES
        assert f"skills/{agent}" in plugin["skills"]
    for market in (".claude-plugin/marketplace.json", ".agents/plugins/marketplace.json"):
        (entry,) = json.loads((ROOT / market).read_text())["plugins"]
        assert entry["name"] == "dev-sessions"
