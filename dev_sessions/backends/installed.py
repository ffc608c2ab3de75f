"""An agent of ours as a program on this machine, apart from any session: where it is, and where it looks for skills.

Called by `skills` and `doctor`. Reads no secret: of a login only that its file or variable is there.
"""

from __future__ import annotations

import os

from .. import config
from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECONDS = 10.0


class Program(NamedTuple):
    """One agent program.

    Attributes:
        name: as in `create --cli`; also what it is called on PATH.
        variable: names its path, if set.
        home_variable: names its home folder, if set.
        folder: its folder in a user's home, and in a project.
        oldest: the oldest version that works.
        newest: the newest that was tried.
        login_file: in its home, there once somebody has logged in.
        login_variables: any of them stands for a login.
        install: how to get it.
        socket: of its server, in its home; empty if it has none.
        troubles: what in its home keeps its sessions from working, each with its remedy.
    """

    name: str
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

    def path(self, environ: Mapping[str, str]) -> str | None:
        """The program, or None if there is none that can be run."""
        import shutil  # half of the time of this module

        named = environ.get(self.variable)
        found = os.path.expanduser(named) if named else self.name
        return shutil.which(found, path=environ.get("PATH", os.defpath))

    def home(self, environ: Mapping[str, str]) -> str:
        """Its folder in the user's home, or where its variable leads; the agent itself knows no ~ in that."""
        named = environ.get(self.home_variable)
        return os.path.abspath(named) if named else os.path.join(config.user_home(environ), self.folder)

    def skills(self, environ: Mapping[str, str], project: str | None = None) -> str:
        """Where it looks for skills: the user's own, or those of a project."""
        return os.path.join(os.path.join(project, self.folder) if project else self.home(environ), "skills")

    def logged_in(self, environ: Mapping[str, str]) -> bool:
        """True if there are signs of a login; a wrong one shows only when the agent runs."""
        return any(environ.get(name) for name in self.login_variables) or os.path.exists(
            os.path.join(self.home(environ), self.login_file)
        )

    def version(self, environ: Mapping[str, str]) -> str | None:
        """What the program says of itself; None if it does not answer in time."""
        import re

        from . import programs

        found = re.search(r"\d+\.\d+\.\d+", programs.told(str(self.path(environ)), environ, _SECONDS) or "")
        return found[0] if found else None

    def stale_socket(self, environ: Mapping[str, str]) -> str | None:
        """The socket of its server, if it is there and nobody listens on it."""
        import socket

        path = os.path.join(self.home(environ), self.socket)
        if not self.socket or not os.path.exists(path):
            return None
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(_SECONDS)
            try:
                asking.connect(path)
            except ConnectionRefusedError:
                return path
            except OSError:
                pass
        return None
