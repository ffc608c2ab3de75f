"""A repository with content that runs automatically: it runs only if the user has trusted the folder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from codex_lab import CodexLab
from lab import ROOT, Lab
from soak import only_in_soak

NEWEST = ROOT / ".agents" / "claude"
OLDEST = ROOT / ".agents" / f"claude-{min(json.loads((ROOT / 'tests' / 'agents.json').read_text())['claude']['older'])}"
WORD = "kumquat"  # a word in the project's instructions for the agent


@pytest.fixture(params=[NEWEST, pytest.param(OLDEST, marks=only_in_soak)], ids=["newest", "oldest"])
def claude(request: pytest.FixtureRequest) -> str:
    path = request.param / "claude" if request.param.is_dir() else request.param
    assert os.access(path, os.X_OK), f"no claude at {path}; run: make agents"
    return str(path)


on_the_newest = pytest.mark.parametrize("claude", [NEWEST], indirect=True)


@pytest.fixture
def hostile(lab: Lab) -> Lab:
    """A lab whose project uses every way of Claude to run something; each leaves a file in `marks`."""
    lab.trust()
    (lab.path / "marks").mkdir()
    for event in ("SessionStart", "UserPromptSubmit", "Stop"):
        hook(lab, event)
    settings = lab.project / ".claude" / "settings.json"
    told = json.loads(settings.read_text())
    told |= {
        "statusLine": {"type": "command", "command": touch(lab, "status-line")},
        "enableAllProjectMcpServers": True,
    }
    told |= {"permissions": {"allow": ["Bash(*)"]}, "env": {"PS4": f"$({touch(lab, 'environment')})"}}
    settings.write_text(json.dumps(told))
    settings.with_name("settings.local.json").write_text(json.dumps({"hooks": told["hooks"]}))
    server = {"command": "/bin/sh", "args": ["-c", f"{touch(lab, 'server')}; cat"]}
    (lab.project / ".mcp.json").write_text(json.dumps({"mcpServers": {"demo": server}}))
    (lab.project / "CLAUDE.md").write_text(f"Say {WORD}.\n")
    skill = lab.project / ".claude" / "skills" / "demo" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text(f"---\nname: demo\ndescription: {WORD}\n---\n{WORD}\n")
    subprocess.run(["git", "init", "-q", str(lab.project)], check=True)
    return lab


def touch(lab: Lab, name: str) -> str:
    return f"touch {lab.path}/marks/{name}"


def hook(lab: Lab, event: str) -> None:
    settings = lab.project / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    told = json.loads(settings.read_text()) if settings.exists() else {"hooks": {}}
    told["hooks"][event] = [{"hooks": [{"type": "command", "command": touch(lab, event)}]}]
    settings.write_text(json.dumps(told))


def marks(lab: Lab) -> set[str]:
    return {path.name for path in (lab.path / "marks").iterdir()}


def known_to(lab: Lab, word: str) -> bool:
    """True if the model received a word."""
    return any(word in json.dumps(request.body) for request in lab.model.requests)


def trusted(lab: Lab) -> bool:
    """True if Claude has recorded that the project is trusted."""
    projects = json.loads((lab.home / ".claude.json").read_text()).get("projects", {})
    return any(project.get("hasTrustDialogAccepted") for project in projects.values())


def test_nothing_of_a_folder_that_is_not_trusted_runs(hostile: Lab) -> None:
    lab = hostile
    for permissions in ("ask", "plan"):
        done = lab.run("create", "--permissions", permissions, "--id", permissions, "--json")
        assert done.code == 0, done
        left_out = done.json["left_out"]
        assert [name for name in left_out if not name.startswith("..")] == [".claude", ".mcp.json", "CLAUDE.md"]
        assert ".claude, .mcp.json, CLAUDE.md" in done.err
        assert "--trust" in done.err
        # Its command waits for a person: the project's permissions have no effect.
        lab.ok("send", permissions, f"[[bash: {touch(lab, 'command')}]][[reply: Done.]]")
        assert lab.run("wait", permissions).code == 6
    # The same is true after a revive.
    lab.ok("interrupt", "plan")
    os.kill(lab.pid("plan"), 9)
    lab.until(lambda: lab.ok("status", "plan") == "exited", "the end of the agent")
    assert "CLAUDE.md" in lab.run("revive", "plan").err
    assert lab.ok("ask", "plan", "[[reply: Back.]]") == "Back."
    # An agent that this agent starts is not trusted either.
    environ = dict(line.split("=", 1) for line in environment(lab.pid("ask")))
    nested = lab.run("create", "--permissions", "plan", "--json", env=environ)
    assert nested.json["left_out"] == left_out, nested
    assert marks(lab) == set()
    assert not known_to(lab, WORD)
    assert not trusted(lab)
    lab.ok("kill", "--all")


def environment(pid: int) -> Iterator[str]:
    content = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return (entry for entry in content.split("\0") if "=" in entry)


@on_the_newest
def test_a_folder_that_is_trusted_is_taken_as_it_is(hostile: Lab) -> None:
    """Trusted by full permissions, by --trust, or by the user in Claude itself."""
    lab = hostile
    every = {"SessionStart", "UserPromptSubmit", "status-line", "server", "command"}
    for words, accepted in (("--permissions full", True), ("--permissions plan --trust", True), ("--no-trust", False)):
        lab.trust(*[] if accepted else [lab.project])
        done = lab.run("create", "--json", *words.split())
        assert (done.code, done.json["left_out"]) == (0, None), done
        assert ("accepted Claude's trust dialog" in done.err) == accepted
        id = done.json["id"]
        lab.ok("ask", id, f"[[bash: {touch(lab, 'command')}]][[reply: Done.]]")
        lab.until(lambda: every <= marks(lab), "all that the project runs")
        lab.ok("kill", id)
        for mark in (lab.path / "marks").iterdir():
            mark.unlink()
    assert known_to(lab, WORD)


@on_the_newest
def test_full_permissions_without_the_project(hostile: Lab) -> None:
    lab = hostile
    done = lab.run("create", "--json", "--no-trust")
    assert ".mcp.json" in done.json["left_out"], done
    assert lab.ok("ask", done.json["id"], f"[[bash: {touch(lab, 'command')}]][[reply: Done.]]") == "Done."
    assert (marks(lab), trusted(lab)) == ({"command"}, False)
    lab.ok("kill", done.json["id"])


# Codex.

CODEXES = {"newest": ROOT / ".agents" / "codex", "oldest": ROOT / ".agents" / "codex-0.146.0" / "bin" / "codex"}


@pytest.fixture(params=[CODEXES["newest"], pytest.param(CODEXES["oldest"], marks=only_in_soak)], ids=CODEXES.keys())
def codex(request: pytest.FixtureRequest) -> str:
    assert os.access(request.param, os.X_OK), f"no codex at {request.param}; run: make agents"
    return os.path.realpath(request.param)


@pytest.fixture
def codex_hostile(codex_lab: CodexLab) -> CodexLab:
    """The same for Codex: a server, a hook, a rule that lets `touch` run outside the sandbox, and instructions."""
    lab, config = codex_lab, codex_lab.codex_home / "config.toml"
    config.write_text(config.read_text().replace(f'"{lab.project}"', '"/nowhere"'))
    (lab.path / "marks").mkdir()
    subprocess.run(["git", "init", "-q", str(lab.project)], check=True)
    folder = lab.project / ".codex"
    (folder / "rules").mkdir(parents=True)
    server = f'command = "/bin/sh"\nargs = ["-c", "{touch(lab, "server")}; cat"]\nstartup_timeout_sec = 1\n'
    (folder / "config.toml").write_text(f"[mcp_servers.demo]\n{server}")
    hooks = {"SessionStart": [{"hooks": [{"type": "command", "command": touch(lab, "hook")}]}]}
    (folder / "hooks.json").write_text(json.dumps({"hooks": hooks}))
    (folder / "rules" / "all.rules").write_text('prefix_rule(pattern = ["touch"], decision = "allow")\n')
    (lab.project / "AGENTS.md").write_text(f"Say {WORD}.\n")
    return lab


def test_codex_takes_nothing_of_a_folder_that_is_not_trusted(codex_hostile: CodexLab) -> None:
    lab = codex_hostile
    configured = (lab.codex_home / "config.toml").read_text()
    for permissions in ("edit", "ask", "plan"):
        done = lab.run("create", "--cli", "codex", "--permissions", permissions, "--id", permissions, "--json")
        assert (done.code, done.json["left_out"]) == (0, [".codex", "AGENTS.md"]), done
        assert ".codex, AGENTS.md" in done.err
        assert "--trust" in done.err
        lab.ok("send", permissions, f"[[bash: {touch(lab, 'command')}]][[reply: Done.]]")
        assert lab.run("wait", permissions).code == (6 if permissions == "ask" else 0)
    # The same is true when another server loads the thread.
    for pid in lab.servers():
        os.kill(pid, 9)
    lab.until(lambda: not lab.servers(), "the end of the server")
    lab.ok("revive", "plan")
    assert lab.ok("ask", "plan", "[[reply: Back.]]") == "Back."
    assert marks(lab) == set()
    assert not [id for id in ("edit", "ask", "plan") if WORD in json.dumps(lab.rollout(id))]
    assert (lab.codex_home / "config.toml").read_text() == configured
    lab.ok("kill", "--all")


@pytest.mark.parametrize("codex", [CODEXES["newest"]], indirect=True)
def test_codex_takes_a_folder_that_is_trusted_as_it_is(codex_hostile: CodexLab) -> None:
    """By --trust, for that session only; by full permissions, which Codex records; and where Codex has recorded it."""
    lab = codex_hostile
    for words, accepted in (("ask --trust", True), ("full", True), ("ask --no-trust", False)):
        done = lab.run("create", "--cli", "codex", "--json", "--permissions", *words.split())
        assert (done.code, done.json["left_out"]) == (0, None), done
        assert ("accepted" in done.err) == accepted, words
        id = done.json["id"]
        assert lab.ok("ask", id, f"[[bash: {touch(lab, 'command')}]][[reply: Done.]]") == "Done."
        lab.until(lambda: marks(lab) >= {"server", "command"}, "what the project runs")
        assert WORD in json.dumps(lab.rollout(id))
        assert (f'"{lab.project}"' in (lab.codex_home / "config.toml").read_text()) == (words != "ask --trust")
        lab.ok("kill", id)
        for mark in (lab.path / "marks").iterdir():
            mark.unlink()
