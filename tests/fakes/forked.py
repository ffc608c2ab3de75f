"""Runs `dev-sessions` in children of a process that has imported all of it: the start of Python, and of Typer, would be
most of what a command takes, and the live tests give thousands.

A child is what a command is otherwise: a process of its own with these words, streams, environment and working folder.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NoReturn

PACKAGE = "dev_sessions"


class Forked:
    """The process, started once and ended with its caller; may be used by several threads."""

    def __init__(self) -> None:
        self._ours, its = socket.socketpair()
        env = {name: value for name, value in os.environ.items() if not name.startswith("DEV_SESSIONS_")}
        argv = [sys.executable, __file__, str(its.fileno())]
        self._program = subprocess.Popen(argv, env={**env, "LANG": "C.UTF-8"}, pass_fds=[its.fileno()])
        its.close()
        self._turn = threading.Lock()
        atexit.register(self.close)

    def close(self) -> None:
        self._ours.close()
        self._program.wait()

    def run(
        self, words: tuple[str, ...], env: dict[str, str], cwd: str, given: bytes, timeout: float
    ) -> tuple[int, bytes, bytes]:
        """Run a command line to its end; returns its exit code, output and errors."""
        with contextlib.ExitStack() as files:
            order, *streams = (files.enter_context(tempfile.TemporaryFile(buffering=0)) for _ in range(4))
            for file, content in ((order, json.dumps([words, env, cwd]).encode()), (streams[0], given)):
                file.write(content)
                file.seek(0)
            told, its = (files.enter_context(end) for end in socket.socketpair())
            with self._turn:
                passed = [order.fileno(), its.fileno(), *(stream.fileno() for stream in streams)]
                socket.send_fds(self._ours, [b"!"], passed)
            its.close()
            told.settimeout(timeout)
            with told.makefile("r") as lines:
                pid = int(lines.readline())
                try:
                    code = int(lines.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired([PACKAGE, *words], timeout) from None
            out, err = (os.pread(one.fileno(), os.fstat(one.fileno()).st_size, 0) for one in streams[1:])
        return code, out, err


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    import_all()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped automatically
    while True:
        _, files, *_ = socket.recv_fds(orders, 1, 5)
        if not files:
            return
        if os.fork() == 0:
            orders.close()
            one(*files)
        for file in files:
            os.close(file)


def import_all() -> None:
    from importlib import import_module
    from pkgutil import walk_packages

    package = import_module(PACKAGE)
    names = [module.name for module in walk_packages(package.__path__, f"{PACKAGE}.")]
    for name in (*names, "filelock", "pexpect", "websockets.sync.client"):
        import_module(name)


def one(order: int, told: int, *streams: int) -> NoReturn:
    """Start a command, and say its pid and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        command(order, told, streams)
    os.write(told, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):  # its caller was out of patience
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def command(order: int, told: int, streams: tuple[int, ...]) -> NoReturn:
    with open(order, "rb") as file:
        words, env, cwd = json.load(file)
    os.close(told)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [str(Path(sys.modules[PACKAGE].__file__ or "").with_name("__main__.py")), *words]
    try:
        sys.modules[f"{PACKAGE}.__main__"].main()
    finally:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


if __name__ == "__main__":
    main()
