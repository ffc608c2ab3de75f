"""Shell completion: what TAB offers in a real bash, and that it prints nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab

# Completes a line as bash itself does: by the function that is registered for the command.
COMPLETE = """
eval "$SCRIPT"
COMP_WORDS=({words}) COMP_CWORD={at} COMPREPLY=()
_dev_sessions_completion dev-sessions
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


class Shell:
    """A bash in a lab, with completion set up."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        # The shell is the one that calls the command: always a bash here.
        asked = " ".join(lab.argv("--show-completion"))
        done = subprocess.run(
            ["bash", "--norc", "-c", f"{asked}; exit $?"], env=lab.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done
        self.script = done.stdout.rstrip("\n")

    def tab(self, line: str, **env: str) -> list[str]:
        """The candidates for the last word of a line."""
        words = ["dev-sessions", *line.split(" ")]
        code = COMPLETE.format(words=" ".join(f"'{word}'" for word in words), at=len(words) - 1)
        done = subprocess.run(
            ["bash", "--norc", "-c", code],
            env={**self.lab.env, "SCRIPT": self.script, **env},
            cwd=self.lab.project,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        return [word for word in done.stdout.splitlines() if word]


def register(state: Path, groups: dict[str, str | None], description: str) -> None:
    """Write a registry with a session for each id, with its group. No agent of theirs exists."""
    sessions = {
        id: {
            "id": id,
            "key": f"{id}-0a1b2c3d",
            "cli": "fake",
            "mode": "native",
            "permissions": "full",
            "path": "/",
            "description": description,
            "group": group,
        }
        for id, group in groups.items()
    }
    (state / "sessions.json").write_text(json.dumps({"format": 1, "sessions": sessions}))


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell with three sessions on record; completion must not read their agents' state."""
    with Lab(name="completion") as lab:
        lab.state.mkdir()
        groups = {"fizz-top": "blue", "fiora-mid": None, "ahri-mid": "black"}
        register(lab.state, groups, "fix: the 'parser'\nand more")
        yield Shell(lab)


COMMANDS = (
    "status",
    "wait",
    "send",
    "ask",
    "last-message",
    "logs",
    "inspect",
    "events",
    "kill",
    "interrupt",
    "attach",
    "revive",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_session_ids(shell: Shell, command: str) -> None:
    assert shell.tab(f"{command} f") == ["fizz-top", "fiora-mid"]


def test_more_ids_are_offered_where_several_are_allowed(shell: Shell) -> None:
    assert shell.tab("wait fizz-top a") == ["ahri-mid"]
    assert shell.tab("kill fizz-top fiora-mid ") == ["fizz-top", "fiora-mid", "ahri-mid"]
    assert shell.tab("status x") == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("list --group ", ["black", "blue"]),
        ("kill --group blu", ["blue"]),
        ("wait --group bla", ["black"]),
        ("create --group b", ["black", "blue"]),
        ("list --status w", ["working", "waiting_for_input"]),
        ("create --permissions ", ["full", "edit", "ask", "plan"]),
        ("create --cli c", ["claude", "codex"]),
        ("create --cli fake", ["fake", "fake-bare"]),
        ("insp", ["inspect"]),
        ("kill --older", ["--older-than"]),
        ("logs fizz-top --fo", ["--follow"]),
    ],
)
def test_fixed_values_are_completed(shell: Shell, line: str, offered: list[str]) -> None:
    assert shell.tab(line) == offered


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99, "sessions": {}}', '{"format": 1, "sessions": 5}'])
def test_a_damaged_registry_offers_nothing_and_prints_nothing(shell: Shell, tmp_path: Path, content: str) -> None:
    (tmp_path / "sessions.json").write_text(content)
    assert shell.tab("status ", DEV_SESSIONS_HOME=str(tmp_path)) == []
    assert shell.tab("list --group ", DEV_SESSIONS_HOME=str(tmp_path)) == []
    assert os.listdir(tmp_path) == ["sessions.json"]


