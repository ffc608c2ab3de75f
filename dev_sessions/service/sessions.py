"""The life of a session: `create`, `kill`, `attach`."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import time
from contextlib import nullcontext

from .. import __version__, config, names, processes
from ..backends import load
from ..backends.base import Attaches, Launch, Session, capabilities
from ..errors import LaunchFailed, Unsupported, UsageError, WaitingForInput
from ..model import EXITED, PERMISSIONS
from ..records import Folder
from .conversation import refuse_unless_ready
from .reading import public

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from ..backends.base import Backend
    from .house import House

_DAY = 86_400.0
_MODES = ("native", "docker")


def create(house: House, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Start an agent and return its public record when it is ready for input.

    Parameters: `cli`, `mode`, `permissions`, `path`, `description`, `model`, `id`, `group`, `env`, `trust`. If it
    fails, neither process nor record is left, except where a person has to answer something first.
    """
    known = next((r for r in house.store.load().values() if r.get("request_id") == request_id), None)
    if known is not None:
        return _shown(house, house.view(known))
    backend = load(str(params.get("cli") or "claude"))
    path = _checked(house, params)
    environment = _environment(house, params)
    backend.check(environment, params["permissions"])
    session = _enter(house, backend, {**params, "path": path}, request_id)
    try:
        session.folder.make()
        with house.store.lock(session.folder.lock_path):
            backend.launch(_plan(house, session, params, environment))
    except WaitingForInput:
        raise
    except BaseException:
        _abandon(house, backend, session)
        raise
    return _shown(house, house.session(session.id))


def _shown(house: House, session: Session) -> dict[str, Any]:
    return {**public(session.record), "status": house.state(session).status}


def _checked(house: House, params: dict[str, Any]) -> str:
    """The folder to work in, absolute and with symlinks resolved; raises for everything that cannot work."""
    settings = house.settings
    if params["permissions"] not in PERMISSIONS:
        raise UsageError(f"no permissions called {params['permissions']!r}; there are {', '.join(PERMISSIONS)}")
    if params.get("mode", "native") not in _MODES:
        raise UsageError(f"no mode called {params['mode']!r}; there are {', '.join(_MODES)}")
    if params.get("mode") == "docker":
        raise Unsupported("--mode docker is not supported yet", next="leave --mode away", capability="docker")
    if settings.depth >= settings.max_depth:
        raise UsageError(
            f"this session stands {settings.depth} levels deep already, and {settings.max_depth} is the limit",
            next="do the work here, or raise DEV_SESSIONS_MAX_DEPTH",
        )
    id = params.get("id")
    if id is not None and not names.is_valid(id):
        raise UsageError(f"{id!r} is no session id: lower-case letters, digits and '-', first a letter, at most 64")
    return _folder(os.path.join(settings.cwd, os.path.expanduser(params.get("path") or ".")))


def _folder(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {path!r} is not UTF-8", next="rename the folder") from error
    if not os.path.exists(path):
        raise UsageError(f"there is no folder {path}", next=f"mkdir -p {shlex.quote(path)}")
    if not os.path.isdir(path):
        raise UsageError(f"{path} is no folder", next="name the folder that the agent is to work in")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"you may not enter {path}", next="choose another folder")
    return os.path.realpath(path)


def _environment(house: House, params: dict[str, Any]) -> dict[str, str]:
    """The agent's environment but for what names the session."""
    added = dict(params.get("env") or {})
    for name, value in added.items():
        if not (name.isascii() and name.isidentifier()) or "\0" in value:
            raise UsageError(f"{name!r} is no name of a variable", next="--env NAME=VALUE")
    settings = house.settings
    return {
        **config.agent_environment(settings.environ),
        **added,
        "DEV_SESSIONS_HOME": settings.home,
        "DEV_SESSIONS_DEPTH": str(settings.depth + 1),
    }


