"""Where things are: Codex's program and home, and what we keep about its daemon.

<state folder>/codex/<home's hash>/
  daemon.json     the app-server that we have started: its pid and start time, written by that very process
  daemon.log      what it said on stderr
  users/<key>     one empty file for each session of ours that lives in it
  lock            held by whoever starts or stops it
"""

from __future__ import annotations

import os
from binascii import crc32

from ... import config
from ...errors import LaunchFailed
from ...system import files, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..base import Session

# Where the app-server listens by itself, and where a person's plain `codex resume` looks for one.
CONTROL = os.path.join("app-server-control", "app-server-control.sock")


class Place:
    """One CODEX_HOME, and our own folder about it.

    Args:
        home: the CODEX_HOME, absolute.
        state: the state folder of dev-sessions.
    """

    def __init__(self, home: str, state: str) -> None:
        self.home = home
        self.socket = os.path.join(home, CONTROL)
        self.state = state
        self.folder = os.path.join(state, "codex", _digest(os.fsencode(home)))
        self.lock_path = os.path.join(self.folder, "lock")
        self.log_path = os.path.join(self.folder, "daemon.log")
        self._users = os.path.join(self.folder, "users")
        self.note_path = os.path.join(self.folder, "daemon.json")

    def make(self) -> None:
        files.make_folder(self._users)

    def daemon(self) -> tuple[int, str] | None:
        """Pid and start time of the app-server that we started last; it may be long gone."""
        value = files.read_json(self.note_path)
        if not isinstance(value, dict) or type(value.get("pid")) is not int:
            return None
        started = processes.start_time_in(f"{value.get('stat')}\n{value.get('boot') or ''}")
        return (value["pid"], started) if started else None

    def note_daemon(self, pid: int) -> None:
        """Note another process as the app-server that we have started last."""
        stat, _, boot = (processes.words_of(pid) or "").partition("\n")
        if stat:
            files.write_json(self.note_path, {"pid": pid, "stat": stat, "boot": boot})

    def forget_daemon(self) -> None:
        files.remove(self.note_path)

    def enter(self, key: str) -> None:
        """Note that the session of that key lives in the daemon. Under the lock, as `leave`."""
        files.write_whole(os.path.join(self._users, key), b"")

    def leave(self, key: str) -> None:
        files.remove(os.path.join(self._users, key))

    def is_used(self) -> bool:
        """True if a session of ours lives in the daemon; a note without a session is a killed command's."""
        try:
            keys = os.listdir(self._users)
        except FileNotFoundError:
            return False
        return any(os.path.isdir(os.path.join(self.state, "sessions", key)) for key in keys if "." not in key)

    def last_words(self) -> str:
        """The end of what the daemon said on stderr."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file.read()[-8000:].splitlines() if line.strip()]
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-8:])


def _digest(path: bytes) -> str:
    """A short name for a path. Two checksums, since a hash of any strength costs 10 ms to import."""
    return f"{crc32(path):08x}{crc32(path[::-1]):08x}"


def place_of(session: Session) -> Place:
    """The place of a session that was launched before."""
    return Place(str(session.private.get("home") or home_of(session.environ)), config.state_folder(session.environ))


def home_of(environment: Mapping[str, str]) -> str:
    """The CODEX_HOME that an environment means."""
    named = environment.get("CODEX_HOME") or os.path.join(config.user_home(environment), ".codex")
    return os.path.realpath(os.path.expanduser(named))


def binary(environ: Mapping[str, str]) -> str:
    """The absolute path of `codex`: `DEV_SESSIONS_CODEX`, else the first on PATH.

    Raises:
        LaunchFailed: there is none, or it cannot be run.
    """
    from .. import programs  # half of its time is `shutil`, which readers do without

    missing = LaunchFailed(
        "Codex is not installed: no codex on PATH",
        next="npm install -g @openai/codex, or set DEV_SESSIONS_CODEX to its path",
    )
    return programs.find(environ, "codex", "DEV_SESSIONS_CODEX", missing)


def is_script(program: str) -> bool:
    """True if a program is somebody's script: npm's, or a person's wrapper."""
    with open(program, "rb") as file:
        return file.read(2) == b"#!"
