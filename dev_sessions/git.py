"""What recipes and briefings want of git; where there is no git or no checkout, that is an answer too.

An agent may have written to the folder that git is asked about. So no hook and no file monitor runs, but for the hooks
of the user's repository when a worktree is added to it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

from . import config
from .errors import DevSessionsError
from .system import locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 120.0
_NO_MONITOR = ("-c", "core.fsmonitor=false")
_NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}", "--no-optional-locks")


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
    """The top folder of the checkout that a folder is in; of a bare repository, the folder itself; None in neither."""
    found = _asked(path, "rev-parse", "--show-toplevel")
    return found or (path if _asked(path, "rev-parse", "--is-bare-repository") == "true" else None)


def head(path: str) -> str | None:
    """The commit that is checked out; None if there is none yet."""
    return _asked(path, "rev-parse", "--verify", "--quiet", "HEAD")


def add_worktree(top: str, path: str, branches: Sequence[str], commit: str) -> tuple[str, str | None]:
    """Check a commit out into a new folder, on a new branch. What an attempt that was cut left there is taken away.

    One at a time in a repository, whoever asks: git stumbles over a worktree that another git is just making
    ("failed to read .git/worktrees/NAME/commondir", 2.39).

    Args:
        branches: names for the branch, the best one first: git takes no `a/b` beside an `a`.

    Returns:
        The name that git took, and what was said by a hook of the user's that failed once all was there, or None.

    Raises:
        DevSessionsError: git refuses, in its own words; nothing is left then.
    """
    shared = _asked(top, "rev-parse", "--git-common-dir")
    if shared is None:
        raise DevSessionsError(f"no worktree at {path}: {top} is no git checkout", next=f"git -C {top} status")
    release = locks.take_folder(os.path.join(top, shared))
    try:
        refusals = []
        for branch in branches:
            _take_away(top, path, branches)
            done = _run(top, *_NO_MONITOR, "worktree", "add", "--quiet", "-b", branch, path, commit)
            said = (
                "git is not there" if done is None else " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            )
            if done is not None and (done.returncode == 0 or _is_whole(path, branch)):
                return branch, said if done.returncode else None
            refusals.append(said)
        _take_away(top, path, branches)
    finally:
        release()
    by_hand = shlex.join(["git", "-C", top, "worktree", "add", "-b", branches[0], path, commit])
    raise DevSessionsError(
        f"no worktree at {path}: {refusals[0]}", next=f"fix what git reports; by hand it is: {by_hand}"
    )


def _is_whole(path: str, branch: str) -> bool:
    """True if all is checked out: git has failed then because a post-checkout hook of the user's did."""
    there = _asked(path, "symbolic-ref", "--quiet", "HEAD") == f"refs/heads/{branch}"
    return there and _asked(path, "status", "--porcelain", "--untracked-files=no") == ""


def _take_away(top: str, path: str, branches: Sequence[str]) -> None:
    _asked(top, "worktree", "remove", "--force", "--force", path)
    shutil.rmtree(path, ignore_errors=True)
    _asked(top, "worktree", "prune")
    _asked(top, "branch", "-D", *branches)


def repository(path: str) -> str | None:
    """Where git keeps what it knows of the worktree `path`; None if it is not one."""
    return _asked(path, "rev-parse", "--absolute-git-dir")


def changes(path: str, commit: str, repository: str | None) -> str:
    """`git diff --stat` from a commit to what stands in a worktree, committed or not; new files are listed below.

    Args:
        repository: what `repository` said before an agent was in the worktree, which may have another repository by
            now, with filters that git would run. None: not known.
    """
    words = ("diff", "--stat", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", commit)
    changed = _asked(path, *words, repository=repository) or ""
    listed = _asked(path, "ls-files", "--others", "--exclude-standard", repository=repository)
    new = (listed or "").splitlines()
    return "\n".join([*changed.splitlines(), *(f" {name} | new, not added" for name in new)])


def _asked(path: str, *words: str, repository: str | None = None) -> str | None:
    """What git prints; None if it fails."""
    done = _run(path, *_NO_MONITOR, *_NO_HOOKS, *words, repository=repository)
    return None if done is None or done.returncode else done.stdout.rstrip("\n")


def _run(path: str, *words: str, repository: str | None = None) -> subprocess.CompletedProcess[str] | None:
    if not os.path.isdir(path):
        return None
    named = {"GIT_DIR": repository, "GIT_WORK_TREE": path} if repository else {}
    try:
        return subprocess.run(
            ["git", "-C", path, *words],
            env={**config.git_environment(), **named},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
