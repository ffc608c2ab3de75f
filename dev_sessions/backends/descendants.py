"""Finding and ending what an agent has started: by the process tree, and by the mark in the environment.

A process is not found if it has cleared or overwritten its environment and left the tree, or if another service has
started it for the agent, with an environment of its own (systemd-run, a container, cron).
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

# Processes may start others as fast as they are ended: there is no more than this number of rounds.
_ROUNDS = 5


def found(session: Session, root: int = 0) -> list[Process]:
    """All that the agent has started and that runs, as (pid, start time).

    A tmux server that the agent has started passes the mark on to all that is opened in it later: the tmux sessions
    that a person has visited are the person's.

    Args:
        root: pid of the agent; 0 to search by the mark alone.
    """
    all = processes.family(root, _mark(session))
    visited = {pane for server in _servers(session, all) for pane, is_visited, _ in _panes(server) if is_visited}
    spared = visited | set(processes.descendants(visited)) if visited else visited
    return [process for process in all if process[0] not in spared]


def end_all(session: Session, known: Iterable[Process], *steps: tuple[signal.Signals, float]) -> None:
    """End all that the agent has started. `known` was found while the agent ran; for the steps see `terminate.end`."""
    seen = {*known, *found(session)}
    servers = _servers(session, seen)
    end(sorted(seen), *steps)
    end_while(lambda: found(session), *steps)
    for server in servers:  # a server may keep the panes of programs that have ended
        for name in {name for _, is_visited, name in _panes(server) if not is_visited}:
            with server.alone():
                server.run("kill-session", "-t", name, check=False)


def end_while(wanted: Callable[[], list[Process]], *steps: tuple[signal.Signals, float]) -> None:
    """End what is wanted, until nothing is: a process shows no mark while it becomes another program."""
    for _ in range(_ROUNDS):
        left = wanted()
        if not left:
            return
        end(left, *steps)


def _mark(session: Session) -> bytes:
    return f"{processes.KEY}={session.record['key']}".encode()


def _servers(session: Session, inside: Iterable[Process]) -> list[Tmux]:
    """The tmux servers that the agent has started and in which these processes run.

    None for a container: its socket is another one here, or missing, and a server on it could have our tmux run
    commands.
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
