"""Starts and loads a session's thread, with the settings that it gets from its project and environment.

A thread loses its `config` when the server unloads it (after a minute at rest) or ends, so the environment of its
commands is kept in the session's folder (0600) and passed again whenever the thread is loaded.

Codex uses a project's `.codex` (configuration, hooks, rules, MCP servers) only if its config.toml says that the folder
is trusted; it always uses AGENTS.md. When a thread that may write is started, Codex itself records the folder as
trusted, unless it is recorded as untrusted (0.146.0 to 0.171.0).
"""

from __future__ import annotations

import os

from ... import git
from ...errors import DeliveryFailed, LaunchFailed
from ...system import files
from .. import projects
from . import daemon, paths, protocol, thread_lock
from .connection import Silent
from .program import PROGRAM, home_of
from .protocol import Refused, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..base import Launch, Session
    from .connection import Connection

# The end of an error that is raised before a message is sent; `revive`, which sends none, removes it.
UNSENT = "; nothing was sent"
# Codex's names for when it asks, and for what its sandbox lets a command do.
_POLICIES = {
    "full": ("never", "danger-full-access"),
    "edit": ("on-request", "workspace-write"),
    "ask": ("untrusted", "read-only"),
    "plan": ("never", "read-only"),
}
_PROJECT = (".codex", "AGENTS.override.md", "AGENTS.md")
_TRUSTED, _UNTRUSTED = "trusted", "untrusted"


def launch(launch: Launch) -> None:
    """Start a thread that can be read before its first turn and survives a crash; see `base.Backend.launch`."""
    session = launch.session
    program = PROGRAM.find(session.environ)
    home = home_of(program, launch.environment)
    launch.keep({"home": home})
    environ = dict(launch.environment)
    if environ.get("CODEX_HOME"):
        environ["CODEX_HOME"] = home  # a relative path would name another folder for the agent
    keep_environment(session, environ)
    place = paths.place_of(session.replace(record={**session.record, "backend": {"home": home}}))
    with daemon.ensure(place, session.record["key"], program, environ, launch.timeout) as connection:
        if PROGRAM.is_too_old(connection.version):
            raise LaunchFailed(
                f"the app-server of {home} is Codex {connection.version}; dev-sessions works with {PROGRAM.oldest} and "
                f"newer (tested up to {PROGRAM.newest})",
                next=f"{PROGRAM.install}, then end the servers of the old one",
                version=connection.version,
            )
        try:
            account = connection.call("account/read", refreshToken=False)
            if account.get("requiresOpenaiAuth") and not account.get("account"):
                # A server with a broken configuration uses the default login, too; this call then fails.
                connection.call("config/read")
                raise LaunchFailed("Codex is not logged in", next="codex login, then run the same command again")
            level = _trust(connection, launch, home)
            terms = _terms(environ, launch.path, level, launch.permissions, launch.model)
            thread = connection.call("thread/start", launch.timeout, cwd=launch.path, **terms)["thread"]
            about = {"thread": thread["id"], "rollout": thread.get("path"), "program": program, "trust_level": level}
            launch.keep({"home": home, **about})
            # Codex writes a thread to disk when it gets its name; before that, no other connection can read it.
            name = f"{session.id}: {session.record.get('description') or 'dev-sessions'}"
            connection.call("thread/name/set", threadId=thread["id"], name=name)
        except Refused as error:
            why = f"Codex cannot start a thread: {error.message}"
            raise LaunchFailed(why, next="fix what it reports, then run the same command again") from error


def _trust(connection: Connection, launch: Launch, home: str) -> str | None:
    """The trust level of the folder for this thread, "trusted" or "untrusted"; None leaves it to Codex.

    Args:
        home: CODEX_HOME.
    """
    recorded = _recorded_trust(connection, launch.path)
    if recorded == _TRUSTED:
        return None
    names = projects.found(launch.path, _PROJECT, git.project_of(launch.path), home)
    if not launch.trust and not (launch.accepts and recorded is None):
        launch.leave_out(names)
        return _UNTRUSTED
    if names:
        launch.say(f"accepted {launch.path} as trusted, with its {', '.join(names)}")
    return _TRUSTED if launch.trust else None  # with full permissions Codex records it itself


def _recorded_trust(connection: Connection, path: str) -> str | None:
    """The folder's trust level in the user's configuration: "trusted", "untrusted" or None."""
    answer = connection.call("config/read", cwd=path, includeLayers=True)
    # Codex checks the folder, the project, and the project's main worktree.
    root = git.project_of(path)
    folders, link = [path, root], os.path.join(root, ".git")
    if os.path.isfile(link):
        target = os.fsdecode(files.read(link) or b"").removeprefix("gitdir:").strip()
        above, name = os.path.split(os.path.dirname(os.path.join(root, target)))
        folders += [os.path.dirname(above)] if name == "worktrees" else []
    known = answer["config"].get("projects") or {}
    levels = [(known.get(folder) or {}).get("trust_level") for folder in folders]
    level = next((str(level) for level in levels if level), None)
    disabled = any(layer.get("disabledReason") for layer in answer.get("layers") or ())
    return None if disabled and level == _TRUSTED else level


