"""Finds or starts the one app-server of a CODEX_HOME, and ends it when our last session leaves it.

A server is ours only if we have started it, as its pid and start time show. Somebody else's server on that socket is
used, but never signalled. The server keeps running when no client is connected, and needs no other process of ours.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from contextlib import contextmanager

from ...errors import LaunchFailed
from ...state.registry import Store
from ...system import files, processes
from ...system.waiting import Watcher
from .. import detached
from ..terminate import end
from .connection import Connection, Lost, Silent
from .program import PROGRAM, is_script, server_environment
from .protocol import CLIENT, Refused, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .paths import Place

# A working server answers at once; one that does not answer within this time hangs. Seconds.
ANSWER_SECONDS = 10.0
_SECOND_CHANCE = 2.0
# The signals that end a server. It waits for running turns before it ends by itself. Seconds.
_AT_ONCE = ((signal.SIGKILL, 5.0),)
_POLITELY = ((signal.SIGTERM, 3.0), *_AT_ONCE)
_TICK = 0.05
_NO_MARK = b"="  # no environment has such an entry


def reach(place: Place, timeout: float = ANSWER_SECONDS) -> Connection | None:
    """A connection to the running server; None if there is none. Starts nothing.

    Raises:
        Silent: a server listens, but does not answer.
    """
    try:
        found = Connection(place.socket, timeout)
    except (Lost, Refused):
        return None
    if found.peer[1] not in (os.geteuid(), 0):
        found.close()
        return None  # never use a socket that another user has put there
    return found


def ensure(place: Place, key: str, program: str, environ: Mapping[str, str], timeout: float) -> Connection:
    """A connection to the one server of that home, which is started if needed; notes the session `key` as its user.

    Args:
        environ: the environment to start the server with; the commands of a session do not get it.

    Raises:
        LaunchFailed: none is running, and none could be started.
    """
    with _locked(place):
        place.add_user(key)
        try:
            found = reach(place, min(timeout, ANSWER_SECONDS))
        except Silent:
            _end_hung(place)
            found = None
        if found is None:
            _end_ours(place)  # it runs, but does not listen
            found = _start(place, program, environ, timeout)
        noted, pid = place.daemon(), found.peer[0]
        if noted is not None and noted[0] != pid and _belongs(pid, noted[0]) and processes.is_running(*noted):
            detached.note_process(place.note_path, pid)  # the server itself, since its start script may end earlier
        return found


def leave(place: Place, key: str) -> None:
    """Note that the session `key` has ended. After the last one, end the server if it is ours and nobody uses it."""
    if not os.path.isdir(place.folder):
        return
    with _locked(place):
        place.remove_user(key)
        if not place.is_used() and not _serves_others(place):
            _end_ours(place)


def _serves_others(place: Place) -> bool:
    """True if a thread in our server is working, or was started by somebody else's Codex."""
    daemon = place.daemon()
    if daemon is None or not processes.is_running(*daemon):
        return False
    try:
        connection = reach(place)
        if connection is None:
            return False
        with connection:
            for id in connection.call("thread/loaded/list").get("data") or ():
                try:
                    thread = connection.call("thread/read", threadId=id)["thread"]
                except Refused:
                    continue
                # A `create` that was killed may leave one of our threads at rest for a minute. 0.146 does not name the
                # originator, but a person's Codex never joins its server.
                theirs = thread.get("originator") not in (None, CLIENT["name"])
                if theirs or status(thread.get("status")).kind == "active":
                    return True
    except (Lost, Silent, Refused):
        pass
    return False


def end_hung(place: Place) -> None:
    """End a server that did not answer, if it is ours and still does not answer."""
    with _locked(place):
        try:
            connection = reach(place, _SECOND_CHANCE)
        except Silent:
            _end_hung(place)
        else:
            if connection is not None:
                connection.close()


@contextmanager
def _locked(place: Place) -> Iterator[None]:
    place.make()
    with Store(place.state).lock(place.lock_path):
        yield


def _start(place: Place, program: str, environ: Mapping[str, str], timeout: float) -> Connection:
    files.write_whole(place.log_path, b"")
    argv = [program, "app-server", "--listen", "unix://"]
    environment = {**server_environment(environ), "CODEX_HOME": place.home}
    pid = detached.start(argv, environment, place.log_path, place.note_path)
    server = pid, processes.start_time(pid) or ""
    found, failure = None, None
    try:
        found = _await(place, server, time.monotonic() + timeout)
        if found is None:
            failure = _failure(place, program, not processes.is_running(*server), timeout)
    except Silent:
        failure = _foreign(place)
    if found is None or not _belongs(found.peer[0], pid):
        # Another server was faster, or ours has failed. Ours may not have noted its pid yet, and may be a script.
        end([server, *processes.family(pid, _NO_MARK)], *_POLITELY)
        files.remove(place.note_path)
    if found is None:
        raise failure or _foreign(place)
    return found


def _belongs(server: int, started: int) -> bool:
    """True if a server is the process that we started, or one that it started: npm's `codex` is a script."""
    try:
        return server == started or os.getsid(server) == started
    except OSError:
        return False  # it has ended meanwhile


def _await(place: Place, server: tuple[int, str], until: float) -> Connection | None:
    """A connection to whichever server listens first; None if `server` ended before that, or time is up."""
    with Watcher() as watcher:
        watcher.watch_process(*server)
        watcher.watch_path(place.log_path)
        while True:
            watcher.watch_path(os.path.dirname(place.socket))
            is_last = not processes.is_running(*server) or time.monotonic() > until
            found = reach(place)
            if found is not None or is_last:
                return found
            watcher.wait(_TICK)


def _failure(place: Place, program: str, ended: bool, timeout: float) -> LaunchFailed:
    """The error for a server that did not start, with its remedy."""
    output, folder = place.end_of_log(), os.path.dirname(place.socket)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        remedy = f"remove {folder}, which should be a folder, then try again"
    elif "SUN_LEN" in output:
        remedy = "npm install -g @openai/codex@latest, which accepts longer paths; or set CODEX_HOME to a shorter one"
    elif "already in use" in output:
        remedy = f"end the program that listens on {place.socket}, then try again"
    elif os.path.lexists(place.socket) and not _is_socket(place.socket):
        remedy = f"remove {place.socket}, which should be a socket, then try again"
    else:
        script = f"; {program} is a script, which may have set CODEX_HOME" if is_script(program) else ""
        settings = f"its configuration is {place.home}/config.toml{script}"
        remedy = f"fix what it reports ({settings}), or install Codex {PROGRAM.oldest} or newer, then try again"
    why = "ended at its start" if ended else f"was not ready within {timeout:g} s"
    return LaunchFailed(f"Codex's app-server {why}" + (f"; it says:\n{output}" if output else ""), next=remedy)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _foreign(place: Place) -> LaunchFailed:
    return LaunchFailed(
        f"the Codex app-server on {place.socket} does not answer, and dev-sessions did not start it",
        next="end it (codex app-server daemon stop, or the program that runs it), then try again",
    )


def _end_hung(place: Place) -> None:
    """End a server of ours that does not answer.

    Raises:
        LaunchFailed: it is somebody else's.
    """
    daemon = place.daemon()
    if daemon is None or not processes.is_running(*daemon):
        raise _foreign(place)
    _end_ours(place, _AT_ONCE)


def _end_ours(place: Place, steps: tuple[tuple[signal.Signals, float], ...] = _POLITELY) -> None:
    daemon = place.daemon()
    if daemon is not None:
        end([daemon], *steps)
        files.remove(place.note_path)
