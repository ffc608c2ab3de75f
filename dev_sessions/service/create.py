"""`create`: start an agent that is ready for input, or leave nothing behind."""

from __future__ import annotations

import os
import random
import shutil
import time

from .. import __version__, names
from ..backends import adapter_of, load
from ..backends.base import Contained, ContinuesAtReset, capabilities
from ..errors import DevSessionsError, LaunchFailed, Unsupported, UsageError, WaitingForInput
from ..model import EXITED, PERMISSIONS
from ..system import processes
from ..system.signals import uninterrupted
from ..system.waiting import Watcher
from . import guards, launching
from .confinement import checked_folder, refuse_moved
from .context import Session
from .delivery import submit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..backends.base import Backend
    from .context import Context

_DAY = 86_400.0
_MODES = ("native", "docker")
_HELP = "dev-sessions create --help"


def create(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Start an agent; returns its public record with its `status` once it is ready for input.

    Parameters: `cli`, `mode`, `permissions`, `path`, `description`, `model`, `id`, `group`, `env`, `trust`,
    `continue_at_reset`, and `message`, the first message to send (its receipt is the result's `message`). If the start
    fails, neither process nor record is left, unless a person has to answer a question of the agent first.
    """
    message = params.get("message")
    if message is not None:
        guards.checked_text(message)
    session = _made_before(context, request_id)
    if session is not None:
        return _ready(session, message, request_id)
    try:
        return _ready(_start(context, params, request_id), message, request_id)
    except KeyboardInterrupt:  # remove it even if it is ready: the caller does not know its id yet
        _undo(context, request_id)
        raise


def _ready(session: Session, message: str | None, request_id: str) -> dict[str, Any]:
    shown = {**session.public(), "status": session.state().status}
    if message is None:
        return shown
    try:
        return {**shown, "message": submit(session, message, f"{request_id}-first")}
    except DevSessionsError as error:
        error.message = f"the session {session.id} was created, but its first message was not sent: {error.message}"
        error.data["session"] = session.id
        raise


def _start(context: Context, params: dict[str, Any], request_id: str) -> Session:
    cli = str(params.get("cli") or "claude")
    backend = load(cli)
    path = _checked(context, params)
    environment = launching.agent_environment(context, context.settings.depth + 1, _checked_variables(params))
    _check_agent(context, cli, backend, params, path, environment)
    session: Session | None = None
    try:
        session = _register(context, cli, backend, {**params, "path": path}, request_id)
        if session is None:
            made = _made_before(context, request_id)
            if made is None:
                raise LaunchFailed(
                    f"another create with request id {request_id} has just failed", next="run the same command again"
                )
            return made
        session.folder.make()
        with context.store.lock(session.folder.lock_path):
            refuse_moved(path)
            backend.launch(launching.plan(session, environment, path))
        session.change(ready_at=time.time())
    except WaitingForInput:
        if session is not None:
            session.change(creator=None)  # no process is creating it any more, even if this one goes on
        raise
    except BaseException:
        _undo(context, request_id, session)
        raise
    return context.session(session.id)


def _check_agent(
    context: Context, cli: str, backend: Backend, params: dict[str, Any], path: str, environment: dict[str, str]
) -> None:
    """Refuse an agent that cannot be started with these parameters, before anything is created."""
    continues, environ = bool(params.get("continue_at_reset")), context.settings.environ
    if continues and not isinstance(backend, ContinuesAtReset):
        raise Unsupported(
            f"--continue-at-reset is not supported for {cli}",
            next="omit --continue-at-reset, and send a message once the limit has reset",
            capability="continue_at_reset",
        )
    if params.get("mode") != "docker":
        backend.check(environ, environment, params["permissions"])
        if continues and isinstance(backend, ContinuesAtReset):
            backend.check_continues(environ, environment)
    elif isinstance(backend, Contained):
        backend.check_contained(environ, environment, path)
    else:
        raise Unsupported(f"--mode docker is not supported for {cli}", next="omit --mode", capability="docker")


def _made_before(context: Context, request_id: str) -> Session | None:
    """The session that this request has already created; waits while another process is creating it.

    None if there is none, or if that process was killed before the agent started; what it left is removed.
    """
    with Watcher() as watcher:
        while True:
            record = next((r for r in context.records().values() if r.get("request_id") == request_id), None)
            if record is None:
                return None
            session = Session(context, record)
            if not session.being_created:
                break
            watcher.watch_path(context.settings.home)
            watcher.watch_process(*processes.noted(record.get("creator")))
            watcher.wait(1.0)
    if record.get("ready_at") or session.folder.notice() or session.state().status != EXITED:
        return session
    _remove(session)
    return None


def _checked(context: Context, params: dict[str, Any]) -> str:
    """Check the parameters; returns the folder to work in, absolute and with symlinks resolved."""
    settings = context.settings
    if params["permissions"] not in PERMISSIONS:
        raise UsageError(f"no permissions called {params['permissions']!r}; there are {', '.join(PERMISSIONS)}", _HELP)
    if params.get("mode", "native") not in _MODES:
        raise UsageError(f"no mode called {params['mode']!r}; there are {', '.join(_MODES)}", _HELP)
    if settings.depth >= settings.max_depth:
        raise UsageError(
            f"this session is {settings.depth} levels deep already, and the limit is {settings.max_depth}",
            next="do the work here, or raise DEV_SESSIONS_MAX_DEPTH",
        )
    id, group, model = params.get("id"), params.get("group"), params.get("model")
    if id is not None and not names.is_valid(id):
        raise UsageError(
            f"invalid session id {id!r}: use lower-case letters, digits and '-', starting with a letter, at most 64",
            next="omit --id to get a free name",
        )
    if group is not None and not names.is_group(group):
        raise UsageError(f"invalid group {group!r}: {names.GROUPS}", _HELP)
    # It becomes a word of the agent's command line, where it must not be read as an option.
    if model is not None and not (isinstance(model, str) and model.isprintable() and model and model[0] != "-"):
        raise UsageError(f"invalid model {model!r}", next="omit --model to use the agent's default")
    path = params.get("path", ".")
    if not path:
        raise UsageError("the path is empty", next="name the folder to work in; . is the current one")
    return checked_folder(settings, os.path.join(settings.cwd, os.path.expanduser(path)))


def _checked_variables(params: dict[str, Any]) -> dict[str, str]:
    added = dict(params.get("env") or {})
    for name, value in added.items():
        if not (name.isascii() and name.isidentifier()) or "\0" in value:
            raise UsageError(f"invalid variable {name!r}", next="--env NAME=VALUE")
    return added


def _register(context: Context, cli: str, backend: Backend, params: dict[str, Any], request_id: str) -> Session | None:
    """Allocate an id and add the session to the registry before any of its processes runs.

    None if another process has just added one for the same request.
    """
    settings, source = context.settings, random.SystemRandom()
    with context.store.change() as records:
        if any(record.get("request_id") == request_id for record in records.values()):
            return None
        id = params.get("id") or names.allocate({*records, *_killed_today(context)}, source)
        if id in records:
            raise UsageError(f"there is a session called {id} already", next=f"dev-sessions status {id}")
        records[id] = {
            "id": id,
            "key": f"{id}-{source.getrandbits(32):08x}",
            "cli": cli,
            "mode": params.get("mode") or "native",
            "permissions": params["permissions"],
            "path": params["path"],
            "host": None,
            "description": params.get("description") or "",
            "group": params.get("group"),
            "parent": settings.parent,
            "depth": settings.depth + 1,
            "from_elsewhere": settings.allowed is not None,
            "model": params.get("model"),
            "continue_at_reset": bool(params.get("continue_at_reset")),
            "trust": params.get("trust"),
            "left_out": None,
            "adapter": adapter_of(backend),
            "capabilities": capabilities(backend),
            "created_at": time.time(),
            "created_by": __version__,
            "ready_at": None,
            "creator": processes.ourselves(),
            "request_id": request_id,
            "backend": {},
        }
    return Session(context, records[id])


def _killed_today(context: Context) -> set[str]:
    """Ids of sessions that were killed less than a day ago; new sessions do not get them yet."""
    try:
        with os.scandir(context.store.archive_folder) as entries:
            return {entry.name.rpartition("-")[0] for entry in entries if entry.stat().st_mtime > time.time() - _DAY}
    except FileNotFoundError:
        return set()


def _undo(context: Context, request_id: str, session: Session | None = None) -> None:
    """Remove the session that this process began to create for a request; it may have been killed already."""
    with uninterrupted():
        entered = [
            Session(context, record)
            for record in context.store.load().values()
            if record.get("request_id") == request_id and processes.noted(record.get("creator"))[0] == os.getpid()
        ]
        for begun in entered or ([session] if session else []):
            _remove(begun)


def _remove(session: Session) -> None:
    """Agent first, registry last: if interrupted in between, the session is still listed and can be killed."""
    session.backend.stop(session)
    shutil.rmtree(session.folder.path, ignore_errors=True)
    session.context.store.remove(session.record)
