"""install-skill and skill show: files on disk, output and exit codes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lab import Lab

from dev_sessions import skills

NAMES = ["delegate", "dev-sessions", "fan-out", "handoff"]


class Machine:
    """A home without agents, or with programs of the same names."""

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
    """Install another version's skill: a different text, with a stamp that marks it as ours."""
    path = machine.skill()
    older = path.read_bytes().replace(b"# Delegate", b"# Delegate, long ago")
    path.write_bytes(older)
    stamp = {"version": "0.0.1", "files": {"SKILL.md": [skills._digest(older)]}}
    (path.parent / skills.STAMP).write_text(json.dumps(stamp))


def test_installs_for_the_installed_agents(machine: Machine) -> None:
    machine.has("codex")
    done = machine.run("install-skill")
    assert (done.code, done.err) == (0, "")
    assert sorted(path.parent.name for path in (machine.home / ".codex/skills").glob("*/SKILL.md")) == NAMES
    assert done.out.count("installed: ") == 4
    assert str(machine.skill(agent=".codex")) in done.out
    assert not machine.skill().exists()


def test_without_an_agent_it_installs_for_claude(machine: Machine) -> None:
    done = machine.run("install-skill")
    assert done.code == 0
    assert "no agent is installed here; using claude" in done.err
    assert machine.skill().exists()


def test_homes_that_the_environment_names_are_respected(machine: Machine, tmp_path: Path) -> None:
    env = {"CLAUDE_CONFIG_DIR": str(tmp_path / "c"), "CODEX_HOME": str(tmp_path / "x")}
    assert machine.run("install-skill", "--claude", "--codex", **env).code == 0
    assert (tmp_path / "c/skills/handoff/SKILL.md").exists()
    assert (tmp_path / "x/skills/handoff/SKILL.md").exists()
    assert not machine.skill().exists()


def test_local_is_the_root_of_the_project(machine: Machine) -> None:
    subprocess.run(["git", "init", "-q", str(machine.lab.project)], check=True)
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
        assert "1 file kept because you edited it; --force replaces it and keeps a backup" in done.err
    forced = machine.run("install-skill", "--claude", "--force")
    assert forced.code == 0
    (backup,) = machine.skill().parent.glob("*.backup-*")
    assert backup.read_text() == mine
    assert "my own rule" not in machine.skill().read_text()
    assert machine.run("install-skill", "--claude", "--check").code == 0


def test_a_skill_of_the_same_name_that_is_not_ours_is_kept(machine: Machine) -> None:
    machine.skill().parent.mkdir(parents=True)
    machine.skill().write_text("---\nname: delegate\n---\nsomebody's own\n")
    done = machine.run("install-skill", "--claude")
    assert (done.code, done.out.count("not ours, kept: ")) == (1, 1)
    assert machine.skill("handoff").exists()
    done = machine.run("install-skill", "--claude", "--uninstall")
    assert (done.code, done.out.count("not ours, kept: ")) == (0, 1)  # who removes ours has no business with it
    assert not machine.skill("handoff").exists()
    assert [path.name for path in machine.skill().parent.iterdir()] == ["SKILL.md"]
    assert "somebody's own" in machine.skill().read_text()
    assert machine.run("install-skill", "--claude", "--force").code == 0
    (backup,) = machine.skill().parent.glob("*.backup-*")
    assert "somebody's own" in backup.read_text()


def test_an_edit_is_removed_by_force_and_into_a_backup(machine: Machine) -> None:
    machine.run("install-skill", "--claude")
    machine.skill().write_text("my own words\n")
    assert machine.run("install-skill", "--claude", "--uninstall").code == 1
    assert machine.run("install-skill", "--claude", "--uninstall", "--force").code == 0
    (left,) = machine.skill().parent.iterdir()
    assert (left.name, left.read_text()) == ("SKILL.md.backup-1", "my own words\n")
    assert [path.name for path in (machine.home / ".claude/skills").iterdir()] == ["delegate"]


