"""The paths of Codex's files: its home, the rollouts in it, and our notes about its app-server.

<state folder>/codex/<home's hash>/
  daemon.json     pid and start time of the app-server that we started, written by its own process
  daemon.log      its output
  users/<key>     an empty file for each of our sessions in it
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

# The default socket of the app-server, and the one that a person's plain `codex resume` uses.
CONTROL = os.path.join("app-server-control", "app-server-control.sock")


class Place:
    """One CODEX_HOME, and our own folder for it.

    Args:
        home: the CODEX_HOME, absolute.
        state: the state folder of dev-sessions.
    """

    def __init__(self, home: str, state: str) -> None:
        # Two checksums make a short name for the home; importing a stronger hash takes 10 ms.
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
        """Note that this session is in the daemon. The caller holds the lock."""
        files.write_whole(os.path.join(self._users, key), b"")

    def remove_user(self, key: str) -> None:
        files.remove(os.path.join(self._users, key))

    def is_used(self) -> bool:
        """True if one of our sessions is in the daemon. Notes of sessions that are gone do not count."""
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
    """The place of a session that has been launched."""
    return Place(str(session.private.get("home") or home_of(session.environ)), config.state_folder(session.environ))


def home_of(environment: Mapping[str, str]) -> str:
    """The CODEX_HOME that an environment names."""
    named = environment.get("CODEX_HOME") or os.path.join(config.user_home(environment), ".codex")
    return os.path.realpath(os.path.expanduser(named))


def rollout_path(session: Session) -> str | None:
    """The rollout of the session's thread; None if there is no thread, or if it was archived or deleted."""
    private = session.private
    if private.get("thread") is None:
        return None
    return find_rollout(private["home"], private["thread"], private.get("rollout"))


def record_path(session: Session) -> str | None:
    """The rollout of the session's thread for reading: also one in Codex's archive."""
    private = session.private
    if private.get("thread") is None:
        return None
    return rollout_path(session) or find_archived(private["home"], private["thread"])


def find_rollout(home: str, thread: str, expected: str | None = None) -> str | None:
    """The rollout of a thread; None if it was archived, deleted, or never written. Folders of 0.146 to 0.171."""
    if expected and os.path.exists(expected):
        return expected
    top = os.path.join(home, "sessions")
    try:  # the id contains the time of its creation (UUID version 7)
        day = time.strftime("%Y/%m/%d", time.localtime(int(thread.replace("-", "")[:12], 16) / 1000))
    except (ValueError, OverflowError, OSError):
        day = ""
    return _find_below(os.path.join(top, day), thread) or _find_below(top, thread)


def find_archived(home: str, thread: str) -> str | None:
    """The rollout of a thread in Codex's archive."""
    return _find_below(os.path.join(home, "archived_sessions"), thread)


def _find_below(top: str, thread: str) -> str | None:
    for folder, _, names in os.walk(top):
        for name in names:
            if name.endswith(f"-{thread}.jsonl"):
                return os.path.join(folder, name)
    return None
