"""What recipes and briefings want of git; where there is no git or no checkout, that is an answer too."""

from __future__ import annotations

import os
import subprocess

from . import config, locks
from .errors import DevSessionsError

_SECONDS = 120.0


def project_of(folder: str) -> str:
    """The root of the checkout around `folder`; without one, the folder itself. Asks no git: there may be none."""
    place = folder
    while not any(os.path.isfile(os.path.join(place, *git)) for git in ((".git",), (".git", "HEAD"))):
        above = os.path.dirname(place)
        if above == place:
            return folder
        place = above
    return place


def branch(path: str) -> str:
    """The branch that is checked out in a folder, "detached at <commit>", or "none" where nothing is."""
    name = _asked(path, "symbolic-ref", "--quiet", "--short", "HEAD")
    if name:
        return name
    commit = _asked(path, "rev-parse", "--short", "HEAD")
    return f"detached at {commit}" if commit else "none"


def top(path: str) -> str | None:
    """The top folder of the checkout that a folder is in; None if it is in none."""
    return _asked(path, "rev-parse", "--show-toplevel")


def head(path: str) -> str | None:
    """The commit that is checked out; None if there is none yet."""
    return _asked(path, "rev-parse", "--verify", "--quiet", "HEAD")


def uncommitted(path: str) -> int:
    """How many files differ from what is checked out, new ones included."""
    return len((_asked(path, "status", "--porcelain") or "").splitlines())


def add_worktree(top: str, path: str, branch: str, commit: str) -> None:
    """Check a commit out into a new folder, on a new branch. What an attempt that was cut left there is taken away.

    One at a time in a repository, whoever asks: git stumbles over a worktree that another git is just making
    ("failed to read .git/worktrees/NAME/commondir", 2.39).

    Raises:
        DevSessionsError: git refuses, in its own words.
    """
    shared = _asked(top, "rev-parse", "--git-common-dir")
    if shared is None:
        raise DevSessionsError(f"no worktree at {path}: {top} is no git checkout", next=f"git -C {top} status")
    release = locks.take_folder(os.path.join(top, shared))
    try:
        _add_worktree(top, path, branch, commit)
    finally:
        release()


def _add_worktree(top: str, path: str, branch: str, commit: str) -> None:
    _asked(top, "worktree", "remove", "--force", "--force", path)
    _asked(top, "worktree", "prune")
    _asked(top, "branch", "-D", branch)
    done = _run(top, "worktree", "add", "--quiet", "-b", branch, path, commit)
    if done is None or done.returncode:
        why = "git is not there" if done is None else " ".join((done.stderr or "no word").split())
        raise DevSessionsError(f"no worktree at {path}: {why}", next=f"git -C {top} worktree list")


def changes(path: str, commit: str) -> str:
    """`git diff --stat` from a commit to what stands in a worktree, committed or not; new files are listed below."""
    changed = _asked(path, "diff", "--stat", commit) or ""
    new = (_asked(path, "ls-files", "--others", "--exclude-standard") or "").splitlines()
    return "\n".join([*changed.splitlines(), *(f" {name} | new, not added" for name in new)])


def _asked(path: str, *words: str) -> str | None:
    """What git prints; None if it fails."""
    done = _run(path, *words)
    return None if done is None or done.returncode else done.stdout.rstrip("\n")


def _run(path: str, *words: str) -> subprocess.CompletedProcess[str] | None:
    if not os.path.isdir(path):
        return None
    try:
        return subprocess.run(
            ["git", "-C", path, *words],
            env=config.git_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