def test_a_users_links_to_skills_stay_links(machine: Machine, tmp_path: Path) -> None:
    (machine.home / ".claude").mkdir()
    (tmp_path / "skills").mkdir()
    (machine.home / ".claude/skills").symlink_to(tmp_path / "skills")
    machine.run("install-skill", "--claude")
    fresh = machine.skill().read_bytes()
    aged(machine)
    elsewhere = machine.skill().rename(tmp_path / "elsewhere.md")
    machine.skill().symlink_to(elsewhere)
    assert machine.run("install-skill", "--claude").code == 0
    assert machine.skill().is_symlink()
    assert elsewhere.read_bytes() == fresh
    assert (tmp_path / "skills/handoff/SKILL.md").exists()


def test_a_projects_stamp_does_not_count_outside_its_folder(machine: Machine) -> None:
    precious = machine.home / "precious"
    precious.write_text("known")
    for path in ("../../../precious", str(precious)):
        machine.run("install-skill", "--claude")
        stamp = {"version": "0", "files": {path: [skills._digest(b"known")], "SKILL.md": 5}}
        (machine.skill().parent / skills.STAMP).write_text(json.dumps(stamp))
        assert machine.run("install-skill", "--claude").code == 0
        (machine.skill().parent / skills.STAMP).write_text(json.dumps(stamp))
        assert machine.run("install-skill", "--claude", "--uninstall").code == 0
        assert precious.read_text() == "known"


