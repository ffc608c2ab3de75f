"""The funnel through which every one-shot tmux command goes.

Traps that shape it (tmux 3.3a): a session is addressed `=NAME`, a pane `=NAME:` (without the colon pane commands fail,
without the `=` a prefix of another name matches); the server hands its first caller's environment to every later
session; a user's tmux.conf may end a detached session at birth (`destroy-unattached`), so its options are set in the
same call that makes it.

Up to 3.6 a server dies, and every session with it, if a client in control mode is just about to introduce itself while
another client detaches or a session is made or ended (github.com/tmux/tmux/pull/4980; seen on 3.3a, about once in some
hundred sends at once). So our commands do these one at a time, see `Tmux.alone`.
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
# The key of a session of ours: on its tmux session, which a person may rename, and on its pane, which may be moved.
_KEY, _PANE_KEY = "@dev_sessions_key", "@dev_sessions_pane"
# Our place in the server's list of variables that a client hands to the session that it makes or attaches to.
_INDEX = 6767
# How long to let others go first. Seconds.
_PATIENCE = 5.0


class Tmux:
    """One tmux server, as one caller reaches it.

    Args:
        environ: the environment to call tmux with (`TMUX`, `TMUX_TMPDIR`, `PATH` matter).
        socket: path of the server's socket; None: the server that the caller's environment means, or the one that
            `DEV_SESSIONS_TMUX` names (as `tmux -L` does).
    """

    def __init__(self, environ: Mapping[str, str], socket: str | None = None) -> None:
        # A server that starts with one of our commands hands its environment to whatever anybody opens in it later.
        self.environ = {
            name: value for name, value in _without_stale_server(environ).items() if name not in processes.OF_A_SESSION
        }
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
        done = self._tried(*words)
        if done.returncode == 0:
            return done.stdout.decode(errors="replace")
        if check:
            raise self._refused(words[0], done)
        return ""

    def _refused(self, command: str, done: subprocess.CompletedProcess[bytes]) -> TmuxError:
        words_of_tmux = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        return TmuxError(f"tmux {command}: {words_of_tmux}", next="run the same tmux command by hand to see more")

    def _tried(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return self._done(*words)
        except OSError as error:
            raise TmuxError(
                f"cannot run {self.program}: {error.strerror}", next="check the tmux installation"
            ) from error

    def _done(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """tmux in a session of its own: a Ctrl-C in the terminal is for us, and does not cut it short.

        `-u`: it prints UTF-8 whatever the caller's locale. Else it would print `_` for all that is not ASCII (3.3a).
        """
        return subprocess.run(
            self.command("-u", *words),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            check=False,
        )

    def expected_socket(self) -> str:
        """The socket of the server that the caller's environment means, whether or not that server runs."""
        inside = self.environ.get("TMUX", "").partition(",")[0]
        folder = os.path.join(self.environ.get("TMUX_TMPDIR") or "/tmp", f"tmux-{os.getuid()}")
        if self.socket or (inside and not self._name):
            return self.socket or inside
        return os.path.join(os.path.realpath(folder), self._name or "default")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have no other command of ours connect, detach, make or end a session on this server meanwhile.

        The lock stands beside the server's socket, which all have in common. Who cannot have it in time goes on
        without: what it prevents is rare, and somebody who holds it for so long is stopped.
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

        `key` marks it as ours, whatever its name: `kill_session` wants it back.

        Returns the server's socket path and the pane's id: a person may open other panes and windows in the session.

        The pane stays when its program ends, so that its last words can be read, until `release`.
        """
        from .server import unreachable

        if not os.path.exists(self.expected_socket()) and (why := unreachable(self)):
            raise why  # else tmux would start a second server, and nobody would find the first one again
        for tries_left in (2, 1, 0):
            try:
                return self._new_session(name, argv, key)
            except TmuxError as error:
                # A server ends with its last session; one that ends just now takes ours along, and nothing was made.
                if not tries_left or self.has_session(name):
                    raise unreachable(self) or error from error
        raise AssertionError("not reached")

    def _new_session(self, name: str, argv: Sequence[str], key: str) -> tuple[str, str]:
        # Cut short, the client would be gone, and the server might make the session when we have looked for it already.
        with self.alone(), uninterrupted():
            shown = self._make(name, argv, key)
        if not shown.strip():
            raise TmuxError("tmux has started no session and does not say why", next="check: tmux new-session -d")
        pane, _, self.socket = shown.rstrip("\n").partition(" ")
        return self.socket, pane

    def _make(self, name: str, argv: Sequence[str], key: str) -> str:
        done = self._tried(
            *("new-session", "-d", "-s", name, "-x", str(WIDTH), "-y", str(HEIGHT)),
            *("-P", "-F", "#{pane_id} #{socket_path}"),
            *argv,
            *(";", *_options(_target(name), key)),
        )
        shown = done.stdout.decode(errors="replace")
        if done.returncode and not shown.strip():
            raise self._refused("new-session", done)
        if done.returncode:  # a hook of the user's (after-new-session) has renamed it already
            self.run(*_options(shown.partition(" ")[0], key))
        return shown

    def release(self, name: str) -> None:
        """From now on the session ends together with its program; `name` may also be the id of the program's pane."""
        self.run("set-option", "-w", "-t", _target(name), "remain-on-exit", "off", check=False)

    def free_name(self, name: str) -> str:
        """`name`, or the first of `name-2`, `name-3`, ... of which there is no session."""
        names = (name if number == 1 else f"{name}-{number}" for number in range(1, 1000))
        return next((one for one in names if not self.has_session(one)), name)

    def session_of(self, pane: str, key: str) -> tuple[str, str] | None:
        """Id and name of the session that a pane of ours is in by now; None if it is not there, or is not ours."""
        asked = f"#{{{_KEY}}} #{{{_PANE_KEY}}} #{{session_id}} #{{session_name}}"
        words = self.run("display-message", "-p", "-t", pane, asked, check=False).rstrip("\n").split(" ", 3)
        return (words[2], words[3]) if len(words) == 4 and key in words[:2] else None

    def has_session(self, name: str) -> bool | None:
        """True or False; None if tmux cannot be asked."""
        try:
            return self._done("has-session", "-t", f"={name}").returncode == 0
        except OSError:
            return None

    def kill_session(self, name: str, key: str) -> None:
        """End the session that `new_session` made with that key, also if it has another name by now.

        Fine if there is none, or another one of that name.
        """
        found = f"={name}"
        if self.run("show-options", "-v", "-t", f"{found}:", _KEY, check=False).strip() != key:
            told = self.run("list-sessions", "-F", f"#{{session_id}} #{{{_KEY}}}", check=False).splitlines()
            found = next((line.partition(" ")[0] for line in told if line.partition(" ")[2] == key), "")
        if found:
            with self.alone():
                self.run("kill-session", "-t", found, check=False)


