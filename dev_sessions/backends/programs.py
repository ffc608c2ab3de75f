"""Finding an agent's program, and asking it what it is."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import time

from ..errors import LaunchFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO


def find(environ: Mapping[str, str], program: str, variable: str, missing: LaunchFailed) -> str:
    """The absolute path of `program`: the one that `variable` names, else the first on PATH.

    Raises:
        LaunchFailed: it cannot be run; `missing`: there is none.
    """
    named = environ.get(variable)
    if named:
        path = os.path.abspath(os.path.expanduser(named))
        if not os.path.isfile(path):
            raise LaunchFailed(f"{variable} names {path}, which is no file", next=f"unset {variable}")
        if not os.access(path, os.X_OK):
            raise _not_executable(path)
        return path
    places = environ.get("PATH", os.defpath)
    found = shutil.which(program, path=places)
    if found:
        return os.path.abspath(found)
    for folder in places.split(os.pathsep):
        path = os.path.join(folder, program)
        if os.path.isfile(path):
            raise _not_executable(os.path.abspath(path))
    raise missing


def told(program: str, environ: Mapping[str, str], seconds: float) -> str | None:
    """What the program answers to `--version`; None if it does not in time."""
    import subprocess

    try:
        with subprocess.Popen(
            [program, "--version"],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as asked:
            try:
                answer, _ = asked.communicate(timeout=seconds)
            except BaseException:
                # A wrapper may have started the real one: all of its group ends.
                os.killpg(asked.pid, signal.SIGKILL)
                raise
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.decode(errors="replace")


def answer(
    argv: list[str], environ: Mapping[str, str], said: bytes, wanted: Callable[[bytes], str | None], seconds: float
) -> str | None:
    """What `wanted` makes of the first line of a program's output that means anything to it. The program is then ended.

    Args:
        said: what the program is given on its standard input, which stays open.
        seconds: how long it may take; None is returned then, as for one that ends or cannot be started.
    """
    import subprocess

    try:
        asked = subprocess.Popen(
            argv,
            bufsize=0,  # nothing is left to be written when a pipe is closed that nobody reads
            env=dict(environ),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    with asked:
        try:
            assert asked.stdin is not None
            assert asked.stdout is not None
            asked.stdin.write(said)
            lines = _lines(asked.stdout, time.monotonic() + seconds)
            return next((found for line in lines if (found := wanted(line)) is not None), None)
        except BrokenPipeError:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(asked.pid, signal.SIGKILL)  # a wrapper may have started the real one


def _lines(output: IO[bytes], until: float) -> Iterator[bytes]:
    content = b""
    while (left := until - time.monotonic()) > 0 and select.select([output], [], [], left)[0]:
        read = os.read(output.fileno(), 1 << 16)
        if not read:
            return
        *lines, content = (content + read).split(b"\n")
        yield from lines


def _not_executable(path: str) -> LaunchFailed:
    return LaunchFailed(f"{path} is not executable", next=f"chmod +x {shlex.quote(path)}")
