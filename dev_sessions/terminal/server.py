"""Why a tmux server cannot be talked to: its socket was removed, or it is of another version than the client.

Asked only where a command has failed, or a socket is missing (Linux: the kernel's list of sockets, and `/proc`).
"""

from __future__ import annotations

import os
import shlex
import socket as sockets
import struct

from ..errors import TmuxError
from ..system import processes
from .tmux import version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tmux import Tmux

_LISTENING = 0x10000
_SECONDS = 2.0


def unreachable(tmux: Tmux) -> TmuxError | None:
    """What keeps this server from being reached, with the remedy; None if nothing is known to.

    Args:
        tmux: the server as the failed command meant it.
    """
    pid = listener(tmux)
    return removed(tmux, pid) or mismatched(tmux, pid)


def removed(tmux: Tmux, reached: int | None) -> TmuxError | None:
    """That a server runs and its socket is gone, with the signal that brings it back.

    Args:
        reached: the process that answers on the socket, if there is one.
    """
    path = tmux.expected_socket()
    lost = _lost_servers(path, reached)
    if not lost:
        return None
    folder = os.path.dirname(path)
    made = "" if os.path.isdir(folder) else f"mkdir -m 700 -p {shlex.quote(folder)} && "
    return TmuxError(
        f"the socket {path} was removed (by a cleaner of temporary files?); the tmux server behind it still runs, with "
        f"its sessions, as process {lost[0]}",
        next=f"{made}kill -USR1 {lost[0]} makes the socket again; then repeat the command",
    )


def mismatched(tmux: Tmux, pid: int | None) -> TmuxError | None:
    """That the server is of another version than the client, as after an upgrade, with the ways out.

    Args:
        pid: the server's process; None if none was found.
    """
    if pid is None:
        return None
    path = tmux.expected_socket()
    client, server = version(tmux.program, tmux.environ), version(f"/proc/{pid}/exe", tmux.environ)
    if not client or not server or client == server:
        return None
    return TmuxError(
        f"the tmux server on {path} (process {pid}) is {server}, and {tmux.program} is {client}: "
        "they do not work together",
        next=f"use {server} for its sessions (/proc/{pid}/exe -S {shlex.quote(path)} attach), end them and that server "
        f"(kill {pid}), or start new sessions on a server of their own (export DEV_SESSIONS_TMUX=dev-sessions)",
    )


def _lost_servers(path: str, reached: int | None) -> list[int]:
    """The tmux servers of this user that listen on this socket and cannot be reached by it.

    The kernel goes on listing a socket by the path that it was bound to.
    """
    inodes = _bound_to(path)
    if not inodes:
        return []
    links = {f"socket:[{inode}]" for inode in inodes}
    holders = {pid for pid in _tmux_processes() if _holds(pid, links)}
    # What a server has just forked, for a new pane, has its sockets until it becomes the pane's program.
    return sorted(pid for pid in holders - {reached} if _parent(pid) not in {reached, *holders})


def _bound_to(path: str) -> set[str]:
    """The inodes of the sockets that listen under that path, as far as the kernel tells."""
    found = set()
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.split(None, 7)
                if len(words) == 8 and words[7].rstrip("\n") == path and int(words[3], 16) & _LISTENING:
                    found.add(words[6])
    except (OSError, ValueError):
        pass
    return found


def _tmux_processes() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal() and processes.is_tmux(int(name)))


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _holds(pid: int, links: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.readlink(f"{folder}/{name}") in links for name in os.listdir(folder))
    except OSError:  # somebody else's, or it ended meanwhile
        return False


def listener(tmux: Tmux) -> int | None:
    """The process of the server, if it can be reached."""
    with tmux.alone():  # to ask who listens is to connect and to leave
        return _listener(tmux.expected_socket())


def _listener(path: str) -> int | None:
    """The process that answers on a socket; None if nobody does."""
    if not hasattr(sockets, "SO_PEERCRED"):
        return None
    with sockets.socket(sockets.AF_UNIX) as asking:
        asking.settimeout(_SECONDS)
        try:
            asking.connect(path)
            told = asking.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    pid, user, _ = struct.unpack("3i", told)
    return int(pid) if user == os.getuid() and processes.is_tmux(pid) else None
