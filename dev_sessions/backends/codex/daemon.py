"""The app-server of one CODEX_HOME: found, or started, exactly one; ended when our last session leaves it.

Ours is only what we have started, by pid and start time. What somebody else runs on that socket is used, and never
signalled. The server goes on when nobody is connected; there is no process of ours beside it.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from contextlib import contextmanager

from ... import config
from ...errors import LaunchFailed, StoreError
from ...state.registry import Store
from ...system import files, processes
from ...system.waiting import Watcher
from ..terminate import end
from . import paths
from .connection import Connection, Lost, Silent
from .protocol import CLIENT, Refused, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .paths import Place

# A server that lives answers at once; one that does not in this time hangs. Seconds.
ANSWER_SECONDS = 10.0
_SECOND_CHANCE = 2.0
# How long it may take to end by itself (it waits for the turns that run), and then at all. Seconds.
_AT_ONCE = (signal.SIGKILL, 5.0)
_POLITELY = ((signal.SIGTERM, 3.0), _AT_ONCE)
_TICK = 0.05
# What versions say that cannot serve on a unix socket (0.104), or cannot serve at all.
_NO_SOCKETS = ("unexpected argument", "unrecognized subcommand", "unsupported --listen")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# There is no moment at which the server runs unknown: it notes itself who it is.
_SCRIPT = f"""cd / && umask 077 || exit
if [ -r /proc/$$/stat ]; then read -r stat </proc/$$/stat; else stat=$({processes.START_BY_PS}); fi
boot=; [ ! -r "$2" ] || read -r boot <"$2"
printf '{{"pid": %s, "stat": "%s", "boot": "%s"}}\\n' $$ "$stat" "$boot" >"$1.$$.tmp" && mv -f "$1.$$.tmp" "$1" || exit
shift 2
exec "$@"
"""
_NO_MARK = b"="  # no entry of an environment


def reach(place: Place, timeout: float = ANSWER_SECONDS) -> Connection | None:
    """A connection to the server that listens, or None. Starts nothing.

    Raises:
        Silent: somebody listens and does not answer.
    """
    try:
        found = Connection(place.socket, timeout)
    except (Lost, Refused):
        return None
    if found.peer[1] not in (os.geteuid(), 0):
        found.close()
        return None  # a socket that another user put there is none of ours to talk to
    return found


def ensure(place: Place, key: str, program: str, environ: Mapping[str, str], timeout: float) -> Connection:
    """A connection to the one server of that home, started if need be; the session `key` is entered as its user.

    Args:
        environ: what the server is started with; nothing of it reaches the commands of a session.

    Raises:
        LaunchFailed: there is none, and none could be started.
    """
    with _locked(place):
        place.enter(key)
        try:
            found = reach(place, min(timeout, ANSWER_SECONDS))
        except Silent:
            _end_hung(place)
            found = None
        if found is None:
            _end_ours(place)  # alive, and deaf on its socket
            found = _start(place, program, environ, timeout)
        _note_behind_wrapper(place, found.peer[0])
        return found


def leave(place: Place, key: str) -> None:
    """The session `key` is gone. The last one of ours ends the server, if that is ours and nobody else uses it."""
    if not os.path.isdir(place.folder):
        return
    with _locked(place):
        place.leave(key)
        if not place.is_used() and not _serves_others(place):
            _end_ours(place)


def _serves_others(place: Place) -> bool:
    """True if others are at work in it, or a person's own Codex has joined it."""
    daemon = place.daemon()
    if daemon is None or not processes.is_running(*daemon):
        return False
    try:
        connection = reach(place)
        if connection is None:
            return False
        with connection:
            threads = connection.call("thread/loaded/list").get("data") or ()
            return any(_is_of_others(connection, thread) for thread in threads)
    except (Lost, Silent, Refused):
        return False


def _is_of_others(connection: Connection, id: str) -> bool:
    """One of ours that is at rest may stay behind for a minute: of a `create` that was killed, say."""
    try:
        thread = connection.call("thread/read", threadId=id)["thread"]
    except Refused:
        return False
    theirs = thread.get("originator") not in (None, CLIENT["name"])  # 0.139 does not tell, and no person's joins it
    return theirs or status(thread.get("status")).kind == "active"