def _terms(environ: Mapping[str, str], path: str, level: str | None, permissions: Any, model: Any) -> dict[str, Any]:
    """The settings of a thread. Codex stores them only with a turn, and loses them for a thread without one."""
    config: dict[str, Any] = {
        # The thread's commands get the session's environment, and nothing of the server's own.
        "shell_environment_policy": {"inherit": "none", "ignore_default_excludes": True, "set": dict(environ)},
        "features.default_mode_request_user_input": True,
        "suppress_unstable_features_warning": True,
        # A snapshot of the shell would hold the environment of the server (0.146).
        "features.shell_snapshot": False,
    }
    if level is not None:
        config["projects"] = {path: {"trust_level": level}}
    if level == _UNTRUSTED:
        config["project_doc_max_bytes"] = 0
    policy, sandbox = _POLICIES.get(str(permissions), (None, None))
    terms = {"approvalPolicy": policy, "sandbox": sandbox, "model": model, "config": config}
    return {name: value for name, value in terms.items() if value is not None}


def load(session: Session, connection: Connection) -> None:
    """Load the thread in that server, with its original settings.

    Raises:
        DeliveryFailed: another Codex has it, or it is gone.
    """
    record, private = session.record, session.private
    level, permissions = private.get("trust_level"), record.get("permissions")
    terms = _terms(environment(session), record["path"], level, permissions, record.get("model"))
    try:
        connection.call("thread/resume", threadId=private["thread"], excludeTurns=True, **terms)
    except Refused as error:
        if thread_lock.held_by(session) not in (None, thread_lock.UNKNOWN, connection.peer[0]):
            raise _busy_elsewhere(session) from error
        raise DeliveryFailed(
            f"Codex cannot load the thread of {session.id}: {error.message}{UNSENT}",
            next=f"dev-sessions last-message {session.id} to read it, dev-sessions kill {session.id} to clean up",
        ) from error


def call(session: Session, connection: Connection, method: str, **params: Any) -> Any:
    """Make a request about the thread, which is loaded first if needed.

    Raises:
        Refused, Lost, Silent, DeliveryFailed: see `Connection.call` and `load`.
    """
    thread = session.private["thread"]
    try:
        return connection.call(method, threadId=thread, **params)
    except Refused:
        if status(thread, connection).kind not in ("", "notLoaded"):
            raise
    load(session, connection)
    return connection.call(method, threadId=thread, **params)


def status(thread: str, connection: Connection, method: str = "thread/read", **params: Any) -> Status:
    """The status of a thread, as that server reports it."""
    try:
        answer = connection.call(method, threadId=thread, **params)
    except Refused:
        return Status("")
    return protocol.status(answer.get("thread", {}).get("status"))


def _busy_elsewhere(session: Session) -> DeliveryFailed:
    return DeliveryFailed(
        f"{session.id} is busy elsewhere: another Codex has its thread open{UNSENT}",
        next="quit that Codex (it releases the thread a minute after its last turn), then try again",
    )


def connect(session: Session, timeout: float) -> Connection:
    """A connection to the server of a session's home, which is restarted if it has ended.

    Raises:
        DeliveryFailed: another Codex has the thread.
        LaunchFailed: no server is running, and none could be started.
    """
    place, holder = paths.place_of(session), thread_lock.held_by(session)
    try:
        connection = daemon.reach(place)
    except Silent:
        daemon.end_hung(place)
    else:
        if connection is None and holder not in (None, thread_lock.UNKNOWN):
            raise _busy_elsewhere(session)
        if connection is not None and holder is not None and holder > 0 and holder != connection.peer[0]:
            connection.close()
            raise _busy_elsewhere(session)
        if connection is not None:
            return connection
    environ = environment(session) or session.environ
    return daemon.ensure(place, session.record["key"], program_of(session), environ, timeout)


def program_of(session: Session) -> str:
    """The program that the session was started with, or the installed one if that is gone."""
    program = str(session.private.get("program") or "")
    return program if os.access(program, os.X_OK) else PROGRAM.find(session.environ)


def environment(session: Session) -> dict[str, str]:
    """The environment of the thread's commands; empty if it is lost."""
    settings = files.read_json(settings_path(session))
    return dict((settings.get("environment") if isinstance(settings, dict) else None) or {})


def keep_environment(session: Session, environ: Mapping[str, str]) -> None:
    """Note the environment of the thread's commands."""
    files.write_json(settings_path(session), {"environment": dict(environ)})


def settings_path(session: Session) -> str:
    """The file with the session's environment, including secrets."""
    return os.path.join(session.folder.agent_path, "thread.json")
