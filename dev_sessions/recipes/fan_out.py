"""Runs many sessions at once: each branch of a run has a thread, which waits most of the time.

Every step is written to disk before the next one begins (see `runs`), so this process may be killed at any moment.
"""

from __future__ import annotations

import os
import queue
import threading

from .. import git
from ..errors import DevSessionsError, UsageError
from ..model import COMPLETED
from . import briefing, work
from .plan import JOIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from ..client import Client
    from .plan import Branch
    from .runs import Run

    # Makes the client of a branch, by the branch's name.
    Clients = Callable[[str], Client]
    # Called with a branch's name and its new phase, by any thread.
    OnPhase = Callable[[str, str], None]


def check_worktrees(branches: Sequence[Branch]) -> None:
    """Check that each branch can have a worktree.

    Raises:
        UsageError: the folder of a branch is not in a git checkout that has a commit.
    """
    for branch in branches:
        path = branch.options["path"]
        if git.top(path) is None or git.head(path) is None:
            raise UsageError(
                f"the branch {branch.name} works in {path}, which is not a git checkout with a commit",
                next="omit --worktree, or git init and commit there",
            )


class FanOut:
    """The branches of a run, and the session that joins their replies.

    Args:
        clients: each branch has a client of its own, for its thread.
    """

    def __init__(self, run: Run, clients: Clients, on_phase: OnPhase) -> None:
        self._run, self._clients, self._on_phase = run, clients, on_phase
        self._ended: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._waiting = list(run.branches)
        self._changed = threading.Condition()
        self._starting: set[str] = set()
        self._stopped = False

    def results(self) -> Iterator[dict[str, Any]]:
        """Begin or continue the run; yields each branch's result when it is known, and the join's last."""
        for _ in range(min(self._run.max_parallel, len(self._run.branches))):
            threading.Thread(target=self._work_on, daemon=True).start()
        results = []
        for _ in self._run.branches:
            results.append(self._ended.get())
            yield results[-1]
        done = {one["name"]: str(one["reply"]) for one in results if one["outcome"] == COMPLETED}
        ended = all(work.is_over(one) or one["outcome"] == work.ERROR for one in results)
        if self._run.join is not None and done and ended:
            yield self._joined(self._run.join, done)

    def stop(self) -> None:
        """Begin no more branches; those that have begun go on."""
        with self._changed:
            self._stopped = True

    def settle(self, seconds: float) -> bool:
        """Wait until no session is being started; False if one still is after this many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._starting, seconds)

    def end(self) -> list[str]:
        """Kill every session that the run started and has not ended; returns what went wrong."""
        failed = []
        for name in [*(branch.name for branch in self._run.branches), JOIN]:
            log = self._run.log(name)
            state = log.state()
            if state.get("session") and not state.get("killed"):
                error = work.end(self._clients(name), log)
                failed += [f"{state['session']}: {error}"] if error else []
        return failed

    def _work_on(self) -> None:
        while (branch := self._next()) is not None:
            try:
                result = self._result(branch)
            except Exception as error:  # its record cannot be written, for example
                result = {"name": branch.name, **work.failure(error)}
                with self._changed:
                    self._starting.discard(branch.name)
                    self._changed.notify_all()
            self._ended.put(result)

    def _next(self) -> Branch | None:
        with self._changed:
            if self._stopped or not self._waiting:
                return None
            branch = self._waiting.pop(0)
            self._starting.add(branch.name)
            return branch

    def _result(self, branch: Branch) -> dict[str, Any]:
        log = self._run.log(branch.name)
        try:
            if self._run.worktree and branch.name != JOIN:
                branch = branch._replace(options={**branch.options, "path": self._worktree(branch, log)})
        except (DevSessionsError, OSError) as error:
            self._phase(branch.name, work.ERROR)
            known = error if isinstance(error, DevSessionsError) else DevSessionsError(str(error))
            remedy, again = known.data.get("next"), f"dev-sessions fan-out --resume {self._run.id}"
            return log.note(
                outcome=work.ERROR, error=known.message, next=f"{remedy}; then {again}" if remedy else again
            )
        client, id = self._clients(branch.name), self._run.request_id(branch.name)
        return work.work(client, branch, id, log, lambda phase: self._phase(branch.name, phase), self._run.keep)

    def _phase(self, name: str, phase: str) -> None:
        with self._changed:
            if phase == work.STARTING:
                self._starting.add(name)
            else:
                self._starting.discard(name)
                self._changed.notify_all()
        self._on_phase(name, phase)

    def _worktree(self, branch: Branch, log: Any) -> str:
        """The folder that a branch works in, inside its own worktree, which is made if needed."""
        state = log.state()
        if "worktree" not in state:
            path = branch.options["path"]
            top, commit = git.top(path) or path, git.head(path) or "HEAD"
            tree = self._run.worktree_path(branch.name)
            os.makedirs(os.path.dirname(tree), mode=0o700, exist_ok=True)
            # The second name is for a repository that has a branch called fan-out.
            names = [sign.join(("fan-out", self._run.id, branch.name)) for sign in "/-"]
            name, hook = git.add_worktree(top, tree, names, commit)
            inside = os.path.relpath(os.path.realpath(path), os.path.realpath(top))
            where = git.repository(tree)
            state = log.note(worktree=tree, branch=name, commit=commit, inside=inside, hook=hook, repository=where)
        return os.path.normpath(os.path.join(str(state["worktree"]), str(state["inside"])))

    def _joined(self, join: Branch, done: dict[str, str]) -> dict[str, Any]:
        names = [branch.name for branch in self._run.branches]
        replies = briefing.quoted([(name, done[name]) for name in names if name in done])
        missing = [name for name in names if name not in done]
        if missing:
            replies += f"\n\nWithout a reply: {', '.join(missing)}."
        brief = join.brief._replace(values={**join.brief.values, "replies": replies})
        return self._result(join._replace(brief=brief))


def changes(state: dict[str, Any]) -> str:
    """`git diff --stat` of a branch's worktree since it was made."""
    return git.changes(state["worktree"], state["commit"], state.get("repository"))