def end_hung(place: Place) -> None:
    """End a server that has not answered, if it is ours and still does not."""
    with _locked(place):
        try:
            connection = reach(place, _SECOND_CHANCE)
        except Silent:
            _end_ours(place)
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
    pid = _spawn(place, program, environ)
    server = pid, processes.start_time(pid) or ""
    try:
        found = _awaited(place, server, time.monotonic() + timeout)
        if found is None:
            raise _failed(place, program, not processes.is_running(*server), timeout)
    except (Silent, LaunchFailed) as error:
        _give_up(place, server)
        raise error if isinstance(error, LaunchFailed) else _foreign(place) from error
    if not _is_of(found.peer[0], pid):
        _give_up(place, server)  # somebody else's was faster
    return found


def _is_of(server: int, started: int) -> bool:
    """True if a server is what we have started, or was started by that: npm's `codex` is a script that goes on."""
    try:
        return server == started or os.getsid(server) == started
    except OSError:
        return False  # it has ended meanwhile


def _note_behind_wrapper(place: Place, server: int) -> None:
    """Note the server itself instead of the script that has started it, whose end may not be the server's."""
    noted = place.daemon()
    if noted is not None and noted[0] != server and _is_of(server, noted[0]) and processes.is_running(*noted):
        place.note_daemon(server)


def _awaited(place: Place, server: tuple[int, str], until: float) -> Connection | None:
    """A connection to what listens, as soon as anything does; None if `server` ended before, or time is up."""
    with Watcher() as watcher:
        watcher.watch_process(*server)
        watcher.watch_path(place.log_path)
        while True:
            watcher.watch_path(os.path.dirname(place.socket))
            last_look = not processes.is_running(*server) or time.monotonic() > until
            found = reach(place)
            if found is not None or last_look:
                return found
            watcher.wait(_TICK)


def _give_up(place: Place, server: tuple[int, str]) -> None:
    """End a server that we have just started, and that may not have noted yet who it is; or a script that has."""
    end([server, *processes.family(server[0], _NO_MARK)], *_POLITELY)
    place.forget_daemon()


def _spawn(place: Place, program: str, environ: Mapping[str, str]) -> int:
    """Start the server in a session of its own, in no folder that anybody may want to remove."""
    words = ["/bin/sh", "-c", _SCRIPT, "sh", place.note_path, _BOOT_ID, program, "app-server", "--listen", "unix://"]
    log = (os.POSIX_SPAWN_OPEN, 2, place.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return os.posix_spawn(
            "/bin/sh",
            words,
            {**environment(environ), "CODEX_HOME": place.home},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                log,
            ],
            setsid=True,
        )
    except OSError as error:
        raise StoreError(f"cannot start a process: {error.strerror}", next="try again") from error


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the server gets of a caller's environment: what it needs to reach its model, and no mark of a session."""
    kept = config.agent_environment(environ)
    return {name: value for name, value in kept.items() if name not in processes.OF_A_SESSION}


def _failed(place: Place, program: str, ended: bool, timeout: float) -> LaunchFailed:
    words = place.last_words()
    if any(refusal in words for refusal in _NO_SOCKETS):
        return too_old(f"{program} cannot serve sessions on a socket. It says:\n{words}")
    why = "ended at its start" if ended else f"was not ready within {timeout:g} s"
    said = f"; it says:\n{words}" if words else ""
    return LaunchFailed(f"Codex's app-server {why}{said}", next=_remedy(place, program, words))


def too_old(why: str) -> LaunchFailed:
    return LaunchFailed(
        f"this Codex is too old: {why}",
        next="npm install -g @openai/codex@latest (0.139 and newer will do), then end servers of the old one",
    )


def _remedy(place: Place, program: str, words: str) -> str:
    """What to do about a server that does not start."""
    folder = os.path.dirname(place.socket)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        return f"remove {folder}, which should be a folder, then try again"
    if "SUN_LEN" in words:
        return "npm install -g @openai/codex@latest, which takes so long a path; or set CODEX_HOME to a shorter one"
    if "already in use" in words:
        return f"end the program that listens on {place.socket}, then try again"
    if os.path.lexists(place.socket) and not _is_socket(place.socket):
        return f"remove {place.socket}, which should be a socket, then try again"
    script = f"; {program} is a script, which may have set CODEX_HOME" if paths.is_script(program) else ""
    return f"fix what it reports (its configuration is {place.home}/config.toml{script}), then try again"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _foreign(place: Place) -> LaunchFailed:
    return LaunchFailed(
        f"the Codex app-server on {place.socket} does not answer, and it is not ours to end",
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
    end([daemon], _AT_ONCE)
    place.forget_daemon()


def _end_ours(place: Place) -> None:
    daemon = place.daemon()
    if daemon is not None:
        end([daemon], *_POLITELY)
        place.forget_daemon()
