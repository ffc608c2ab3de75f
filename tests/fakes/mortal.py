"""Runs verbs of `dev_sessions.client` in processes of their own that end by SIGKILL at a step of one's choice.

A step is a system call that changes something outside of the process, before it or after it: a file written, a name
moved, a lock taken, a program started. Killed there, a process leaves exactly what a kill -9 at any other moment could
leave. The program forks a child for each verb, which saves Python's start.

In, a line each: {"verb", "given", "named", "step"}. Out: {"code", "value", "notes", "steps"}.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import signal
import subprocess
import sys
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

CALLS = frozenset(
    "open write fsync replace rename mkdir rmdir unlink link chmod fchmod ftruncate utime kill posix_spawn flock"
    " fork_exec poll pidfd_send_signal".split()
)
# Where those come from: str.replace is none of them, nor is the builtin `open`, with which we only read.
MODULES = frozenset({"posix", "fcntl", "select", "signal", "_posixsubprocess"})
# What the verbs import when they run: once, here, and not in each child.
IMPORTED = (
    *("app", "service.create", "service.kill", "service.status", "service.send", "service.wait"),
    *("service.courier", "service.delivery", "backends.base", "terminal.tmux", "system.waiting"),
)


class Ended(NamedTuple):
    """A verb that has ended: `code` is "ok", "killed" or the code of an error; `value` is the result or the error."""

    code: str
    value: Any
    notes: list[str]
    steps: int


class Mortal:
    """The program, started in an environment; used by one thread."""

    def __init__(self, env: dict[str, str], cwd: str) -> None:
        self._program = subprocess.Popen(
            [sys.executable, __file__], env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, verb: str, *given: Any, step: int | None = None, **named: Any) -> Ended:
        """Run a verb, up to that step."""
        assert self._program.stdin
        assert self._program.stdout
        order = {"verb": verb, "given": given, "named": named, "step": step}
        self._program.stdin.write(json.dumps(order) + "\n")
        self._program.stdin.flush()
        return Ended(**json.loads(self._program.stdout.readline()))

    def close(self) -> None:
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.close()
        self._program.stdout.close()
        self._program.wait()


def main() -> None:
    from dev_sessions import backends

    for name in IMPORTED:
        import_module(f"dev_sessions.{name}")
    for name in ("filelock", "random", "shutil"):
        import_module(name)
    backends.load("fake")  # fills caches of importlib.metadata
    steps = mmap.mmap(-1, 8)
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(one(json.loads(line), steps)), flush=True)


def one(order: dict[str, Any], steps: mmap.mmap) -> dict[str, Any]:
    steps[:] = bytes(8)
    answer = os.memfd_create("answer")
    pid = os.fork()
    if pid == 0:
        command(order, steps, answer)
    _, status = os.waitpid(pid, 0)
    said = os.pread(answer, os.fstat(answer).st_size, 0)
    os.close(answer)
    killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    told = json.loads(said) if said else {"code": "killed" if killed else "crashed", "value": None, "notes": []}
    return {**told, "steps": int.from_bytes(steps[:], "little")}


def command(order: dict[str, Any], steps: mmap.mmap, answer: int) -> NoReturn:
    from dev_sessions import app, errors

    step, count, notes = order["step"], 0, []

    def look(frame: Any, event: str, call: Any) -> None:
        nonlocal count
        if event[:2] == "c_" and call.__name__ in CALLS and call.__module__ in MODULES:
            count += 1
            steps[:] = count.to_bytes(8, "little")
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        client = app.client(on_event=lambda event: notes.append(event.get("note")))
        sys.setprofile(look)
        try:
            code, value = "ok", getattr(client, order["verb"])(*order["given"], **order["named"])
        except errors.DevSessionsError as error:
            code, value = error.code, error.to_wire()
        sys.setprofile(None)
        told = {"code": code, "value": value, "notes": [note for note in notes if note]}
        os.pwrite(answer, json.dumps(told).encode(), 0)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
