"""Worktrees that are made at the same moment."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev_sessions import git
from dev_sessions.errors import DevSessionsError

AT_ONCE = 24


def run(path: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(path), *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    top = tmp_path / "project"
    top.mkdir()
    run(top, "init", "-q")
    run(top, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "begin")
    return top


def test_many_at_once_in_one_repository(checkout: Path, tmp_path: Path) -> None:
    names = [f"w{number}" for number in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = [pool.submit(git.add_worktree, str(checkout), str(tmp_path / name), [name], "HEAD") for name in names]
    assert [one.exception() for one in made] == [None] * AT_ONCE
    assert len(run(checkout, "worktree", "list").splitlines()) == 1 + AT_ONCE


def test_leftovers_of_an_interrupted_attempt_are_removed(checkout: Path, tmp_path: Path) -> None:
    tree = tmp_path / "one"
    git.add_worktree(str(checkout), str(tree), ["one"], "HEAD")
    (tree / "half").touch()
    git.add_worktree(str(checkout), str(tree), ["other", "one"], "HEAD")
    assert not (tree / "half").exists()
    assert run(checkout, "branch", "--format=%(refname:short)", "--list", "o*").split() == ["other"]


def test_the_error_quotes_git(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(DevSessionsError, match="nothing") as caught:
        git.add_worktree(str(checkout), str(tmp_path / "one"), ["one"], "nothing")
    assert f"git -C {checkout} worktree add -b one {tmp_path}/one nothing" in caught.value.data["next"]
    with pytest.raises(DevSessionsError, match="is not a git checkout"):
        git.add_worktree(str(tmp_path), str(tmp_path / "one"), ["one"], "HEAD")


def hook(checkout: Path, *lines: str) -> None:
    path = checkout / ".git" / "hooks" / "post-checkout"
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


@pytest.mark.parametrize(
    "before",
    [
        ["branch fan-out"],
        ["branch fan-out/R"],
        ["branch fan-out", "pack-refs --all"],
        ["branch fan-out/R/a/deeper"],
        ["branch fan-out/R/a"],
        ["tag fan-out"],
        ["tag fan-out/R/a"],
        ["config core.hooksPath /nonexistent"],
    ],
    ids=" ".join,
)
def test_a_free_branch_name_is_used(checkout: Path, tmp_path: Path, before: list[str]) -> None:
    for line in before:
        run(checkout, *line.split())
    there = run(checkout, "for-each-ref", "refs/heads").splitlines()
    name, said = git.add_worktree(str(checkout), str(tmp_path / "one"), ["fan-out/R/a", "fan-out-R-a"], "HEAD")
    clash = before[0] in ("branch fan-out", "branch fan-out/R", "branch fan-out/R/a/deeper")
    assert (name, said) == ("fan-out-R-a" if clash else "fan-out/R/a", None)
    assert run(tmp_path / "one", "symbolic-ref", "HEAD") == f"refs/heads/{name}\n"
    assert {*there} <= {*run(checkout, "for-each-ref", "refs/heads").splitlines()}


def test_a_hook_that_fails_once_all_is_there(checkout: Path, tmp_path: Path) -> None:
    hook(checkout, "echo no tools here; touch made; exit 3")
    assert git.add_worktree(str(checkout), str(tmp_path / "one"), ["a", "b"], "HEAD") == ("a", "no tools here")
    assert git.branch(str(tmp_path / "one")) == "a"
    assert (tmp_path / "one" / "made").exists()


def test_a_failed_worktree_leaves_nothing(checkout: Path, tmp_path: Path) -> None:
    (checkout / "f").write_text("x")
    run(checkout, "add", "f")
    run(checkout, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "f")
    hook(checkout, "rm f; echo no tools here; exit 3")
    with pytest.raises(DevSessionsError, match="no tools here"):
        git.add_worktree(str(checkout), str(tmp_path / "one"), ["a", "b"], "HEAD")
    assert not (tmp_path / "one").exists()
    assert len(run(checkout, "worktree", "list").splitlines()) == 1
    assert len(run(checkout, "branch").splitlines()) == 1


def test_a_locked_worktree_of_an_interrupted_attempt_and_a_bare_repository(checkout: Path, tmp_path: Path) -> None:
    tree = str(tmp_path / "one")
    git.add_worktree(str(checkout), tree, ["one"], "HEAD")
    run(checkout, "worktree", "lock", tree)
    assert git.add_worktree(str(checkout), tree, ["one"], "HEAD") == ("one", None)
    bare = tmp_path / "bare.git"
    run(checkout, "clone", "-q", "--bare", str(checkout), str(bare))
    assert git.top(str(bare)) == str(bare)
    assert git.add_worktree(str(bare), str(tmp_path / "two"), ["two"], "HEAD") == ("two", None)
    assert git.top(str(tmp_path)) is None


MINE = ["-c", "user.name=a", "-c", "user.email=a@b"]


def trap(folder: Path, ran: Path) -> None:
    """The programs that a repository can make git run: file monitor, hooks, a filter, a diff program."""
    program = folder.parent / "trap"
    program.write_text(f"#!/bin/sh\necho $0 >>{ran}\ncat\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "filter.t.clean", "filter.t.process", "diff.external", "diff.t.command"):
        run(folder, "config", key, str(program))
    run(folder, "config", "diff.t.textconv", str(program))
    (folder / ".git" / "hooks").mkdir(exist_ok=True)
    for name in ("post-index-change", "post-checkout", "reference-transaction"):
        (folder / ".git" / "hooks" / name).symlink_to(program)


def test_nothing_of_a_repository_that_an_agent_has_put_into_its_worktree_is_run(checkout: Path, tmp_path: Path) -> None:
    (checkout / "f").write_text("x\n")
    run(checkout, "add", "f")
    run(checkout, *MINE, "commit", "-q", "-m", "f")
    commit, tree, ran = run(checkout, "rev-parse", "HEAD").strip(), tmp_path / "one", tmp_path / "ran"
    git.add_worktree(str(checkout), str(tree), ["one"], "HEAD")
    repository = git.repository(str(tree))
    (tree / ".git").unlink()
    run(tree, "init", "-q")
    trap(tree, ran)
    (tree / ".gitattributes").write_text("* filter=t diff=t\n")
    (tree / "f").write_text("y\n")
    (tree / "new").write_text("z\n")
    found = git.changes(str(tree), commit, repository)
    assert " f | 2 +-" in found
    assert " new | new, not added" in found
    git.branch(str(tree))
    git.head(str(tree))
    assert not ran.exists()


def test_no_monitor_and_no_hook_runs_but_the_users_of_a_new_worktree(checkout: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    trap(checkout, ran)
    git.changes(str(checkout), "HEAD", None)
    git.branch(str(checkout))
    assert not ran.exists()
    git.add_worktree(str(checkout), str(tmp_path / "one"), ["one"], "HEAD")
    names = {Path(line).name for line in ran.read_text().split()}
    assert "post-checkout" in names
    assert "trap" not in names  # the monitor