def _enter(house: House, backend: Backend, params: dict[str, Any], request_id: str) -> Session:
    """Allocate an id and enter the session into the registry, before anything of it runs."""
    source = random.SystemRandom()
    with house.store.change() as records:
        taken = {*records, *_recent(house)}
        id = params.get("id") or names.allocate(taken, source)
        if id in records:
            raise UsageError(f"there is a session called {id} already", next=f"dev-sessions status {id}")
        record = {
            "id": id,
            "key": f"{id}-{source.getrandbits(32):08x}",
            "cli": params.get("cli") or "claude",
            "mode": params.get("mode") or "native",
            "permissions": params["permissions"],
            "path": params["path"],
            "host": None,
            "description": params.get("description") or "",
            "group": params.get("group"),
            "parent": house.settings.parent,
            "depth": house.settings.depth + 1,
            "model": params.get("model"),
            "capabilities": capabilities(backend),
            "created_at": time.time(),
            "created_by": __version__,
            "creator": {"pid": os.getpid(), "started": processes.start_time(os.getpid())},
            "request_id": request_id,
            "backend": {},
        }
        records[id] = record
    return house.view(record)


def _recent(house: House) -> set[str]:
    """Ids of sessions that were killed less than a day ago."""
    try:
        with os.scandir(house.store.archive_folder) as entries:
            return {entry.name.rpartition("-")[0] for entry in entries if entry.stat().st_mtime > time.time() - _DAY}
    except FileNotFoundError:
        return set()


def _plan(house: House, session: Session, params: dict[str, Any], environment: dict[str, str]) -> Launch:
    def keep(private: dict[str, Any]) -> None:
        with house.store.change() as records:
            if session.id not in records:
                raise LaunchFailed(f"{session.id} was killed while it was starting", next="dev-sessions list")
            records[session.id]["backend"] = private

    named = {"DEV_SESSIONS_ID": session.id, "DEV_SESSIONS_KEY": session.record["key"]}
    return Launch(
        session=session,
        path=session.record["path"],
        permissions=session.record["permissions"],
        model=session.record["model"],
        environment={**environment, **named},
        trust=bool(params.get("trust", True)),
        timeout=house.settings.ready_timeout,
        say=house.say,
        keep=keep,
    )


def _abandon(house: House, backend: Backend, session: Session) -> None:
    """Leave nothing of a session that did not start; somebody may have killed it meanwhile."""
    record = house.store.load().get(session.id)
    known = record is not None and record["key"] == session.record["key"]
    backend.stop(house.view(record) if record is not None and known else session)
    _forget(house, session)


def _forget(house: House, session: Session) -> None:
    with house.store.change() as records:
        if records.get(session.id, {}).get("key") == session.record["key"]:
            del records[session.id]
    shutil.rmtree(session.folder.path, ignore_errors=True)


def kill(
    house: House, params: dict[str, Any], request_id: str
) -> Generator[dict[str, Any], None, list[dict[str, Any]]]:
    """End the sessions `ids`, agent and record; their folders go to the archive. An event tells when each is done."""
    sessions = [house.session(id) for id in dict.fromkeys(params["ids"])]
    done = []
    for session in sessions:
        courier = session.folder.courier()
        if courier is not None:
            processes.send_signal(*courier, signal.SIGTERM)
        house.backend(session).stop(session)
        # Nobody delivers any more: whoever held the lock for it fails with the agent gone.
        with house.store.lock(session.folder.lock_path) if os.path.isdir(session.folder.path) else nullcontext():
            _archive(house, session)
        done.append({"session": session.id, "outcome": "killed"})
        yield done[-1]
    return done


def _archive(house: House, session: Session) -> None:
    """Folder first, registry second: cut in between, the session is still listed, and can be killed again."""
    folder: Folder = session.folder
    if os.path.isdir(folder.path):
        start = os.path.join(folder.agent_path, "start.sh")
        if os.path.exists(start):
            os.unlink(start)  # it holds the agent's environment, secrets and all
        os.makedirs(house.store.archive_folder, mode=0o700, exist_ok=True)
        os.utime(folder.path)
        os.rename(folder.path, os.path.join(house.store.archive_folder, session.record["key"]))
    with house.store.change() as records:
        if records.get(session.id, {}).get("key") == session.record["key"]:
            del records[session.id]


def attach(house: House, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """The command that puts a person's terminal on the session `id`: {"session", "argv"}."""
    session = house.session(params["id"])
    backend = house.backend(session)
    if not isinstance(backend, Attaches):
        raise Unsupported(f"{session.record['cli']} has no terminal to attach to", capability="attach")
    state = house.state(session)
    if state.status == EXITED:
        refuse_unless_ready(session, state)
    return {"session": session.id, "argv": backend.attach_command(session)}