@pytest.fixture
def project(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that commands are run in."""
    path = tmp_path / "project"
    (path / ".git").mkdir(parents=True)
    (path / ".git/HEAD").touch()
    monkeypatch.setattr(machine.lab, "project", path)
    return path


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


FOLDER = ".claude/skills/delegate"


@pytest.mark.parametrize(
    "link", [".claude", ".claude/skills", FOLDER, f"{FOLDER}/SKILL.md", f"{FOLDER}/{skills.STAMP}"]
)
@pytest.mark.parametrize("there", [True, False])
def test_a_project_with_links_that_leave_it_is_refused(
    machine: Machine, project: Path, tmp_path: Path, link: str, there: bool
) -> None:
    """Their targets are not read, written, created or removed, even if the stamp marks them as ours."""
    secret = b"login me password secret\n"
    stamp = json.dumps({"version": "0", "files": {"SKILL.md": [skills._digest(secret)]}}).encode()
    (tmp_path / "outside").mkdir()
    (project / link).parent.mkdir(parents=True, exist_ok=True)
    (project / link).symlink_to(tmp_path / "outside/x")
    for name, content in (("SKILL.md", secret), (skills.STAMP, stamp)):
        path = project / FOLDER / name
        if there or path.parent.resolve().is_relative_to(project):
            path.parent.resolve().mkdir(parents=True, exist_ok=True)
            if there or not path.is_symlink():
                path.write_bytes(content)
    before = contents(tmp_path)
    for words in ("", "--force", "--uninstall", "--uninstall --force", "--diff", "--check"):
        done = machine.run("install-skill", "--local", "--claude", *words.split())
        assert done.code == 1, words
        assert f"error: {project / link}" in done.err
        assert "leads out of the project" in done.err
        assert "next: remove that link" in done.err
        assert "password" not in done.out + done.err
        assert contents(tmp_path) == before, words


def test_links_within_a_project_are_followed(machine: Machine, project: Path) -> None:
    (project / ".claude").mkdir()
    (project / "shared").mkdir()
    (project / ".claude/skills").symlink_to("../shared")
    assert machine.run("install-skill", "--local", "--claude").code == 0
    assert (project / "shared/delegate/SKILL.md").exists()


@pytest.mark.parametrize("where", ["--global", "--local"])
def test_a_stamp_does_not_count_for_a_link(machine: Machine, project: Path, tmp_path: Path, where: str) -> None:
    machine.run("install-skill", "--claude", where)
    folder = (project if where == "--local" else machine.home) / FOLDER
    (tmp_path / "notes.txt").write_text("notes")
    (folder / "sub").symlink_to(tmp_path)
    (folder / "notes").symlink_to(tmp_path / "notes.txt")
    (folder / "endless").symlink_to("/dev/zero")
    stamp = json.loads((folder / skills.STAMP).read_text())
    named = ("sub/notes.txt", "notes", "endless", "../handoff/SKILL.md", "a\0b", ".", "")
    stamp["files"] |= {name: [skills._digest(b"notes")] for name in named}
    for words in ([], ["--uninstall"]):
        (folder / skills.STAMP).write_text(json.dumps(stamp))
        assert machine.run("install-skill", "--claude", where, *words).code == 0
        assert (tmp_path / "notes.txt").read_text() == "notes"
    assert sorted(path.name for path in folder.iterdir()) == ["endless", "notes", "sub"]


def test_a_stamp_that_is_a_link_does_not_count(machine: Machine, tmp_path: Path) -> None:
    machine.run("install-skill", "--claude")
    stamp = machine.skill().parent / skills.STAMP
    before = stamp.read_bytes()
    (tmp_path / "stamp").write_bytes(before)
    stamp.unlink()
    stamp.symlink_to(tmp_path / "stamp")
    assert machine.run("install-skill", "--claude").code == 0
    assert (stamp.is_symlink(), stamp.read_bytes()) == (False, before)
    assert (tmp_path / "stamp").read_bytes() == before


@pytest.mark.parametrize("kind", ["device", "pipe", "long"])
def test_a_skill_that_is_no_regular_file_or_without_end_is_an_error(machine: Machine, kind: str) -> None:
    machine.skill().parent.mkdir(parents=True)
    if kind == "device":
        machine.skill().symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(machine.skill())
    else:
        machine.skill().write_bytes(bytes(1_000_001))
    machine.has("claude")
    for words in (["install-skill", "--diff"], ["install-skill"], ["install-skill", "--uninstall"]):
        done = machine.run(*words)
        why = "longer than 1000000 bytes" if kind == "long" else "not a regular file"
        assert (done.code, f"{machine.skill()}: {why}" in done.err) == (1, True), done
        assert "next: move it out of the way" in done.err
    found = machine.run("doctor", "--json").json["findings"]
    assert next(one["level"] for one in found if one["check"] == "claude skills") == "problem"


@pytest.mark.parametrize("flag", ["--check", "--diff", "--dry-run"])
def test_check_diff_and_dry_run_write_nothing(machine: Machine, flag: str) -> None:
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


@pytest.mark.parametrize("path", [".claude", ".claude/skills", ".claude/skills/fan-out"])
def test_a_file_instead_of_a_folder_is_an_error_with_a_remedy(machine: Machine, path: str) -> None:
    (machine.home / path).parent.mkdir(exist_ok=True, parents=True)
    (machine.home / path).write_text("a file")
    done = machine.run("install-skill", "--claude")
    assert (done.code, done.out) == (1, "")
    assert "next: move it out of the way, then run the same command again" in done.err
    assert (machine.home / path).read_text() == "a file"
    assert ("installed: " in done.err) == path.endswith("fan-out")  # it reports what was done before the error
    assert machine.skill().exists() == path.endswith("fan-out")
    value = machine.run("install-skill", "--claude", "--json").json
    assert len(value["error"]["data"]["files"]) == (2 if path.endswith("fan-out") else 0)


def test_a_read_only_folder_is_an_error_with_a_remedy(machine: Machine) -> None:
    done = machine.run("install-skill", "--claude", CLAUDE_CONFIG_DIR="/proc/self/nothing")
    assert (done.code, done.out) == (1, "")
    assert "error: cannot write /proc/self/nothing" in done.err
    assert "next: make it writable for you" in done.err


def test_a_folder_instead_of_the_file_is_kept(machine: Machine) -> None:
    (machine.skill() / "mine").mkdir(parents=True)
    done = machine.run("install-skill", "--claude")
    assert done.code == 1
    assert f"error: cannot write {machine.skill()}: Is a directory" in done.err
    assert (machine.skill() / "mine").is_dir()


def test_a_relative_home_is_shown_as_an_absolute_path(machine: Machine) -> None:
    done = machine.run("install-skill", "--claude", CLAUDE_CONFIG_DIR="conf")
    assert str(machine.lab.project / "conf/skills/delegate/SKILL.md") in done.out


def test_json_names_each_file(machine: Machine) -> None:
    value = machine.run("install-skill", "--claude", "--json").json
    assert {tuple(sorted(one)) for one in value["files"]} == {("act", "agent", "backup", "diff", "path", "skill")}
    assert {one["act"] for one in value["files"]} == {"installed"}


def test_global_and_local_exclude_each_other(machine: Machine) -> None:
    assert machine.run("install-skill", "--global", "--local").code == 2


def test_an_install_works_in_gateway_mode(machine: Machine) -> None:
    assert machine.run("install-skill", "--claude", DEV_SESSIONS_SANDBOX="1").code == 0


def test_an_installed_skill_is_as_readable_as_the_users_files(machine: Machine) -> None:
    before = os.umask(0o027)
    try:
        machine.run("install-skill", "--claude")
    finally:
        os.umask(before)
    assert stat.S_IMODE(machine.skill().stat().st_mode) == 0o640


@pytest.mark.parametrize(("flag", "agent"), [("--claude", "claude"), ("--codex", "codex")])
def test_show_prints_what_would_be_installed(machine: Machine, flag: str, agent: str) -> None:
    machine.run("install-skill", flag)
    assert machine.run("skill", "show", "delegate", flag).out == machine.skill(agent=f".{agent}").read_text()


def test_show_prints_one_copy(machine: Machine) -> None:
    assert machine.run("skill", "show", "delegate", "--claude", "--codex").code == 2


def test_show_lists_the_available_skills(machine: Machine) -> None:
    done = machine.run("skill", "show", "nothing")
    assert done.code == 2
    assert all(name in done.err for name in NAMES)


def test_an_interrupted_install_is_finished_by_the_next(machine: Machine) -> None:
    """The stamp is written before the file, so a file that was not written yet does not count as edited."""
    machine.run("install-skill", "--claude")
    fresh = machine.skill().read_bytes()
    for there in (b"of the version before", b"of the version that was cut"):
        machine.skill().write_bytes(there)
        ours = [skills._digest(b"of the version before"), skills._digest(b"of the version that was cut")]
        (machine.skill().parent / skills.STAMP).write_text(json.dumps({"version": "0", "files": {"SKILL.md": ours}}))
        assert machine.run("install-skill", "--claude").code == 0
        assert machine.skill().read_bytes() == fresh


@pytest.mark.parametrize("count", [1, 3, 6])
def test_killed_installs_are_finished_by_the_next(machine: Machine, count: int) -> None:
    env = machine.env | {"PATH": os.environ["PATH"]}
    running = [machine.lab.start("install-skill", "--claude", env=env) for _ in range(2)]

    def begun() -> bool:
        """Somewhere between nothing and all of it."""
        return len(list(machine.home.glob(".claude/skills/*/*"))) >= count

    machine.lab.until(begun, f"{count} files")
    for process in running:
        process.kill()
        process.communicate()
    assert machine.run("install-skill", "--claude").code == 0
    assert machine.run("install-skill", "--claude", "--check").code == 0
    assert list(machine.home.glob(".claude/skills/**/*.tmp")) == []
    assert machine.run("install-skill", "--claude", "--uninstall").code == 0
    assert list(machine.home.glob(".claude/skills/*")) == []


def test_four_installs_at_once(machine: Machine) -> None:
    machine.run("install-skill", "--claude")
    aged(machine)
    env = machine.env | {"PATH": os.environ["PATH"]}
    running = [machine.lab.start("install-skill", "--claude", env=env) for _ in range(4)]
    told = [machine.lab.finish(process) for process in running]
    assert [done.code for done in told] == [0] * 4
    assert "".join(done.out for done in told).count("updated: ") == 1
