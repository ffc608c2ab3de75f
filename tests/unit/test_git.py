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
        made = [pool.submit(git.add_worktree, str(checkout), str(tmp_path / name), name, "HEAD") for name in names]
    assert [one.exception() for one in made] == [None] * AT_ONCE
    assert len(run(checkout, "worktree", "list").splitlines()) == 1 + AT_ONCE


def test_what_a_cut_attempt_left_is_taken_away(checkout: Path, tmp_path: Path) -> None:
    tree = tmp_path / "one"
    git.add_worktree(str(checkout), str(tree), "one", "HEAD")
    (tree / "half").touch()
    git.add_worktree(str(checkout), str(tree), "one", "HEAD")
    assert not (tree / "half").exists()


def test_the_words_of_git(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(DevSessionsError, match="nothing"):
        git.add_worktree(str(checkout), str(tmp_path / "one"), "one", "nothing")
    with pytest.raises(DevSessionsError, match="is no git checkout"):
        git.add_worktree(str(tmp_path), str(tmp_path / "one"), "one", "HEAD")
