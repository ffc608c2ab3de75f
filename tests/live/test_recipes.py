"""The recipes with real agents: one task, and several at once. (`test_examples.py` tests the others.)"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from codex_lab import CodexLab
from lab import branch_state


@pytest.fixture(scope="module")
def both(claude: str, codex: str) -> Iterator[CodexLab]:
    """One lab with both agents, whose project is a git checkout."""
    with CodexLab(codex, "recipes", claude) as made:
        git(made, "init", "-q", "-b", "trunk")
        (made.project / "README").write_text("one\n")
        git(made, "add", ".")
        git(made, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "begin")
        yield made


def git(lab: CodexLab, *words: str) -> str:
    argv = ["git", "-C", str(lab.project), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def ids(lab: CodexLab) -> list[str]:
    return [row["id"] for row in lab.run("list", "--json").json]


@pytest.mark.parametrize("cli", ["claude", "codex"])
def test_one_task(both: CodexLab, cli: str) -> None:
    """It stops at a question; once that is answered, the same turn continues."""
    harmless = {"claude": "touch asked", "codex": "python3 -c 'print(6 * 7)'"}[cli]
    words = ("--cli", cli, "--permissions", "ask")
    done = both.run("sync-delegate", f"[[bash: {harmless}]][[reply: done it]]", *words)
    (id,) = ids(both)
    assert done.code == 6
    line = next(line for line in done.err.splitlines() if "dev-sessions respond" in line)
    assert f"respond {id} --question" in line
    both.ok("respond", id, "--allow", "--question", line.split("--question ")[1].split()[0])
    assert both.ok("wait", id) == "completed"
    assert both.ok("last-message", id) == "done it"
    both.ok("kill", id)


def test_three_in_worktrees_and_a_join_after_a_cut(both: CodexLab, tmp_path: Path) -> None:
    """The run is killed with -9 while all sessions work, then resumed; each session received its message once."""
    plan = tmp_path / "plan.yaml"
    branches = [
        {"name": "one", "task": "[[bash: echo 1 >one.txt]][[hold: go]][[reply: one is done]]", "cli": "codex"},
        {"name": "two", "task": "[[hold: go]][[reply: two is done]]", "template": "task"},
        {"name": "three", "task": "[[bash: echo 3 >>README]][[hold: go]][[reply: three is done]]", "cli": "codex"},
    ]
    plan.write_text(json.dumps({"branches": branches, "join": "synthesis", "worktree": True}))  # YAML, too
    first = both.start("fan-out", str(plan))
    runs = Path(both.env["DEV_SESSIONS_HOME"], "runs")
    names = [str(branch["name"]) for branch in branches]
    both.until(lambda: runs.exists() and list(runs.iterdir()), "the run")
    (path,) = runs.iterdir()
    both.until(lambda: all(branch_state(path, name).get("turn") for name in names), "all to be told")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    again = both.start("fan-out", "--resume", path.name, "--json")
    both.model.release("go")
    done = both.finish(again)
    assert done.code == 0, done
    value = done.json
    assert [one["reply"] for one in value["branches"]] == ["one is done", "two is done", "three is done"]
    assert value["join"]["outcome"] == "completed"
    one, two, three = value["branches"]
    assert "one.txt | new, not added" in one["changes"]
    assert two["changes"] == ""
    assert "README | 1 +" in three["changes"]
    assert (both.project / "README").read_text() == "one\n"
    assert len(git(both, "worktree", "list").splitlines()) == 4
    assert ids(both) == []
    for session in (one, two, three, value["join"]):
        assert len(told(both, session["session"])) == 1, session
    (briefing,) = told(both, value["join"]["session"])
    (mark,) = {*re.findall("^=== ([0-9a-f]{32}) end ===$", briefing, re.MULTILINE)}
    assert all(f"### {name}\n\n=== {mark} begin ===\n{name} is done\n=== {mark} end ===" in briefing for name in names)


def test_in_a_hook_of_another_repository(both: CodexLab, tmp_path: Path) -> None:
    """git sets variables for a hook that name its repository, index and date; the agents use their own repository."""
    other, plan, shown = tmp_path / "other", tmp_path / "plan.yaml", tmp_path / "shown.json"
    identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    work = "echo x >made; git add made; git commit -q -m made"
    branches = [{"name": cli, "cli": cli, "task": f"[[bash: {work}]][[reply: done]]"} for cli in ("claude", "codex")]
    plan.write_text(json.dumps({"branches": branches, "worktree": True}))
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    hook = other / ".git" / "hooks" / "pre-commit"
    command = shlex.join([*both.argv("fan-out", str(plan), "--path", str(both.project), "--json")])
    hook.write_text(f'#!/bin/sh\n[ -n "$GIT_INDEX_FILE" ] && {command} >{shlex.quote(str(shown))}\n')
    hook.chmod(0o755)
    words = ["commit", "-q", "--allow-empty", "--date=2001-01-01T00:00:00Z", "-m", "theirs"]
    aliased = ["git", "-C", str(other), "--git-dir=.git", "--work-tree=.", *words]  # as git runs an alias
    subprocess.run(aliased, env=both.environment(identity), check=True, timeout=120)
    done = json.loads(shown.read_text())
    assert [one["outcome"] for one in done["branches"]] == ["completed", "completed"], done
    for one in done["branches"]:
        assert one["changes"] == " made | 1 +\n 1 file changed, 1 insertion(+)", one
        assert "2001" not in git(both, "log", "-1", "--format=%ad", one["branch"])
        assert git(both, "log", "--format=%s", one["branch"]).split() == ["made", "begin"]
    theirs = subprocess.run(["git", "-C", str(other), "log", "--all", "--format=%s"], capture_output=True, text=True)
    assert theirs.stdout.split() == ["theirs"]


def told(lab: CodexLab, id: str) -> list[str]:
    """Every message that an ended session received."""
    (folder,) = Path(lab.env["DEV_SESSIONS_HOME"], "archive").glob(f"{id}-*/messages")
    return [(message / "text.md").read_text() for message in folder.iterdir()]
