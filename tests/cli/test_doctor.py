"""doctor: its findings on machines with one problem each, and the remedies."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lab import Lab

from dev_sessions.backends.claude import version


class Machine:
    """A home with agents that only print their version; each test changes it."""

    def __init__(self, lab: Lab, commands: Any, home: Path) -> None:
        self.home, self.state, self.bin, self._commands = home, home / "state", home / "bin", commands
        self.bin.mkdir()
        tmux = shutil.which("tmux")
        assert tmux
        (self.bin / "tmux").symlink_to(tmux)
        self.env = {
            "HOME": str(home),
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "DEV_SESSIONS_HOME": str(self.state),
            "DEV_SESSIONS_CLAUDE": str(self.program("claude", "2.1.330 (Claude Code)")),
            "DEV_SESSIONS_CODEX": str(home / "no-codex"),
            "CODEX_HOME": "",
        }

    def program(self, name: str, version: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\necho '{version}'\n")
        path.chmod(0o755)
        return path

    def findings(self, **env: str) -> tuple[int, list[dict[str, Any]]]:
        done = self._commands("doctor", "--json", env={**self.env, **env})
        value = done.json
        assert value["problems"] == sum(one["level"] == "problem" for one in value["findings"])
        assert all(one["remedy"] for one in value["findings"] if one["level"] == "problem")
        assert done.code == bool(value["problems"])
        return done.code, value["findings"]

    def found(self, check: str, level: str, **env: str) -> dict[str, Any]:
        """The one finding of that check and level."""
        _, all_of = self.findings(**env)
        fitting = [one for one in all_of if (one["check"], one["level"]) == (check, level)]
        assert len(fitting) == 1, all_of
        return fitting[0]


@pytest.fixture
def machine(lab: Lab, run: Any, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(lab, run, tmp_path_factory.mktemp("home"))


def test_a_machine_with_one_agent_is_fine(machine: Machine) -> None:
    code, findings = machine.findings()
    assert code == 0
    assert {one["check"] for one in findings} >= {"tmux", "claude", "store", "gateway", "disk", "state folder"}
    assert machine.found("codex", "note")["remedy"].startswith("npm install")
    assert not machine.state.exists()  # a read creates nothing


def test_a_machine_without_an_agent_has_a_problem(machine: Machine) -> None:
    env = {"DEV_SESSIONS_CLAUDE": str(machine.home / "none")}
    assert "not installed" in machine.found("claude", "problem", **env)["text"]


def test_without_tmux_there_is_a_problem_and_the_other_checks_still_run(machine: Machine) -> None:
    (machine.bin / "tmux").unlink()
    machine.env["PATH"] = str(machine.bin)
    _, findings = machine.findings()
    assert {one["check"] for one in findings if one["level"] == "problem"} >= {"tmux"}
    assert {"claude", "disk"} <= {one["check"] for one in findings}


def test_a_tmux_newer_than_its_running_server(lab: Lab, machine: Machine) -> None:
    lab.tmux("new-session", "-d", "-s", "mine")
    assert "answers on" in machine.found("tmux server", "ok")["text"]
    (machine.bin / "tmux").unlink()
    newer = machine.program("tmux", "tmux 9.9z")
    newer.write_text(newer.read_text() + 'case "$*" in *-V) ;; *) exit 1; esac\n')  # no server answers it
    found = machine.found("tmux server", "problem")
    assert "is tmux 9.9z" in found["text"]
    assert "kill" in found["remedy"]
    lab.tmux("kill-session", "-t", "=mine")


def test_key_bindings_without_a_key_to_submit(machine: Machine) -> None:
    (machine.home / ".claude").mkdir()
    content = {"bindings": [{"context": "Chat", "bindings": {"enter": "chat:newline"}}]}
    (machine.home / ".claude/keybindings.json").write_text(json.dumps(content))
    assert "chat:submit" in machine.found("claude settings", "problem")["text"]


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        ("2.0.1", "problem", "too old"),
        ("9.9.9", "note", "newer than the tested"),
        ("what?", "problem", "does not print"),
    ],
)
def test_versions_outside_of_the_tested_range(machine: Machine, found: str, level: str, words: str) -> None:
    machine.program("claude", found)
    assert words in machine.found("claude", level)["text"]


def test_the_supported_versions_are_named_and_an_older_one_has_a_remedy(machine: Machine) -> None:
    window = f"tested with {version.OLDEST} to {version.NEWEST}, the releases of the 120 days before this dev-sessions"
    assert window in machine.found("claude", "ok")["text"]
    machine.program("claude", "2.1.220 (Claude Code)")
    older = machine.found("claude", "problem")
    assert older["text"].startswith("2.1.220 is too old")
    assert window in older["text"]
    assert older["remedy"] == "npm install -g @anthropic-ai/claude-code"


def test_a_login_is_reported_without_its_content(machine: Machine) -> None:
    env = {"ANTHROPIC_API_KEY": ""}
    assert "log in" in machine.found("claude login", "note", **env)["remedy"]
    (machine.home / ".claude").mkdir()
    secret = machine.home / ".claude/.credentials.json"
    secret.write_text("hidden-word")
    secret.chmod(0o000)
    assert machine.found("claude login", "ok", **env)
    assert "hidden-word" not in json.dumps(machine.findings())
    assert "sesame" not in json.dumps(machine.findings(ANTHROPIC_API_KEY="sesame"))


def test_outdated_missing_and_edited_skills(machine: Machine) -> None:
    remedy = "dev-sessions install-skill --global --claude"
    assert machine.found("claude skills", "note")["remedy"] == remedy
    assert machine._commands("install-skill", "--claude", env=machine.env).code == 0
    assert machine.found("claude skills", "ok")
    path = machine.home / ".claude/skills/handoff/SKILL.md"
    path.write_text(re.sub('version: ".*"', 'version: "0.0.9"', path.read_text()))
    edited = machine.found("claude skills", "note")
    assert "handoff (0.0.9)" in edited["text"]
    assert edited["remedy"].startswith(f"{remedy} --diff")
    stamp = {"version": "0.0.9", "files": {"SKILL.md": [hashlib.sha256(path.read_bytes()).hexdigest()]}}
    (path.parent / ".dev-sessions.json").write_text(json.dumps(stamp))
    found = machine.found("claude skills", "problem")
    assert "handoff (0.0.9)" in found["text"]
    assert found["remedy"] == remedy


def test_a_damaged_registry_and_a_folder_without_a_session(machine: Machine) -> None:
    (machine.state / "sessions/fizz-top-0a1b2c3d/messages").mkdir(parents=True)
    machine.state.chmod(0o700)
    (machine.state / "sessions.json").write_text("{")
    before = sorted(machine.state.rglob("*"))
    code, findings = machine.findings()
    texts = " ".join(one["text"] for one in findings if one["check"] == "store")
    assert code == 1
    assert "sessions.json is damaged" in texts
    assert "fizz-top-0a1b2c3d" in texts
    assert sorted(machine.state.rglob("*")) == before
    assert (machine.state / "sessions.json").read_text() == "{"


def test_a_state_folder_that_is_open_to_others(machine: Machine) -> None:
    machine.state.mkdir(mode=0o755)
    machine.state.chmod(0o755)
    assert machine.found("state folder", "problem")["remedy"] == f"chmod 700 {machine.state}"


def test_gateway_mode_checks_the_gateway_and_not_the_host(machine: Machine) -> None:
    env = {"DEV_SESSIONS_SANDBOX": "1", "DEV_SESSIONS_GATEWAY_URL": f"unix://{machine.home}/none"}
    found = machine.found("gateway", "problem", **env)
    assert "no gateway at" in found["text"]
    assert "dev-sessions gateway --socket" in found["remedy"]
    _, findings = machine.findings(**env)
    assert not {one["check"] for one in findings} & {"tmux", "claude", "store", "sessions"}


def test_a_socket_without_a_listener(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    program = machine.program("codex", "codex-cli 0.171.0")
    home = machine.home / ".codex/app-server-control"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)  # a socket's path may have no more than some 100 characters
    env = {"DEV_SESSIONS_CODEX": str(program), "CODEX_HOME": str(machine.home / ".codex")}
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("app-server-control.sock")
        listening.listen()
        assert not [one for one in machine.findings(**env)[1] if one["check"] == "codex socket"]
    assert "nothing listens" in machine.found("codex socket", "note", **env)["text"]


def test_an_exited_agent_is_reported_with_its_remedy(run: Any, dead: str) -> None:
    done = run("doctor", "--json")
    texts = {one["text"]: one["remedy"] for one in done.json["findings"] if one["check"] == "sessions"}
    assert done.code == 1
    assert any(dead in text for text in texts)
    assert "dev-sessions kill" in " ".join(remedy or "" for remedy in texts.values())


def test_text_has_a_line_for_each_finding_and_one_for_its_remedy(machine: Machine) -> None:
    done = machine._commands("doctor", env=machine.env)
    assert done.err == ""
    assert "note     codex: not installed\n         remedy: npm install" in done.out


def test_the_remedy_for_an_unused_worktree_removes_it(machine: Machine) -> None:
    repository, left = machine.home / "repository", machine.state / "runs/one/worktrees/parser"
    machine.state.mkdir(mode=0o700)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q", str(repository)], check=True)
    subprocess.run([*git, "-C", str(repository), "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    subprocess.run([*git, "-C", str(repository), "worktree", "add", "-q", str(left)], check=True)
    found = machine.found("worktrees", "note")
    assert str(left) in found["text"]
    subprocess.run(found["remedy"].partition("then: ")[2], shell=True, check=True)
    assert not left.exists()
    assert not [one for one in machine.findings()[1] if one["check"] == "worktrees"]


def test_a_terminal_of_an_unknown_session(lab: Lab, machine: Machine) -> None:
    lab.tmux("new-session", "-d", "-s", "dev-fizz-top", ";", "set-option", "@dev_sessions_key", "fizz-top-0a1b2c3d")
    lab.tmux("new-session", "-d", "-s", "mine")
    found = machine.found("sessions", "note")
    assert "tmux session dev-fizz-top" in found["text"]
    assert "mine" not in found["text"]
    assert subprocess.run(found["remedy"].partition("then: ")[2], shell=True, env=lab.env, check=False).returncode == 0
    assert not [one for one in machine.findings()[1] if one["check"] == "sessions"]
    lab.tmux("kill-session", "-t", "=mine")
