"""The CODEX_HOME of a program that is a script: a person's wrapper may set another than its environment names.

Only the program itself knows which, so it is asked: it says so in its answer to the first request on its standard input
(0.139, 0.169, 0.171; some 0.3 s). A program that is no script is Codex itself.
"""

from __future__ import annotations

import os
import select
import signal
import time

from ... import __version__
from . import places, protocol
from .daemon import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

# It answers or ends much sooner, on a busy machine too. Seconds.
_SECONDS = 20.0


def home_of(program: str, environ: Mapping[str, str]) -> str:
    """The CODEX_HOME, absolute, in which that program works if it is started in that environment."""
    named = places.home_of(environ)
    if not places.is_script(program):
        return named
    return _told(program, {**environment(environ), "CODEX_HOME": named}) or named


def _told(program: str, environ: Mapping[str, str]) -> str | None:
    """What it says; None if it does not answer, as it then will not as a server either, which tells why."""
    import subprocess

    try:
        asked = subprocess.Popen(
            [program, "app-server"],
            env=environ,
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
            request = protocol.request(1, "initialize", protocol.initialization(__version__))
            asked.stdin.write(request.encode() + b"\n")
            asked.stdin.flush()
            return _answer(asked.stdout)
        except OSError:
            return None
        finally:
            os.killpg(asked.pid, signal.SIGKILL)  # all of it, whatever a wrapper has started


def _answer(output: IO[bytes]) -> str | None:
    until, content = time.monotonic() + _SECONDS, b""
    while (left := until - time.monotonic()) > 0 and select.select([output], [], [], left)[0]:
        read = os.read(output.fileno(), 65536)
        if not read:
            return None
        content += read
        for line in content.split(b"\n")[:-1]:
            said = protocol.parse(line)
            if isinstance(said, protocol.Answer):
                home = said.result.get("codexHome") if isinstance(said.result, dict) else None
                return os.path.realpath(home) if isinstance(home, str) else None
    return None
