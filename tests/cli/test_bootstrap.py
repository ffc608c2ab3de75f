"""`make bootstrap` and `make install-skills` on a new machine; existing programs are used, not fetched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lab import ROOT, Lab

SKILLS = {"delegate", "dev-sessions", "fan-out", "handoff"}
# Installs, like npm, an agent that only prints its version.
NPM = """#!/bin/sh
echo "$@" >> "$HOME/npm.log"
mkdir -p "$HOME/.local/bin"
printf '#!/bin/sh\\necho "2.1.330 (Claude Code)"\\n' > "$HOME/.local/bin/claude"
chmod +x "$HOME/.local/bin/claude"
"""


class Newcomer:
    """A home with nothing in it, and the command's own environment made before, since that comes from the network."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self.home, self.bin, self.venv = home, home / "bin", home / "venv"
        (self.venv / "bin").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("python", "dev-sessions"):
            (self.venv / "bin" / name).symlink_to(Path(sys.executable).parent / name)
        (self.venv / "installed").touch()
        inherited = {name: lab.env[name] for name in ("TMUX_TMPDIR", "LANG")}
        self.env = {**inherited, "HOME": str(home), "PATH": f"{self.bin}:/usr/bin:/bin", "SHELL": "/bin/bash"}
        self.program("npm", NPM)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["make", "--no-print-directory", f"PYTHON={sys.executable}", f"VENV={self.venv}", *words]
        return subprocess.run(argv, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=120, check=False)

    def fetched(self) -> list[str]:
        log = self.home / "npm.log"
        return log.read_text().splitlines() if log.exists() else []

    def skills(self, agent: str = ".claude") -> set[str]:
        return {path.parent.name for path in (self.home / agent / "skills").glob("*/SKILL.md")}


@pytest.fixture
def newcomer(lab: Lab, tmp_path: Path) -> Newcomer:
    return Newcomer(lab, tmp_path)


def test_bootstrap_gets_an_agent_and_the_rest_and_the_second_time_nothing(newcomer: Newcomer) -> None:
    done = newcomer.make("bootstrap")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert newcomer.fetched() == [f"install -g --prefix {newcomer.home}/.local @anthropic-ai/claude-code"]
    assert newcomer.skills() == SKILLS
    assert "Put ~/.local/bin on your PATH." in done.stdout
    completion = (newcomer.home / ".bashrc").read_text().strip()
    assert f"{newcomer.home}/.local/bin/claude" in done.stdout
    assert "ok       claude skills: those of " in done.stdout
    newcomer.env["PATH"] = f"{newcomer.home}/.local/bin:{newcomer.env['PATH']}"
    shown = subprocess.run(
        ["dev-sessions", "list", "--json"], env=newcomer.env, capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stdout) == (0, "[]\n")
    again = newcomer.make("bootstrap")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.count("unchanged: ") == 4
    assert "Put ~/.local/bin" not in again.stdout
    assert len(newcomer.fetched()) == 1
    assert (newcomer.home / ".bashrc").read_text().strip() == completion


def test_bootstrap_takes_the_agent_that_is_there_and_goes_on_without_completion(newcomer: Newcomer) -> None:
    newcomer.env["SHELL"] = "/bin/sh"  # which has none
    newcomer.program("codex", "#!/bin/sh\necho codex-cli 0.171.0\n")
    done = newcomer.make("bootstrap")
    assert done.returncode == 0, done
    assert newcomer.fetched() == []
    assert (newcomer.skills(".codex"), newcomer.skills()) == (SKILLS, set())
    assert "Shell completion was not installed: run dev-sessions --install-completion" in done.stdout


def test_bootstrap_stops_where_the_agent_cannot_be_had(newcomer: Newcomer) -> None:
    newcomer.program("npm", "#!/bin/sh\necho no network >&2\nexit 7\n")
    done = newcomer.make("bootstrap")
    assert done.returncode == 2
    assert "no network" in done.stderr
    assert newcomer.skills() == set()


def test_install_skills_passes_its_arguments_on(newcomer: Newcomer) -> None:
    assert newcomer.make("install-skills").returncode == 0
    assert newcomer.skills() == SKILLS
    done = newcomer.make("install-skills", "ARGS=--uninstall")
    assert (done.returncode, done.stdout.count("removed: ")) == (0, 4)
    assert newcomer.skills() == set()
    assert newcomer.make("install-skills", "ARGS=--check").returncode == 2


def test_the_targets_of_the_recipes_call_the_command_with_what_is_given(newcomer: Newcomer) -> None:
    """The user's arguments are passed unchanged."""
    (newcomer.venv / "bin" / "dev-sessions").unlink()
    newcomer.program("../venv/bin/dev-sessions", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    quoted = """it's "$HOME" and `pwd`; all of $(ls) it"""
    for words, called in (
        (["delegate", "TASK=" + quoted.replace("$", "$$")], ["sync-delegate", quoted, "--cli", "claude"]),
        (["delegate", "TASK=x", "CLI=codex", "ARGS=-p /"], ["sync-delegate", "x", "--cli", "codex", "-p", "/"]),
        (["fan-out", "PLAN=a.md b.md"], ["fan-out", "a.md", "b.md"]),
        (["consult", "Q=why not"], ["consult", "why not"]),
        (["handoff", "TASK=go on"], ["handoff", "go on", "--cli", "claude"]),
    ):
        done = newcomer.make("-o", f"{newcomer.venv}/installed", *words)
        assert (done.returncode, done.stdout.splitlines()) == (0, called), done
