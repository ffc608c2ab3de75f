"""The CODEX_HOME of a program that is a script: a person's wrapper may set another than its environment names.

Only the program itself knows which, so it is asked: it says so in its answer to the first request on its standard input
(0.139, 0.169, 0.171; some 0.3 s). A program that is not a script is Codex itself.
"""

from __future__ import annotations

import os

from ... import __version__
from .. import programs
from . import paths, protocol
from .daemon import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# It answers or ends much sooner, on a busy machine too. Seconds.
_SECONDS = 20.0


def home_of(program: str, environ: Mapping[str, str]) -> str:
    """The CODEX_HOME, absolute, in which that program works if it is started in that environment."""
    named = paths.home_of(environ)
    if not paths.is_script(program):
        return named
    request = protocol.request(1, "initialize", protocol.initialization(__version__)).encode() + b"\n"
    told = {**environment(environ), "CODEX_HOME": named}
    # One that does not answer will not serve either, and says why when it is started.
    return programs.answer([program, "app-server"], told, request, _home_in, _SECONDS) or named


def _home_in(line: bytes) -> str | None:
    said = protocol.parse(line)
    home = said.result.get("codexHome") if isinstance(said, protocol.Answer) and isinstance(said.result, dict) else None
    return os.path.realpath(home) if isinstance(home, str) else None
