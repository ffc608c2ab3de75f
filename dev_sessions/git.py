"""What recipes and briefings need from git; they also work without git or a checkout.

An agent may have written to the folder that git looks at. So no hook and no file monitor runs, except for the hooks of
the user's repository when a worktree is added to it.
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
    """The root of the checkout around `folder`; without one, the folder itself. Works without git."""
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
    """The top folder of the checkout around a folder; in a bare repository, the folder itself; else None."""
    found = _asked(path, "rev-parse", "--show-toplevel")
    return found or (path if _asked(path, "rev-parse", "--is-bare-repository") == "true" else None)


def head(path: str) -> str | None:
    """The commit that is checked out; None if there is none yet."""
    return _asked(path, "rev-parse", "--verify", "--quiet", "HEAD")


def add_worktree(top: str, path: str, branches: Sequence[str], commit: str) -> tuple[str, str | None]:
    """Check a commit out into a new folder, on a new branch, after removing what an interrupted attempt left there.

    One process at a time in a repository: git fails if another git is just making a worktree ("failed to read
    .git/worktrees/NAME/commondir", 2.39).

    Args:
        branches: names for the branch, the best one first: git refuses an `a/b` beside an `a`.

    Returns:
        The name that git accepted, and the output of a hook that failed after the checkout, or None.

    Raises:
        DevSessionsError: git refuses; the message quotes git, and nothing is left.
    """
    shared = _asked(top, "rev-parse", "--git-common-dir")
    if shared is None:
        raise DevSessionsError(f"no worktree at {path}: {top} is not a git checkout", next=f"git -C {top} status")
    release = locks.take_folder(os.path.join(top, shared))
    try:
        refusals = []
        for branch in branches:
            _remove(top, path, branches)
            done = _run(top, *_NO_MONITOR, "worktree", "add", "--quiet", "-b", branch, path, commit)
            if done is None:
                refusals.append("git is not installed")
                continue
            output = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            if done.returncode == 0 or _is_whole(path, branch):
                return branch, output if done.returncode else None
            refusals.append(output)
        _remove(top, path, branches)
    finally:
        release()
    by_hand = shlex.join(["git", "-C", top, "worktree", "add", "-b", branches[0], path, commit])
    raise DevSessionsError(f"no worktree at {path}: {refusals[0]}", next=f"fix what git reports; to try it: {by_hand}")


def _is_whole(path: str, branch: str) -> bool:
    """True if everything is checked out: then git failed only because a post-checkout hook did."""
    is_there = _asked(path, "symbolic-ref", "--quiet", "HEAD") == f"refs/heads/{branch}"
    return is_there and _asked(path, "status", "--porcelain", "--untracked-files=no") == ""


def _remove(top: str, path: str, branches: Sequence[str]) -> None:
    _asked(top, "worktree", "remove", "--force", "--force", path)
    shutil.rmtree(path, ignore_errors=True)
    _asked(top, "worktree", "prune")
    _asked(top, "branch", "-D", *branches)


def repository(path: str) -> str | None:
    """Where git keeps its data of the worktree `path`; None if it is not a worktree."""
    return _asked(path, "rev-parse", "--absolute-git-dir")


def changes(path: str, commit: str, repository: str | None) -> str:
    """`git diff --stat` from a commit to a worktree's files, committed or not, with new files listed below.

    Args:
        repository: what `repository` returned before an agent worked there. By now the folder may have another
            repository, with filters that git would run. None: not known.
    """
    words = ("diff", "--stat", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", commit)
    changed = _asked(path, *words, repository=repository) or ""
    listed = _asked(path, "ls-files", "--others", "--exclude-standard", repository=repository)
    new = (listed or "").splitlines()
    return "\n".join([*changed.splitlines(), *(f" {name} | new, not added" for name in new)])


def _asked(path: str, *words: str, repository: str | None = None) -> str | None:
    """What git prints; None on failure."""
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
