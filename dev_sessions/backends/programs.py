"""An agent's program on this machine: its path, its version, its home folder and its skills folder.

It reads no secrets: to see whether there is a login, it only checks that the file or variable exists.
"""

from __future__ import annotations

import os
import select
import signal
import time

from .. import config
from ..errors import LaunchFailed
from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

_SECONDS = 10.0


class Program(NamedTuple):
    """One agent program.

    Attributes:
        name: as in `create --cli`; also its name on PATH.
        title: its name in messages.
        variable: the environment variable that may contain its path.
        home_variable: the environment variable that may contain the path of its home folder.
        folder: the name of its folder in a user's home and in a project.
        oldest, newest: the oldest and the newest tested version.
        login_file: a file in its home that exists once somebody has logged in.
        login_variables: environment variables; any of them counts as a login.
        install: how to install it.
        socket: its server's socket, in its home; empty if it has no server.
        troubles: problems in its home that keep its sessions from working, each with its remedy.
    """

    name: str
    title: str
    variable: str
    home_variable: str
    folder: str
    oldest: str
    newest: str
    login_file: str
    login_variables: tuple[str, ...]
    install: str
    socket: str = ""
    troubles: Callable[[str], list[tuple[str, str]]] = lambda home: []

    def find(self, environ: Mapping[str, str]) -> str:
        """The absolute path of the program.

        Raises:
            LaunchFailed: it is not installed, or cannot be run.
        """
        missing = LaunchFailed(
            f"{self.title} is not installed: no {self.name} on PATH",
            next=f"{self.install}, or set {self.variable} to its path",
        )
        return find(environ, self.name, self.variable, missing)

    def path(self, environ: Mapping[str, str]) -> str | None:
        """The absolute path of the program; None if it cannot be run."""
        try:
            return self.find(environ)
        except LaunchFailed:
            return None

    def home(self, environ: Mapping[str, str]) -> str:
        """Its folder in the user's home, or the one that its variable names (the agent does not expand ~ there)."""
        named = environ.get(self.home_variable)
        return os.path.abspath(named) if named else os.path.join(config.user_home(environ), self.folder)

    def skills(self, environ: Mapping[str, str], project: str | None = None) -> str:
        """The folder where it finds the user's skills, or those of a project."""
        return os.path.join(os.path.join(project, self.folder) if project else self.home(environ), "skills")

    def logged_in(self, environ: Mapping[str, str]) -> bool:
        """True if there seems to be a login; only the agent itself can find out that it is invalid."""
        return any(environ.get(name) for name in self.login_variables) or os.path.exists(
            os.path.join(self.home(environ), self.login_file)
        )

    def version(self, environ: Mapping[str, str]) -> str | None:
        """The version that the program reports; None if it does not answer in time."""
        import re

        def version_in(line: str) -> str | None:
            found = re.search(r"\d+\.\d+\.\d+", line)
            return found[0] if found else None

        return ask([str(self.path(environ)), "--version"], environ, version_in, _SECONDS)

    def is_too_old(self, version: str) -> bool:
        """True if a version is outside the support window. A build without a number of its own (0.0.0) is not."""
        found = version_numbers(version)
        return any(found) and found < version_numbers(self.oldest)

    def stale_socket(self, environ: Mapping[str, str]) -> str | None:
        """The socket of its server, if it exists but nothing listens on it."""
        import socket

        path = os.path.join(self.home(environ), self.socket)
        if not self.socket or not os.path.exists(path):
            return None
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_SECONDS)
            try:
                client.connect(path)
            except ConnectionRefusedError:
                return path
            except OSError:
                pass
        return None


def version_numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, to be compared; without what follows them, as in 1.2.3-beta.4."""
    return tuple(int(number) for number in version.partition("-")[0].split(".") if number.isdecimal())


def find(environ: Mapping[str, str], program: str, variable: str, missing: LaunchFailed) -> str:
    """The absolute path of `program`: the path in `variable`, or else the first one on PATH.

    Args:
        missing: the error to raise if there is none.

    Raises:
        LaunchFailed: it does not exist, or cannot be run.
    """
    import shlex
    import shutil

    named, places = environ.get(variable), environ.get("PATH", os.defpath)
    if named:
        found = os.path.abspath(os.path.expanduser(named))
        if not os.path.isfile(found):
            raise LaunchFailed(f"{variable} names {found}, which is not a file", next=f"unset {variable}")
    else:
        inside = [os.path.join(folder, program) for folder in places.split(os.pathsep)]
        first = shutil.which(program, path=places) or next(filter(os.path.isfile, inside), None)
        if first is None:
            raise missing
        found = os.path.abspath(first)
    if not os.access(found, os.X_OK):
        raise LaunchFailed(f"{found} is not executable", next=f"chmod +x {shlex.quote(found)}")
    return found


def ask(
    argv: list[str],
    environ: Mapping[str, str],
    wanted: Callable[[str], str | None],
    seconds: float,
    request: bytes | None = None,
) -> str | None:
    """Run a program until `wanted` finds an answer in a line of its output; returns the answer and ends the program.

    Returns None if there is no answer in time, or if the program ends or cannot be started.

    Args:
        seconds: the time limit.
        request: written to its standard input, which stays open; None: it has no input.
    """
    import subprocess

    try:
        process = subprocess.Popen(
            argv,
            bufsize=0,  # so that closing a pipe that nobody reads does not write anything
            env=dict(environ),
            cwd="/",
            stdin=subprocess.DEVNULL if request is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    with process:
        try:
            assert process.stdout is not None
            if process.stdin is not None and request is not None:
                process.stdin.write(request)
            lines = _lines(process.stdout, time.monotonic() + seconds)
            return next((answer for line in lines if (answer := wanted(line)) is not None), None)
        except BrokenPipeError:
            return None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # the whole group: a wrapper may have started the program
            except ProcessLookupError:
                pass


def _lines(output: IO[bytes], until: float) -> Iterator[str]:
    content = b""
    while (left := until - time.monotonic()) > 0 and select.select([output], [], [], left)[0]:
        read = os.read(output.fileno(), 1 << 16)
        *lines, content = (content + read).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
        if not read:
            yield content.decode(errors="replace")
            return
