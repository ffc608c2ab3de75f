"""Runs on disk: the plan of a recipe, and the progress of each branch.

    runs/<run>/run.json            the resolved plan
    runs/<run>/lock                held by the process that runs it
    runs/<run>/branches/NAME.json  the progress of a branch: its session, its turn, its outcome, its reply
    runs/<run>/branches/NAME.md    its reply
    runs/<run>/worktrees/NAME/     its git worktree, if it has one

A run's request ids are made from its name, so repeating a request does nothing twice.
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
    from typing import Any

    from .plan import Branch

_FORMAT = 1


class Run:
    """One run, locked until the `with` statement ends. Made by `begin` or `resume`.

    Raises:
        UsageError: it is running in another process.
    """

    def __init__(self, folder: str, content: dict[str, Any]) -> None:
        self.folder = folder
        self.id: str = content["run"]
        self.max_parallel: int = content["max_parallel"]
        self.worktree: bool = content["worktree"]
        self.keep: bool = content["keep"]
        self.branches: list[Branch] = [plans.from_json(one) for one in content["branches"]]
        self.join: Branch | None = plans.from_json(content["join"]) if content["join"] else None
        try:
            self._release = locks.take(os.path.join(folder, "lock"), 0)
        except TimeoutError as error:
            why = f"the run {self.id} is running in another process"
            raise UsageError(why, next="wait until that ends, or end it") from error
        self._noting = threading.Lock()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def request_id(self, name: str) -> str:
        """The id of the request that creates a branch's session; with `-first`, of its message."""
        return f"{self.id}.{name}"

    def state(self, name: str) -> dict[str, Any]:
        """The progress of a branch; empty if it was not begun."""
        found = files.read_json(os.path.join(self.folder, "branches", f"{name}.json"))
        return found if isinstance(found, dict) else {}

    def note(self, name: str, **fields: Any) -> dict[str, Any]:
        """Add to a branch's state; it is on disk when this returns."""
        folder = os.path.join(self.folder, "branches")
        files.make_folder(folder)
        if fields.get("reply") is not None:
            files.write_whole(os.path.join(folder, f"{name}.md"), str(fields["reply"]).encode() + b"\n")
        with self._noting:
            state = {"name": name, **self.state(name), **fields}
            files.write_json(os.path.join(folder, f"{name}.json"), state, durable=True)
        return state

    def log(self, name: str) -> _Log:
        """The record of a branch for `work`."""
        return _Log(self, name)

    def worktree_path(self, name: str) -> str:
        """The folder of a branch's git worktree."""
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
    """Record a new run.

    Args:
        home: the state folder.
        id: its name, from `new_id`.
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
    """Open a run that was begun before.

    Raises:
        UsageError: there is none, it is running in another process, or another version has written it.
    """
    folder = os.path.join(home, "runs", id)
    content = files.read_json(os.path.join(folder, "run.json")) if re.fullmatch(r"[A-Za-z0-9_-]+", id) else None
    if not isinstance(content, dict):
        top = os.path.join(home, "runs")
        there = sorted(os.listdir(top), reverse=True) if os.path.isdir(top) else []
        newest = [name for name in there if os.path.isfile(os.path.join(top, name, "run.json"))][:5]
        raise UsageError(f"no run called {id!r}; the newest are: {', '.join(newest) or 'none'}", next=f"ls {top}")
    if content.get("format") != _FORMAT:
        raise UsageError(f"the run {id} was written by another version", next="resume it with that version")
    return Run(folder, content)


def new_id(when: str) -> str:
    """A unique name that begins with `when`."""
    return f"{when}-{os.urandom(3).hex()}"
