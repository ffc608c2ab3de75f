"""Runs single tmux commands on one server.

What tmux does (3.3a): a session is addressed as `=NAME`, a pane as `=NAME:` (without the colon pane commands fail, and
without the `=` a prefix of another name matches). The server gives the environment of its first client to every later
session. A user's tmux.conf may end a detached session at once (`destroy-unattached`), so we set our options in the
command that makes it.

Up to 3.6 a server dies, with every session, if a client in control mode attaches just when another client detaches, or
when a session is made or ended (github.com/tmux/tmux/pull/4980; on 3.3a about once in some hundred sends at once). So
our commands do these one at a time, see `Tmux.alone`.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager

from ..errors import TmuxError
from ..system import locks, processes
from ..system.signals import uninterrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WIDTH, HEIGHT = 200, 50
# The key of our session: on its tmux session, which a person may rename, and on its pane, which may be moved.
_KEY, _PANE_KEY = "@dev_sessions_key", "@dev_sessions_pane"
_INDEX = 6767  # our place in `update-environment`, the variables that a session takes from a client that attaches
_PATIENCE = 5.0  # seconds to wait for another command of ours


class Tmux:
    """One tmux server.

    Args:
        environ: the environment to call tmux with (`TMUX`, `TMUX_TMPDIR`, `PATH` matter).
        socket: path of the server's socket; None: the server that `DEV_SESSIONS_TMUX` names (as `tmux -L` does), else
            the one that the environment means.
    """

    def __init__(self, environ: Mapping[str, str], socket: str | None = None) -> None:
        # A server that one of our commands starts gives its environment to everything that is opened in it later. A
        # TMUX whose socket is gone is left out: the default server is used then.
        stale = not os.path.exists(environ.get("TMUX", "").partition(",")[0])
        dropped = (*processes.OF_A_SESSION, "TMUX") if stale else processes.OF_A_SESSION
        self.environ = {name: value for name, value in environ.items() if name not in dropped}
        self.socket = socket
        self._name = environ.get("DEV_SESSIONS_TMUX") or None
        self.program = _program(environ)

    def command(self, *words: str) -> list[str]:
        """The argv that runs `words` on this server."""
        named = ["-L", self._name] if self._name else []
        where = ["-S", self.socket] if self.socket else named
        return [self.program, *where, *words]

    def run(self, *words: str, check: bool = True) -> str:
        """Run one tmux command (chain with `";"`) and return what it printed.

        Raises:
            TmuxError: tmux refused it; with ``check=False`` the answer is empty instead.
        """
        done = self._run(*words)
        if done.returncode == 0:
            return done.stdout.decode(errors="replace")
        if check:
            raise _refused(words[0], done)
        return ""

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run tmux in a process session of its own, so that a Ctrl-C in the terminal does not end it too early.

        `-u` makes it print UTF-8 whatever the locale (else it prints `_` for non-ASCII characters, 3.3a).
        """
        try:
            return subprocess.run(
                self.command("-u", *words),
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                start_new_session=True,
                check=False,
            )
        except OSError as error:
            raise TmuxError(
                f"cannot run {self.program}: {error.strerror}", next="check the tmux installation"
            ) from error

    def expected_socket(self) -> str:
        """The server's socket, whether or not that server runs."""
        inside = self.environ.get("TMUX", "").partition(",")[0]
        folder = os.path.join(self.environ.get("TMUX_TMPDIR") or "/tmp", f"tmux-{os.getuid()}")
        if self.socket or (inside and not self._name):
            return self.socket or inside
        return os.path.join(os.path.realpath(folder), self._name or "default")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep our other commands from connecting, detaching, creating or ending a session on this server.

        The lock is next to the server's socket, which all commands share. If we do not get it in time, we go on without
        it: its holder must be suspended, and the crash that the lock prevents is rare.
        """
        folder = os.path.dirname(self.expected_socket())
        release = None
        try:
            if os.path.isdir(folder):  # else there is no server yet
                release = locks.take(os.path.join(folder, "dev-sessions.lock"), _PATIENCE)
        except OSError:
            pass
        try:
            yield
        finally:
            if release:
                release()

    def new_session(self, name: str, argv: Sequence[str], key: str) -> tuple[str, str]:
        """Start a detached session that runs `argv` directly (no login shell).

        The pane stays when its program ends, so that its last output can be read, until `release`.

        Args:
            key: marks the session as ours, whatever its name; `kill_session` takes the same.

        Returns:
            The path of the server's socket, and the pane's id: a person may open other panes in the session.
        """
        from .server import unreachable

        if not os.path.exists(self.expected_socket()) and (why := unreachable(self)):
            raise why  # else tmux would start a second server, and the first one would be out of reach
        for tries_left in (2, 1, 0):
            try:
                # Without our client, the server might still make the session after we have looked for it.
                with self.alone(), uninterrupted():
                    shown = self._make(name, argv, key)
                break
            except TmuxError as error:
                # A server ends with its last session, and then takes ours with it; nothing was made.
                if not tries_left or self.has_session(name):
                    raise unreachable(self) or error from error
        pane, _, self.socket = shown.rstrip("\n").partition(" ")
        return self.socket, pane

    def _make(self, name: str, argv: Sequence[str], key: str) -> str:
        done = self._run(
            *("new-session", "-d", "-s", name, "-x", str(WIDTH), "-y", str(HEIGHT)),
            *("-P", "-F", "#{pane_id} #{socket_path}"),
            *argv,
            *(";", *_options(_target(name), key)),
        )
        shown = done.stdout.decode(errors="replace")
        if not shown.strip():
            raise _refused("new-session", done)
        if done.returncode:  # a hook of the user's (after-new-session) has renamed it already
            self.run(*_options(shown.partition(" ")[0], key))
        return shown

    def release(self, name: str) -> None:
        """Make the session end when its program ends; `name` may also be the id of the program's pane."""
        self.run("set-option", "-w", "-t", _target(name), "remain-on-exit", "off", check=False)

    def free_name(self, name: str) -> str:
        """`name`, or the first of `name-2`, `name-3`, ... without a session."""
        names = (name if number == 1 else f"{name}-{number}" for number in range(1, 1000))
        return next((one for one in names if not self.has_session(one)), name)

    def session_of(self, pane: str, key: str) -> tuple[str, str] | None:
        """Id and name of the session that our pane is in now; None if the pane is gone, or is not ours."""
        asked = f"#{{{_KEY}}} #{{{_PANE_KEY}}} #{{session_id}} #{{session_name}}"
        words = self.run("display-message", "-p", "-t", pane, asked, check=False).rstrip("\n").split(" ", 3)
        return (words[2], words[3]) if len(words) == 4 and key in words[:2] else None

    def has_session(self, name: str) -> bool | None:
        """True or False; None if tmux cannot be asked."""
        try:
            return self._run("has-session", "-t", f"={name}").returncode == 0
        except TmuxError:
            return None

    def kill_session(self, name: str, key: str) -> None:
        """End the session that `new_session` made with that key, if it exists, under whatever name."""
        found = f"={name}"
        if self.run("show-options", "-v", "-t", f"{found}:", _KEY, check=False).strip() != key:
            lines = self.run("list-sessions", "-F", f"#{{session_id}} #{{{_KEY}}}", check=False).splitlines()
            found = next((line.partition(" ")[0] for line in lines if line.partition(" ")[2] == key), "")
        if found:
            with self.alone():
                self.run("kill-session", "-t", found, check=False)


