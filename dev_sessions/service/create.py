"""`create`: from a request to an agent that is ready for input, or to nothing at all."""

from __future__ import annotations

import os
import random
import shutil
import time

from .. import __version__, config, names
from ..backends import adapter_of, load
from ..backends.base import Contained, ContinuesAtReset, Launch, Session, capabilities
from ..errors import DevSessionsError, LaunchFailed, Unsupported, UsageError, WaitingForInput
from ..model import EXITED, PERMISSIONS
from ..system import processes
from ..system.signals import uninterrupted
from ..system.waiting import Watcher
from .confinement import checked_folder, refuse_moved
from .send import checked_text, send
from .status import public

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..backends.base import Backend
    from .context import Context

_DAY = 86_400.0
_MODES = ("native", "docker")
_HELP = "dev-sessions create --help"


def create(context: Context, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Start an agent and return its public record, with its `status`, when it is ready for input.

    Parameters: `cli`, `mode`, `permissions`, `path`, `description`, `model`, `id`, `group`, `env`, `trust`,
    `continue_at_reset`, and `message`, which is then sent as the first one (its receipt is the result's `message`). If
    the start fails, neither process nor record is left, except where a person has to answer something first.
    """
    if params.get("message") is not None:
        checked_text(params["message"])
    session = _session_of(context, request_id)
    if session is not None:
        return _ready(context, session, params, request_id)
    try:
        return _ready(context, _start(context, params, request_id), params, request_id)
    except KeyboardInterrupt:  # also of one that is ready: nobody has been told its name
        _leave_nothing(context, request_id)
        raise


def _ready(context: Context, session: Session, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    shown = {**public(session.record), "status": context.state(session).status}
    if params.get("message") is None:
        return shown
    return {**shown, "message": _first_message(context, session, params, request_id)}


def _start(context: Context, params: dict[str, Any], request_id: str) -> Session:
    backend = load(str(params.get("cli") or "claude"))
    path = _checked(context, params)
    environment = _environment(context, params)
    _check_agent(context, backend, {**params, "path": path}, environment)
    session: Session | None = None
    try:
        session = _enter(context, backend, {**params, "path": path}, request_id)
        if session is None:
            return _session_of(context, request_id) or _lost(request_id)
        session.folder.make()
        with context.store.lock(session.folder.lock_path):
            refuse_moved(path)
            backend.launch(plan(context, session, environment))
        change(context, session, ready_at=time.time())
    except WaitingForInput:
        if session is not None:
            change(context, session, creator=None)  # nobody is at work on it any more, even if this process lives on
        raise
    except BaseException:
        _leave_nothing(context, request_id, session)
        raise
    return context.session(session.id)


def _check_agent(context: Context, backend: Backend, params: dict[str, Any], environment: dict[str, str]) -> None:
    if params.get("continue_at_reset") and not isinstance(backend, ContinuesAtReset):
        raise Unsupported(
            f"--continue-at-reset is not supported for {params.get('cli') or 'claude'}",
            next="leave --continue-at-reset away, and send it something once the limit has reset",
            capability="continue_at_reset",
        )
    if params.get("mode") != "docker":
        backend.check(context.settings.environ, environment, params["permissions"])
        if params.get("continue_at_reset") and isinstance(backend, ContinuesAtReset):
            backend.check_continues(context.settings.environ, environment)
    elif isinstance(backend, Contained):
        backend.check_contained(context.settings.environ, environment, params["path"])
    else:
        cli = params.get("cli") or "claude"
        raise Unsupported(f"--mode docker is not supported for {cli}", next="leave --mode away", capability="docker")


def _lost(request_id: str) -> Session:
    raise LaunchFailed(f"the first create of request {request_id} failed meanwhile", next="run the same command again")


def _session_of(context: Context, request_id: str) -> Session | None:
    """The session that this request made before; if it is being made right now, as soon as it is ready."""
    with Watcher() as watcher:
        while True:
            record = next((r for r in context.records().values() if r.get("request_id") == request_id), None)
            if record is None:
                return None
            session = context.view(record)
            if not session.being_created:
                return _unless_stillborn(context, session)
            watcher.watch_path(context.settings.home)
            watcher.watch_process(*processes.noted(record.get("creator")))
            watcher.wait(1.0)


def _unless_stillborn(context: Context, session: Session) -> Session | None:
    """The session; None, and nothing left of it, if its create was killed before there was an agent."""
    if session.record.get("ready_at") or session.folder.notice() or context.state(session).status != EXITED:
        return session
    _remove(context, context.backend(session), session)
    return None


def _first_message(context: Context, session: Session, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    try:
        return send(context, {"id": session.id, "text": params["message"]}, f"{request_id}-first")
    except DevSessionsError as error:
        error.message = f"the session {session.id} is there, but its first message was not sent: {error.message}"
        error.data["session"] = session.id
        raise


def _checked(context: Context, params: dict[str, Any]) -> str:
    """The folder to work in, absolute and with symlinks resolved; raises for everything that cannot work."""
    settings = context.settings
    if params["permissions"] not in PERMISSIONS:
        raise UsageError(f"no permissions called {params['permissions']!r}; there are {', '.join(PERMISSIONS)}", _HELP)
    if params.get("mode", "native") not in _MODES:
        raise UsageError(f"no mode called {params['mode']!r}; there are {', '.join(_MODES)}", _HELP)
    if settings.depth >= settings.max_depth:
        raise UsageError(
            f"this session stands {settings.depth} levels deep already, and {settings.max_depth} is the limit",
            next="do the work here, or raise DEV_SESSIONS_MAX_DEPTH",
        )
    id = params.get("id")
    if id is not None and not names.is_valid(id):
        raise UsageError(
            f"{id!r} is no session id: lower-case letters, digits and '-', first a letter, at most 64",
            next="leave --id away, and a free name is taken",
        )
    group = params.get("group")
    if group is not None and not names.is_group(group):
        raise UsageError(f"invalid group {group!r}: {names.GROUPS}", _HELP)
    _check_model(params.get("model"))
    path = params.get("path", ".")
    if not path:
        raise UsageError("the path is empty", next="name the folder that the agent is to work in; . is the current one")
    path = os.path.join(settings.cwd, os.path.expanduser(path))
    return checked_folder(settings, path)


def _check_model(model: object) -> None:
    """It becomes a word of the agent's command line, and must not be taken for an option there."""
    if model is not None and not (isinstance(model, str) and model.isprintable() and model and model[0] != "-"):
        raise UsageError(
            f"{model!r} is no name of a model", next="leave --model away, and the agent's own default is used"
        )


def _environment(context: Context, params: dict[str, Any]) -> dict[str, str]:
    """The agent's environment but for what names the session."""
    added = dict(params.get("env") or {})
    for name, value in added.items():
        if not (name.isascii() and name.isidentifier()) or "\0" in value:
            raise UsageError(f"{name!r} is no name of a variable", next="--env NAME=VALUE")
    settings = context.settings
    return {
        **config.agent_environment(settings.environ),
        **added,
        "DEV_SESSIONS_HOME": settings.home,
        "DEV_SESSIONS_DEPTH": str(settings.depth + 1),
    }


def _enter(context: Context, backend: Backend, params: dict[str, Any], request_id: str) -> Session | None:
    """Allocate an id and enter the session into the registry, before anything of it runs.

    None if the same request has entered one meanwhile.
    """
    source = random.SystemRandom()
    with context.store.change() as records:
        if any(record.get("request_id") == request_id for record in records.values()):
            return None
        id = params.get("id") or names.allocate({*records, *_recent(context)}, source)
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
            "parent": context.settings.parent,
            "depth": context.settings.depth + 1,
            "from_elsewhere": context.settings.allowed is not None,
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
        records[id] = record
    return context.view(record)


def _recent(context: Context) -> set[str]:
    """Ids of sessions that were killed less than a day ago."""
    try:
        with os.scandir(context.store.archive_folder) as entries:
            return {entry.name.rpartition("-")[0] for entry in entries if entry.stat().st_mtime > time.time() - _DAY}
    except FileNotFoundError:
        return set()


def plan(context: Context, session: Session, environment: dict[str, str], path: str | None = None) -> Launch:
    """How to start the agent of a session, as its record tells; `environment` lacks what names the session.

    Args:
        path: the folder to work in, resolved, if it is not the record's.
    """
    named = {"DEV_SESSIONS_ID": session.id, processes.KEY: session.record["key"]}
    return Launch(
        session=session,
        path=path or session.record["path"],
        permissions=session.record["permissions"],
        model=session.record["model"],
        environment={**environment, **named},
        trust=session.record.get("trust"),
        timeout=context.settings.ready_timeout,
        say=context.say,
        keep=lambda private: change(context, session, backend=private),
        leave_out=lambda names: _leave_out(context, session, names),
        continue_at_reset=session.continues,
    )


def _leave_out(context: Context, session: Session, names: Sequence[str]) -> None:
    change(context, session, left_out=[*names])
    if names:
        context.say(
            f"{session.record['cli']} runs without {', '.join(names)} of {session.record['path']}, which you have not "
            "trusted there; create --trust accepts the folder as it is"
        )


def change(context: Context, session: Session, **fields: Any) -> None:
    """Change the session's record, unless somebody has killed the session meanwhile."""
    with context.store.change() as records:
        if records.get(session.id, {}).get("key") != session.record["key"]:
            raise LaunchFailed(f"{session.id} was killed while it was starting", next="dev-sessions list")
        records[session.id] = {**records[session.id], **fields}


def _leave_nothing(context: Context, request_id: str, session: Session | None = None) -> None:
    """Remove what this process began for a request; somebody may have killed the session meanwhile."""
    with uninterrupted():
        entered = [
            context.view(record)
            for record in context.store.load().values()
            if record.get("request_id") == request_id and processes.noted(record.get("creator"))[0] == os.getpid()
        ]
        for begun in entered or ([session] if session else []):
            _remove(context, context.backend(begun), begun)


def _remove(context: Context, backend: Backend, session: Session) -> None:
    """Agent first, registry last: cut in between, the session is still listed, and can be killed."""
    backend.stop(session)
    shutil.rmtree(session.folder.path, ignore_errors=True)
    context.store.remove(session.record)
