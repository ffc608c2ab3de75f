"""install-skill and skill show: files on disk, words and exit codes."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from lab import Lab

from dev_sessions import skills

NAMES = ["delegate", "dev-sessions", "fan-out", "handoff"]


class Machine:
    """A home without agents, and one with programs that are called like them."""

    def __init__(self, lab: Lab, commands: Any, home: Path) -> None:
        self.lab, self._commands, self.home, self.bin = lab, commands, home, home / "bin"
        self.bin.mkdir()
        self.env = {"HOME": str(home), "PATH": str(self.bin), "DEV_SESSIONS_CLAUDE": "", "DEV_SESSIONS_CODEX": ""}
        self.env |= {"CLAUDE_CONFIG_DIR": "", "CODEX_HOME": ""}

    def has(self, *names: str) -> None:
        for name in names:
            (self.bin / name).write_text("#!/bin/sh\n")
            (self.bin / name).chmod(0o755)

    def run(self, *argv: str, **env: str) -> Any:
        return self._commands(*argv, env={**self.env, **env})

    def skill(self, name: str = "delegate", agent: str = ".claude") -> Path:
        return self.home / agent / "skills" / name / "SKILL.md"


@pytest.fixture
def machine(lab: Lab, run: Any, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(lab, run, tmp_path_factory.mktemp("home"))


def aged(machine: Machine) -> None:
    """Have another version's skill installed: other text, and a stamp that says it is ours."""
    path = machine.skill()
    older = path.read_bytes().replace(b"# Delegate", b"# Delegate, long ago")
    path.write_bytes(older)
    stamp = {"version": "0.0.1", "files": {"SKILL.md": [skills._digest(older)]}}
    (path.parent / skills.STAMP).write_text(json.dumps(stamp))


def test_installs_for_the_agents_that_are_here(machine: Machine) -> None:
    machine.has("codex")
    done = machine.run("install-skill")
    assert (done.code, done.err) == (0, "")
    assert sorted(path.parent.name for path in (machine.home / ".codex/skills").glob("*/SKILL.md")) == NAMES
    assert done.out.count("installed: ") == 4
    assert str(machine.skill(agent=".codex")) in done.out
    assert not machine.skill().exists()


def test_says_that_no_agent_is_here_and_takes_claude(machine: Machine) -> None:
    done = machine.run("install-skill")
    assert done.code == 0
    assert "no agent is installed here; taking claude" in done.err
    assert machine.skill().exists()


def test_homes_that_the_environment_names_are_respected(machine: Machine, tmp_path: Path) -> None:
    env = {"CLAUDE_CONFIG_DIR": str(tmp_path / "c"), "CODEX_HOME": str(tmp_path / "x")}
    assert machine.run("install-skill", "--claude", "--codex", **env).code == 0
    assert (tmp_path / "c/skills/handoff/SKILL.md").exists()
    assert (tmp_path / "x/skills/handoff/SKILL.md").exists()
    assert not machine.skill().exists()


def test_local_is_the_root_of_the_project(machine: Machine) -> None:
    (machine.lab.project / ".git").mkdir()
    assert machine.run("install-skill", "--local", "--claude", "--codex").code == 0
    for agent in (".claude", ".codex"):
        assert (machine.lab.project / agent / "skills/delegate/SKILL.md").exists()
    assert not machine.skill().exists()


def test_twice_changes_nothing(machine: Machine) -> None:
    machine.run("install-skill", "--claude")
    before = {path: path.stat().st_mtime_ns for path in (machine.home / ".claude/skills").rglob("*")}
    done = machine.run("install-skill", "--claude")
    assert (done.code, done.out.count("unchanged: ")) == (0, 4)
    assert {path: path.stat().st_mtime_ns for path in (machine.home / ".claude/skills").rglob("*")} == before


def test_an_older_version_is_replaced(machine: Machine) -> None:
    machine.run("install-skill", "--claude")
    fresh = machine.skill().read_bytes()
    aged(machine)
    done = machine.run("install-skill", "--claude")
    assert (done.code, done.out.count("updated: ")) == (0, 1)
    assert machine.skill().read_bytes() == fresh


def test_an_edit_of_an_older_version_is_kept_and_shown(machine: Machine) -> None:
    machine.run("install-skill", "--claude")
    aged(machine)
    mine = machine.skill().read_text() + "my own rule\n"
    machine.skill().write_text(mine)
    for _ in range(2):  # it stays an edit, however often one tries
        done = machine.run("install-skill", "--claude")
        assert done.code == 1
        assert machine.skill().read_text() == mine
        assert "-my own rule" in done.out
        assert "--force" in done.err
    forced = machine.run("install-skill", "--claude", "--force")
    assert forced.code == 0
    (backup,) = machine.skill().parent.glob("*.backup-*")
    assert backup.read_text() == mine
    assert "my own rule" not in machine.skill().read_text()
    assert machine.run("install-skill", "--claude", "--check").code == 0


