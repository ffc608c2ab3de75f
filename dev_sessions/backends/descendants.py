"""Finds and ends the processes that an agent has started, by the process tree and by the mark in their environment.

A process is not found if it has left the tree and cleared or overwritten its environment, or if another service has
started it for the agent with a different environment (systemd-run, a container, cron).
"""

from __future__ import annotations

from ..errors import TmuxError
from ..system import processes
from ..terminal.tmux import Tmux
from .terminate import end

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable

    from .session import Session

    Process = tuple[int, str]

# The number of rounds is limited, since processes may start others as fast as we end them.
_ROUNDS = 5


def found(session: Session, root: int = 0) -> list[Process]:
    """All running processes that the agent has started, as (pid, start time).

    A tmux server that the agent has started passes the mark on to everything that is opened in it later. So a tmux
    session that a person has attached to counts as the person's.

    Args:
        root: pid of the agent; 0 to search by the mark alone.
    """
    all = processes.family(root, _mark(session))
    visited = {pane for server in _servers(session, all) for pane, is_visited, _ in _panes(server) if is_visited}
    spared = visited | set(processes.descendants(visited)) if visited else visited
    return [process for process in all if process[0] not in spared]


def end_all(session: Session, known: Iterable[Process], *steps: tuple[signal.Signals, float]) -> None:
    """End everything that the agent has started; for the steps see `terminate.end`.

    Args:
        known: the processes that were found while the agent was running.
    """
    seen = {*known, *found(session)}
    servers = _servers(session, seen)
    end(sorted(seen), *steps)
    end_while(lambda: found(session), *steps)
    for server in servers:  # a server may keep panes whose programs have ended
        for name in {name for _, is_visited, name in _panes(server) if not is_visited}:
            with server.alone():
                server.run("kill-session", "-t", name, check=False)


def end_while(wanted: Callable[[], list[Process]], *steps: tuple[signal.Signals, float]) -> None:
    """End the processes that `wanted` returns until there are none: one that is executing a program shows no mark."""
    for _ in range(_ROUNDS):
        left = wanted()
        if not left:
            return
        end(left, *steps)


def _mark(session: Session) -> bytes:
    return f"{processes.KEY}={session.record['key']}".encode()


def _servers(session: Session, inside: Iterable[Process]) -> list[Tmux]:
    """The tmux servers that the agent has started and in which these processes run.

    There are none for a container: its socket is missing here or is a different one, and a server behind it could make
    our tmux run commands.
    """
    if session.contained:
        return []
    variables = {(processes.variable(pid, "TMUX") or "").rpartition(",")[0].rpartition(",") for pid, _ in inside}
    ours = {path for path, _, pid in variables if pid.isdecimal() and processes.carries(int(pid), _mark(session))}
    try:
        return [Tmux(session.environ, path) for path in sorted(ours)]
    except TmuxError:
        return []  # tmux was uninstalled


def _panes(server: Tmux) -> list[tuple[int, bool, str]]:
    """(pid, whether a person has visited its session, the session's id) of each pane."""
    output = server.run("list-panes", "-a", "-F", "#{pane_pid} #{session_id} #{session_last_attached}", check=False)
    rows = [line.split(" ") for line in output.splitlines()]
    return [(int(pid), visited not in ("", "0"), name) for pid, name, visited in rows if pid.isdecimal()]