def _target(name: str) -> str:
    """A pane by its id, or the active one of a session by the session's exact name."""
    return name if name.startswith("%") else f"={name}:"


def _options(target: str, key: str) -> tuple[str, ...]:
    """The commands that make a new session ours, whatever the user's configuration says.

    Keys for our pane are never copied to a person's panes beside it (`synchronize-panes`). Where a small terminal is
    attached to any session, a new window begins with that size (3.3a), and gets ours.
    """
    return (
        *("set-option", "-t", target, _KEY, key),
        *(";", "set-option", "-p", "-t", target, _PANE_KEY, key),
        # What the agent opens in tmux, windows here and sessions of its own, carries its mark as all it starts does.
        # A client without a mark takes it away again: a person who attaches here, or opens a session.
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


def version(program: str, environ: Mapping[str, str]) -> str | None:
    """What a tmux program says of its version ("tmux 3.3a"), without asking any server; None if it does not."""
    try:
        told = subprocess.run([program, "-V"], env=environ, capture_output=True, timeout=2.0, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    word = told.stdout.decode(errors="replace").split()
    return f"tmux {word[1]}" if len(word) > 1 else None


def _without_stale_server(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, without a TMUX that names a server whose socket is gone: the default server takes its place."""
    socket = environ.get("TMUX", "").partition(",")[0]
    return {name: value for name, value in environ.items() if name != "TMUX" or os.path.exists(socket)}


def _program(environ: Mapping[str, str]) -> str:
    # Not `shutil.which`: that module takes as long to import as Python takes to start.
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        found = os.path.abspath(os.path.join(folder, "tmux"))
        if os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    if environ.get("IS_SANDBOX"):
        raise TmuxError(
            "tmux is not installed here, and IS_SANDBOX says that this is a sandbox",
            next="install tmux; behind a gateway, set DEV_SESSIONS_SANDBOX=1 and DEV_SESSIONS_GATEWAY_URL",
        )
    raise TmuxError("tmux is not installed", next="install tmux 3.2 or newer (apt-get install tmux, brew install tmux)")
