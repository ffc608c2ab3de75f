"""The real agents see the skills: installed by us, and installed as a plugin from the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from codex_lab import CodexLab
from lab import ROOT, Lab

NAMES = {"dev-sessions", "delegate", "handoff", "fan-out"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The content of a clone, without files from tests and builds: Codex copies all of it."""
    copy = tmp_path / "checkout"
    for part in ("skills", ".claude-plugin", ".codex-plugin", ".agents/plugins"):
        shutil.copytree(ROOT / part, copy / part)
    return copy


@pytest.fixture
def codex_outside(codex_lab: CodexLab, tmp_path: Path) -> CodexLab:
    """A lab whose CODEX_HOME is not in our checkout: everything below a plugin's manifest gets the plugin's name."""
    home = tmp_path / "codex-home"
    shutil.copytree(codex_lab.codex_home, home)
    codex_lab.codex_home = home
    codex_lab.env["CODEX_HOME"] = str(home)
    return codex_lab


def agent(lab: Lab, *argv: str) -> str:
    done = subprocess.run(
        argv, env=lab.env, cwd=lab.project, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done
    return done.stdout


def seen_by_claude(lab: Lab, claude: str) -> dict[str, Any]:
    """What Claude reports about itself at its start."""
    lines = agent(lab, claude, "-p", "[[reply: ok]]", "--output-format", "stream-json", "--verbose").splitlines()
    begun: dict[str, Any] = next(one for one in map(json.loads, lines) if one.get("subtype") == "init")
    return begun


def seen_by_codex(lab: CodexLab, codex: str) -> tuple[dict[str, Path], list[Any]]:
    """The skills that Codex has found, with their files, and its errors about any of them."""
    calls = [
        {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "test", "version": "1"}}},
        {"method": "initialized"},
        {"id": 2, "method": "skills/list", "params": {"cwds": [str(lab.project)], "forceReload": True}},
    ]
    with subprocess.Popen(
        [codex, "app-server"],
        env=lab.env,
        cwd=lab.project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for call in calls:
            server.stdin.write(json.dumps(call) + "\n")
        server.stdin.flush()
        answer = next(one for one in map(json.loads, server.stdout) if one.get("id") == 2)
        server.stdin.close()
    (found,) = answer["result"]["data"]
    return {one["name"]: Path(one["path"]) for one in found["skills"] if one["enabled"]}, found["errors"]


def test_claude_sees_the_installed_skills_and_no_more_once_they_are_removed(lab: Lab, claude: str) -> None:
    # Otherwise its project would be the checkout around it, and --local would write there.
    subprocess.run(["git", "init", "-q", str(lab.project)], check=True)
    lab.ok("install-skill", "--claude")
    assert set(seen_by_claude(lab, claude)["skills"]) >= NAMES
    agent(lab, claude, "-p", "/delegate")
    sent = json.dumps([request.body for request in lab.model.requests if not request.side])
    assert "# Delegate" in sent  # the model has received the body, not only the name
    lab.ok("install-skill", "--claude", "--uninstall")
    lab.ok("install-skill", "--claude", "--local")
    assert set(seen_by_claude(lab, claude)["skills"]) >= NAMES
    lab.ok("install-skill", "--claude", "--local", "--uninstall")
    assert not NAMES & set(seen_by_claude(lab, claude)["skills"])


def test_codex_sees_the_installed_skills_and_no_more_once_they_are_removed(codex_outside: CodexLab, codex: str) -> None:
    codex_outside.ok("install-skill", "--codex")
    found, errors = seen_by_codex(codex_outside, codex)
    assert errors == []
    assert {name: found.get(name) for name in NAMES} == {
        name: codex_outside.codex_home / "skills" / name / "SKILL.md" for name in NAMES
    }
    codex_outside.ok("install-skill", "--codex", "--uninstall")
    found, _ = seen_by_codex(codex_outside, codex)
    assert not NAMES & found.keys()


def test_claude_installs_the_plugin_from_the_checkout(lab: Lab, claude: str, checkout: Path) -> None:
    agent(lab, claude, "plugin", "validate", "--strict", str(checkout))
    agent(lab, claude, "plugin", "marketplace", "add", str(checkout))
    agent(lab, claude, "plugin", "install", "dev-sessions@dev-sessions")
    begun = seen_by_claude(lab, claude)
    assert {name for name in begun["skills"] if ":" in name} == {f"dev-sessions:{name}" for name in NAMES}


def test_codex_installs_the_plugin_from_the_checkout(codex_outside: CodexLab, codex: str, checkout: Path) -> None:
    agent(codex_outside, codex, "plugin", "marketplace", "add", str(checkout))
    agent(codex_outside, codex, "plugin", "add", "dev-sessions@dev-sessions", "--json")
    found, errors = seen_by_codex(codex_outside, codex)
    ours = {name: path for name, path in found.items() if name.startswith("dev-sessions:")}
    assert ours.keys() == {f"dev-sessions:{name}" for name in NAMES}
    assert {path.parts[-4:-2] for path in ours.values()} == {("skills", "codex")}  # not the copies for Claude
    assert errors == []
