"""Finds out why a tmux server cannot be reached: its socket was removed, or its version differs from the client's.

Used only after a command has failed, or when a socket is missing (Linux: the kernel's list of sockets, and `/proc`).
"""

from __future__ import annotations

import os
import shlex
import subprocess

from ..errors import TmuxError
from ..system import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tmux import Tmux

_LISTENING = 0x10000


def unreachable(tmux: Tmux) -> TmuxError | None:
    """Why this server cannot be reached, with the remedy; None if there is no known reason."""
    pid = listener(tmux)
    return removed(tmux, pid) or mismatched(tmux, pid)


def listener(tmux: Tmux) -> int | None:
    """The server's process, if it can be reached."""
    with tmux.alone():  # we connect and leave again
        found = processes.listening_on(tmux.expected_socket())
    return found[0] if found and found[1] == os.getuid() and processes.is_tmux(found[0]) else None


def removed(tmux: Tmux, reached: int | None) -> TmuxError | None:
    """The error for a running server whose socket was removed, with the signal that makes it create the socket again.

    Args:
        reached: the process that answers on the socket, if there is one.
    """
    path = tmux.expected_socket()
    links = _listening_sockets(path)
    servers = processes.tmux_servers() if links else {}
    holders = {pid for pid in servers if _holds(pid, links)}
    # A child that the server has just forked for a new pane has its sockets until it executes the pane's program.
    lost = sorted(pid for pid in holders - {reached} if servers[pid] not in {reached, *holders})
    if lost and (started := listener(tmux)) != reached:  # by another command, after `reached` was looked for
        lost = [pid for pid in lost if pid != started]
    if not lost:
        return None
    folder = os.path.dirname(path)
    made = "" if os.path.isdir(folder) else f"mkdir -m 700 -p {shlex.quote(folder)} && "
    return TmuxError(
        f"the socket {path} was removed (by a cleaner of temporary files?); its tmux server still runs, with its "
        f"sessions, as process {lost[0]}",
        next=f"{made}kill -USR1 {lost[0]} creates the socket again; then repeat the command",
    )


def mismatched(tmux: Tmux, pid: int | None) -> TmuxError | None:
    """The error for a server of another version than the client, such as after an upgrade, with the remedies.

    Args:
        pid: the server's process, if it was found.
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


def _listening_sockets(path: str) -> set[str]:
    """The listening sockets that were bound to that path, as `/proc/PID/fd` names them.

    The kernel still lists a socket under its path when the path was removed.
    """
    found = set()
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.split(None, 7)
                if len(words) == 8 and words[7].rstrip("\n") == path and int(words[3], 16) & _LISTENING:
                    found.add(f"socket:[{words[6]}]")
    except (OSError, ValueError):
        pass
    return found


def _holds(pid: int, links: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.readlink(f"{folder}/{name}") in links for name in os.listdir(folder))
    except OSError:  # it belongs to somebody else, or has ended meanwhile
        return False


def version(program: str, environ: Mapping[str, str]) -> str | None:
    """The version of a tmux program ("tmux 3.3a"), without asking any server; None if it prints none."""
    try:
        done = subprocess.run([program, "-V"], env=environ, capture_output=True, timeout=2.0, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    words = done.stdout.decode(errors="replace").split()
    return f"tmux {words[1]}" if len(words) > 1 else None
