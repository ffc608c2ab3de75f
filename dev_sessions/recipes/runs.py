"""Runs on disk: what a recipe was to do, and how far each branch has come.

    runs/<run>/run.json            the plan as it was resolved
    runs/<run>/lock                held by the process that runs it
    runs/<run>/branches/NAME.json  how far a branch has come: its session, its turn, its outcome, its reply
    runs/<run>/branches/NAME.md    its reply
    runs/<run>/worktrees/NAME/     its git worktree, if it has one

A run's requests bear ids that follow from its name. Whoever repeats them acts on nothing twice.
"""

from __future__ import annotations

import os
import re
import threading

from ..errors import UsageError
from ..system import files, locks
from . import plan as plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .plan import Branch

_FORMAT = 1


class Run:
    """One run. Made by `begin` or `resume`, which lock it; `close` lets go of it."""

    def __init__(self, folder: str, content: dict[str, Any]) -> None:
        self.folder = folder
        self.id: str = content["run"]
        self.max_parallel: int = content["max_parallel"]
        self.worktree: bool = content["worktree"]
        self.keep: bool = content["keep"]
        self.branches: list[Branch] = [plans.from_json(one) for one in content["branches"]]
        self.join: Branch | None = plans.from_json(content["join"]) if content["join"] else None
        self._release = _locked(folder, self.id)
        self._noting = threading.Lock()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def request_id(self, name: str) -> str:
        """The id of the request that creates a branch's session; with `-first`, of its message."""
        return f"{self.id}.{name}"

    def state(self, name: str) -> dict[str, Any]:
        """How far a branch has come; empty of one that was not begun."""
        found = files.read_json(os.path.join(self.folder, "branches", f"{name}.json"))
        return found if isinstance(found, dict) else {}

    def note(self, name: str, **fields: Any) -> dict[str, Any]:
        """Add to a branch's state; it is on the disk before this returns."""
        folder = os.path.join(self.folder, "branches")
        files.make_folder(folder)
        if fields.get("reply") is not None:
            files.write_whole(os.path.join(folder, f"{name}.md"), str(fields["reply"]).encode() + b"\n")
        with self._noting:
            state = {"name": name, **self.state(name), **fields}
            files.write_json(os.path.join(folder, f"{name}.json"), state, durable=True)
        return state

    def log(self, name: str) -> _Log:
        """What `work` keeps of a branch."""
        return _Log(self, name)

    def worktree_path(self, name: str) -> str:
        """Where the git worktree of a branch is, or will be."""
        return os.path.join(self.folder, "worktrees", name)


class _Log:
    """See `work.Log`."""

    def __init__(self, run: Run, name: str) -> None:
        self._run, self._name = run, name

    def state(self) -> dict[str, Any]:
        return {"name": self._name, **self._run.state(self._name)}

    def note(self, **fields: Any) -> dict[str, Any]:
        return self._run.note(self._name, **fields)


def begin(home: str, id: str, **content: Any) -> Run:
    """Write a new run down.

    Args:
        home: the state folder.
        id: its name, which nobody else has.
        content: `recipe`, `cwd`, `branches`, `join`, `max_parallel`, `worktree` and `keep`.
    """
    folder = os.path.join(home, "runs", id)
    files.make_folder(folder)
    content["branches"] = [branch.to_json() for branch in content["branches"]]
    content["join"] = content["join"].to_json() if content["join"] else None
    whole = {"format": _FORMAT, "run": id, **content}
    files.write_json(os.path.join(folder, "run.json"), whole, durable=True)
    return Run(folder, whole)


def resume(home: str, id: str) -> Run:
    """A run that was begun before.

    Raises:
        UsageError: there is none, it goes on in another process, or a newer version has written it.
    """
    folder = os.path.join(home, "runs", id)
    content = files.read_json(os.path.join(folder, "run.json")) if re.fullmatch(r"[A-Za-z0-9_-]+", id) else None
    if not isinstance(content, dict):
        there = ", ".join(list(_newest(home))[:5]) or "none"
        raise UsageError(f"no run called {id!r}; the newest are: {there}", next=f"ls {os.path.join(home, 'runs')}")
    if content.get("format") != _FORMAT:
        raise UsageError(f"the run {id} was written by another version", next="resume it with that version")
    return Run(folder, content)


def new_id(when: str) -> str:
    """A name that nobody else has; `when` is how it begins."""
    return f"{when}-{os.urandom(3).hex()}"


def _newest(home: str) -> Iterator[str]:
    try:
        found = sorted(os.listdir(os.path.join(home, "runs")), reverse=True)
    except OSError:
        return
    yield from (name for name in found if os.path.isfile(os.path.join(home, "runs", name, "run.json")))


def _locked(folder: str, id: str) -> Any:
    try:
        return locks.take(os.path.join(folder, "lock"), 0)
    except TimeoutError as error:
        raise UsageError(f"the run {id} goes on in another process", next="wait for that one, or end it") from error
