"""Codex's program, and the CODEX_HOME that it uses."""

from __future__ import annotations

import json
import os

from ... import __version__, config
from ...system import processes
from ..programs import Program, ask
from . import paths, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Program(
    name="codex",
    title="Codex",
    variable="DEV_SESSIONS_CODEX",
    home_variable="CODEX_HOME",
    folder=".codex",
    oldest="0.146.0",
    newest="0.171.0",
    login_file="auth.json",
    login_variables=("OPENAI_API_KEY", "CODEX_API_KEY"),
    install="npm install -g @openai/codex",
    socket=paths.CONTROL,
)
# How long a program may take to report its home; normally it takes much less, even on a busy machine. Seconds.
_SECONDS = 20.0


def is_script(program: str) -> bool:
    """True if a program is a script: npm's, or a wrapper that a person has written."""
    with open(program, "rb") as file:
        return file.read(2) == b"#!"


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of a caller's environment that an app-server gets: enough to reach its model, without session marks."""
    kept = config.agent_environment(environ)
    return {name: value for name, value in kept.items() if name not in processes.OF_A_SESSION}


def home_of(program: str, environ: Mapping[str, str]) -> str:
    """The absolute CODEX_HOME that the program uses in this environment.

    A script may set a different one, so the program is asked: Codex reports its home in the answer to the first request
    on standard input (0.146, 0.171; about 0.3 s).
    """
    named = paths.home_of(environ)
    if not is_script(program):
        return named
    params = protocol.initialization(__version__)
    request = json.dumps({"id": 1, "method": "initialize", "params": params}).encode() + b"\n"
    environment = {**server_environment(environ), "CODEX_HOME": named}
    # A program that does not answer cannot serve either, and reports why when it is started.
    return ask([program, "app-server"], environment, _home_in, _SECONDS, request) or named


def _home_in(line: str) -> str | None:
    answer = protocol.parse(line)
    result = answer.result if isinstance(answer, protocol.Answer) else None
    home = result.get("codexHome") if isinstance(result, dict) else None
    return os.path.realpath(home) if isinstance(home, str) else None
