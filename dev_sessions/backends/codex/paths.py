"""Where Codex's files are: its home, the rollouts in it, and our notes about its daemon.

<state folder>/codex/<home's hash>/
  daemon.json     the app-server that we have started: its pid and start time, written by that very process
  daemon.log      its output
  users/<key>     one empty file for each session of ours that is in it
  lock            held while it is started or stopped
"""

from __future__ import annotations

import os
import time
from binascii import crc32

from ... import config
from ...system import files
from .. import detached

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
        # Two checksums as a short name for the home, since a stronger hash costs 10 ms to import.
        name = os.fsencode(home)
        self.home, self.state = home, state
        self.socket = os.path.join(home, CONTROL)
        self.folder = os.path.join(state, "codex", f"{crc32(name):08x}{crc32(name[::-1]):08x}")
        self.lock_path = os.path.join(self.folder, "lock")
        self.log_path = os.path.join(self.folder, "daemon.log")
        self.note_path = os.path.join(self.folder, "daemon.json")
        self._users = os.path.join(self.folder, "users")

    def make(self) -> None:
        files.make_folder(self._users)

    def daemon(self) -> tuple[int, str] | None:
        """Pid and start time of the app-server that we started last; it may have ended."""
        return detached.noted(self.note_path)

    def add_user(self, key: str) -> None:
        """Note that the session of that key is in the daemon. Under the lock, as `remove_user`."""
        files.write_whole(os.path.join(self._users, key), b"")

    def remove_user(self, key: str) -> None:
        files.remove(os.path.join(self._users, key))

    def is_used(self) -> bool:
        """True if a session of ours is in the daemon; a killed command may leave the note of a session that is gone."""
        try:
            keys = os.listdir(self._users)
        except FileNotFoundError:
            return False
        return any(os.path.isdir(os.path.join(self.state, "sessions", key)) for key in keys if "." not in key)

    def end_of_log(self) -> str:
        """The last lines of the daemon's output."""
        content = files.read(self.log_path) or b""
        lines = [line.strip() for line in content[-8000:].decode(errors="replace").splitlines() if line.strip()]
        return "\n".join(lines[-8:])


def place_of(session: Session) -> Place:
    """The place of a session that was launched before."""
    return Place(str(session.private.get("home") or home_of(session.environ)), config.state_folder(session.environ))


def home_of(environment: Mapping[str, str]) -> str:
    """The CODEX_HOME that an environment names."""
    named = environment.get("CODEX_HOME") or os.path.join(config.user_home(environment), ".codex")
    return os.path.realpath(os.path.expanduser(named))


def rollout_path(session: Session) -> str | None:
    """The rollout of the session's thread; None if it has no thread, or that was archived or deleted."""
    private = session.private
    if private.get("thread") is None:
        return None
    return find_rollout(private["home"], private["thread"], private.get("rollout"))


def record_path(session: Session) -> str | None:
    """The rollout of the session's thread, to be read only: one in Codex's archive counts too."""
    private = session.private
    if private.get("thread") is None:
        return None
    return rollout_path(session) or find_archived(private["home"], private["thread"])


def find_rollout(home: str, thread: str, expected: str | None = None) -> str | None:
    """The rollout of a thread; None if it was archived, deleted, or never written. Folders of 0.146 to 0.171."""
    if expected and os.path.exists(expected):
        return expected
    top = os.path.join(home, "sessions")
    try:  # the id holds the time at which it was made (UUID version 7)
        day = time.strftime("%Y/%m/%d", time.localtime(int(thread.replace("-", "")[:12], 16) / 1000))
    except (ValueError, OverflowError, OSError):
        day = ""
    return _find_below(os.path.join(top, day), thread) or _find_below(top, thread)


def find_archived(home: str, thread: str) -> str | None:
    """The rollout of a thread in Codex's archive; no server runs it."""
    return _find_below(os.path.join(home, "archived_sessions"), thread)


def _find_below(top: str, thread: str) -> str | None:
    for folder, _, names in os.walk(top):
        for name in names:
            if name.endswith(f"-{thread}.jsonl"):
                return os.path.join(folder, name)
    return None