def test_a_skill_of_the_same_name_that_is_not_ours_is_kept(machine: Machine) -> None:
    machine.skill().parent.mkdir(parents=True)
    machine.skill().write_text("---\nname: delegate\n---\nsomebody's own\n")
    assert machine.run("install-skill", "--claude").code == 1
    assert "somebody's own" in machine.skill().read_text()
    assert machine.skill("handoff").exists()
    assert machine.run("install-skill", "--claude", "--uninstall").code == 1
    assert "somebody's own" in machine.skill().read_text()
    assert not machine.skill("handoff").exists()


@pytest.mark.parametrize("flag", ["--check", "--diff", "--dry-run"])
def test_looking_writes_nothing(machine: Machine, flag: str) -> None:
    done = machine.run("install-skill", "--claude", flag)
    assert done.code == (0 if flag == "--dry-run" else 1)
    assert done.out.count("would be installed: ") == 4
    assert not (machine.home / ".claude/skills").exists()
    machine.run("install-skill", "--claude")
    aged(machine)
    done = machine.run("install-skill", "--claude", flag)
    assert "would be updated: " in done.out
    assert ("-# Delegate, long ago" in done.out) == (flag == "--diff")
    assert "long ago" in machine.skill().read_text()


def test_uninstall_leaves_other_skills_and_edits(machine: Machine) -> None:
    machine.run("install-skill", "--claude")
    other = machine.skill("mine")
    other.parent.mkdir()
    other.write_text("mine")
    machine.skill("handoff").write_text("edited")
    done = machine.run("install-skill", "--claude", "--uninstall")
    assert (done.code, done.out.count("removed: ")) == (1, 3)
    assert sorted(path.name for path in (machine.home / ".claude/skills").iterdir()) == ["handoff", "mine"]
    assert machine.skill("handoff").read_text() == "edited"
    assert machine.run("install-skill", "--claude", "--uninstall", "--dry-run").code == 1


def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(machine: Machine) -> None:
    (machine.home / ".claude").mkdir(exist_ok=True)
    (machine.home / ".claude/skills").write_text("a file")
    done = machine.run("install-skill", "--claude")
    assert done.code == 1
    assert ".claude/skills" in done.err
    assert "next: make " in done.err


def test_json_names_each_file(machine: Machine) -> None:
    value = machine.run("install-skill", "--claude", "--json").json
    assert {tuple(sorted(one)) for one in value["files"]} == {("act", "agent", "backup", "diff", "path", "skill")}
    assert {one["act"] for one in value["files"]} == {"installed"}


def test_global_and_local_exclude_each_other(machine: Machine) -> None:
    assert machine.run("install-skill", "--global", "--local").code == 2


def test_an_install_works_where_gateway_mode_is_asked_for(machine: Machine) -> None:
    assert machine.run("install-skill", "--claude", DEV_SESSIONS_SANDBOX="1").code == 0


def test_an_installed_skill_can_be_read_by_its_owner(machine: Machine) -> None:
    machine.run("install-skill", "--claude")
    assert machine.skill().stat().st_mode & stat.S_IRUSR


@pytest.mark.parametrize(("flag", "agent"), [("--claude", "claude"), ("--codex", "codex")])
def test_show_prints_what_would_be_installed(machine: Machine, flag: str, agent: str) -> None:
    machine.run("install-skill", flag)
    assert machine.run("skill", "show", "delegate", flag).out == machine.skill(agent=f".{agent}").read_text()


def test_show_names_the_skills_that_there_are(machine: Machine) -> None:
    done = machine.run("skill", "show", "nothing")
    assert done.code == 2
    assert all(name in done.err for name in NAMES)


def test_an_install_that_was_cut_in_the_middle_is_finished_by_the_next(machine: Machine) -> None:
    """The stamp stands before the file: what was written, or not yet written, then is no edit."""
    machine.run("install-skill", "--claude")
    fresh = machine.skill().read_bytes()
    for there in (b"of the version before", b"of the version that was cut"):
        machine.skill().write_bytes(there)
        ours = [skills._digest(b"of the version before"), skills._digest(b"of the version that was cut")]
        (machine.skill().parent / skills.STAMP).write_text(json.dumps({"version": "0", "files": {"SKILL.md": ours}}))
        assert machine.run("install-skill", "--claude").code == 0
        assert machine.skill().read_bytes() == fresh