def _target(name: str) -> str:
    """A pane by its id, or the active one of a session by the session's exact name."""
    return name if name.startswith("%") else f"={name}:"


def _refused(command: str, done: subprocess.CompletedProcess[bytes]) -> TmuxError:
    why = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}, without a message"
    return TmuxError(f"tmux {command}: {why}", next="run the same tmux command by hand to see more")


def _options(target: str, key: str) -> tuple[str, ...]:
    """The commands that make a new session ours, whatever the user's configuration says.

    Keys for our pane are not copied to a person's panes beside it (`synchronize-panes`). A new window has the size of
    the smallest attached terminal (3.3a); it gets ours.
    """
    return (
        *("set-option", "-t", target, _KEY, key),
        *(";", "set-option", "-p", "-t", target, _PANE_KEY, key),
        # Everything that the agent opens in tmux (windows here, its own sessions) has its mark. A client without a
        # mark, such as that of a person who attaches or opens a session, removes it.
        *(";", "set-environment", "-t", target, processes.KEY, key),
        *(";", "set-option", "-g", f"update-environment[{_INDEX}]", processes.KEY),
        *(";", "set-option", "-p", "-t", target, "synchronize-panes", "off"),
        *(";", "set-option", "-t", target, "destroy-unattached", "off"),
        *(";", "if-shell", "-F", "#{exit-unattached}", "set-option -s exit-unattached off"),
        *(";", "set-option", "-t", target, "status", "on"),
        *(";", "set-option", "-w", "-t", target, "remain-on-exit", "on"),
        *(";", "resize-window", "-t", target, "-x", str(WIDTH), "-y", str(HEIGHT)),
        *(";", "set-option", "-w", "-t", target, "window-size", "latest"),
        *(";", "set-option", "-w", "-t", target, "aggressive-resize", "off"),
    )


def _program(environ: Mapping[str, str]) -> str:
    # `shutil.which` takes as long to import as Python takes to start.
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        found = os.path.abspath(os.path.join(folder, "tmux"))
        if os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    remedy = "install tmux 3.2 or newer (apt-get install tmux, brew install tmux)"
    if environ.get("IS_SANDBOX"):
        remedy = "install tmux; inside a container, set DEV_SESSIONS_SANDBOX=1 and DEV_SESSIONS_GATEWAY_URL"
    raise TmuxError("tmux is not installed", next=remedy)