def test_invalid_settings_print_nothing(shell: Shell) -> None:
    assert shell.tab("status f", DEV_SESSIONS_MAX_DEPTH="many") == []
    assert shell.tab("status f", DEV_SESSIONS_SANDBOX="1") == []


def test_before_the_first_session(shell: Shell, tmp_path: Path) -> None:
    assert shell.tab("status ", DEV_SESSIONS_HOME=str(tmp_path / "none")) == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "dev-sessions status f"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "dev-sessions status f", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_other_shells_also_get_the_descriptions(shell: Shell, name: str, variables: dict[str, str]) -> None:
    done = shell.lab.run(env={"_DEV_SESSIONS_COMPLETE": f"complete_{name}", **variables})
    assert (done.code, done.err) == (0, "")
    assert "fizz-top" in done.out
    assert "fiora-mid" in done.out
    assert "ahri-mid" not in done.out
    assert "parser" in done.out


EVIL = (
    "$(touch RAN) `touch RAN` \\$(touch RAN) ';touch RAN;' \";touch RAN;\" $((a[$(touch RAN)])) {a,b} * ~ \x1b[2J\u202e"
)


def test_a_shell_does_not_run_what_others_wrote(shell: Shell, tmp_path: Path) -> None:
    """Groups and descriptions can be set through a gateway, and templates come with a project."""
    lab, values = shell.lab, ["good", *EVIL.split(" "), "$(touch RAN)", "`touch RAN`", "a b", "-x", "a\nb"]
    register(tmp_path, {f"a{number}": value for number, value in enumerate(values)}, f"the parser {EVIL}")
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "mine.md").write_text(f"---\nname: mine\ndescription: {json.dumps(EVIL)}\n---\n")
    env = {"DEV_SESSIONS_HOME": str(tmp_path)}
    assert shell.tab("list --group ", **env) == ["good"]
    assert shell.tab("create --template m", **env) == ["mine"]
    for words in ("status a", "list --group ", "create --template m"):
        asked = {"_DEV_SESSIONS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": f"dev-sessions {words}"}
        told = lab.run(env={**env, **asked}).out
        assert re.fullmatch(r"_arguments '\*: :\(\(([\w\n .,/-]|\"[\w .-]+\"(:\"[\w .,/-]*\")?)*\)\)'\n", told), told
        assert ("the parser touch RAN" in told) == (words == "status a")
        # zsh evaluates its input, and `_arguments` evaluates the list in it once more.
        for name in filter(shutil.which, ("bash", "zsh")):
            code = """_arguments() { a=${1#*'(('}; eval "a=( ${a%'))'} )"; }; eval $(cat); ls RAN"""
            done = subprocess.run([name, "-c", code], cwd=tmp_path, input=told, capture_output=True, text=True)
            assert done.returncode == 2, done


def test_install_completion_writes_into_this_home_alone(shell: Shell) -> None:
    """Run by a bash, whose completion it installs; a new one then completes."""
    lab = shell.lab
    argv = " ".join(lab.argv("--install-completion"))
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{argv}; exit $?"], env=lab.env, cwd=lab.project, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    assert "bash completion installed" in done.stdout
    written = [path for path in lab.home.rglob("*") if path.is_file() and "dev-sessions" in path.read_text()]
    assert written
    ask = 'source "$HOME/.bashrc"; complete -p dev-sessions'
    shown = subprocess.run(["bash", "--norc", "-c", ask], env=lab.env, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "_dev_sessions_completion" in shown.stdout


def test_bash_completes_with_the_installed_command(shell: Shell) -> None:
    """The console script, found on PATH, as the shell runs it."""
    script = Path(sys.executable).parent / "dev-sessions"
    env = {**shell.lab.env, "COMP_WORDS": "dev-sessions status fi", "COMP_CWORD": "2"}
    env["_DEV_SESSIONS_COMPLETE"] = "complete_bash"
    done = subprocess.run([script], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["fizz-top", "fiora-mid"], "")
