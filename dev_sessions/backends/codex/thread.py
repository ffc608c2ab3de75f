"""A session's thread: how it is started, loaded again, and what its commands see.

What is given to a thread as `config` is lost when the server unloads it (after a minute at rest) or ends, so the
environment of its commands stands in the session's folder (0600) and is given again whenever the thread is loaded.
"""

from __future__ import annotations

import os

from ...errors import DeliveryFailed, LaunchFailed
from ...system import files
from . import daemon, observe, paths, project, protocol, thread_lock, wrapper
from .connection import Silent
from .protocol import METHOD_MISSING, Refused, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..base import Launch, Session
    from .connection import Connection

# What a refusal ends with that comes before a message; nobody cares who has none to send.
UNSENT = "; nothing was sent"
# Of Codex's own words: when it asks, and what its sandbox lets a command do.
_POLICIES = {
    "full": ("never", "danger-full-access"),
    "edit": ("on-request", "workspace-write"),
    "ask": ("untrusted", "read-only"),
    "plan": ("never", "read-only"),
}


def launch(launch: Launch) -> None:
    """Start a thread that can be read before its first turn and survives a crash; see `base.Backend.launch`."""
    session = launch.session
    program = paths.binary(session.environ)
    home = wrapper.home_of(program, launch.environment)
    launch.keep({"home": home})
    environ = dict(launch.environment)
    if environ.get("CODEX_HOME"):
        environ["CODEX_HOME"] = home  # one that is relative means another folder to an agent
    keep_environment(session, environ)
    place = paths.place_of(session.replace(record={**session.record, "backend": {"home": home}}))
    with daemon.ensure(place, session.record["key"], program, environ, launch.timeout) as connection:
        _refuse_without_login(connection)
        level = _settle(connection, launch, home)
        thread = _start(connection, launch, environ, level)
        about = {"thread": thread["id"], "rollout": thread.get("path"), "program": program, "trust_level": level}
        launch.keep({"home": home, **about})
        # A thread is written down when it gets its name: before that, no other connection can read it.
        _write_down(connection, thread["id"], _name(launch))


def _write_down(connection: Connection, thread: str, name: str) -> None:
    try:
        connection.call("thread/name/set", threadId=thread, name=name)
    except Refused as error:
        if error.says(METHOD_MISSING):
            raise daemon.too_old(f"it keeps no thread that has not begun ({error.message})") from error
        raise LaunchFailed(
            f"Codex does not write the thread down: {error.message}", next="fix what it reports, then try again"
        ) from error


def _name(launch: Launch) -> str:
    return f"{launch.session.id}: {launch.session.record.get('description') or 'dev-sessions'}"


def _settle(connection: Connection, launch: Launch, home: str) -> str | None:
    try:
        return project.settle(connection, launch, home)
    except Refused as error:
        raise _unstartable(error) from error


def _start(connection: Connection, launch: Launch, environ: dict[str, str], level: str | None) -> dict[str, Any]:
    try:
        answer = connection.call(
            "thread/start",
            launch.timeout,
            cwd=launch.path,
            config={**_config(environ), **project.config(launch.path, level)},
            **_terms({"permissions": launch.permissions, "model": launch.model}),
        )
    except Refused as error:
        if error.says(METHOD_MISSING):
            raise daemon.too_old(f"it starts no threads ({error.message})") from error
        raise _unstartable(error) from error
    return dict(answer["thread"])


def _unstartable(error: Refused) -> LaunchFailed:
    return LaunchFailed(
        f"Codex starts no thread: {error.message}", next="fix what it reports, then run the same command again"
    )


def _refuse_without_login(connection: Connection) -> None:
    try:
        account = connection.call("account/read", refreshToken=False)
    except Refused:
        return  # a version that does not tell; a turn will
    if account.get("requiresOpenaiAuth") and not account.get("account"):
        _refuse_broken_configuration(connection)
        raise LaunchFailed("Codex is not logged in", next="codex login, then run the same command again")


def _refuse_broken_configuration(connection: Connection) -> None:
    """A server that was started with one (0.139) goes by its defaults: the login is another one, then."""
    try:
        connection.call("config/read")
    except Refused as error:
        if not error.says(METHOD_MISSING):
            raise _unstartable(error) from error


def _config(environment: dict[str, str]) -> dict[str, Any]:
    """Nothing of the server's own environment for the thread's commands, and all of the session's."""
    return {
        "shell_environment_policy": {"inherit": "none", "ignore_default_excludes": True, "set": environment},
        "features.default_mode_request_user_input": True,
        "suppress_unstable_features_warning": True,
        # A snapshot of the shell would hold the environment of the server (0.139).
        "features.shell_snapshot": False,
    }


def _terms(asked: dict[str, Any]) -> dict[str, Any]:
    """On what terms a thread works. Codex writes them down with a turn only: a thread without one would lose them."""
    policy, sandbox = _POLICIES.get(str(asked.get("permissions")), (None, None))
    terms = {"approvalPolicy": policy, "sandbox": sandbox, "model": asked.get("model")}
    return {name: value for name, value in terms.items() if value is not None}


def load(session: Session, connection: Connection) -> None:
    """Have the thread loaded in that server, as it was started.

    Raises:
        DeliveryFailed: somebody else has it, or it is gone.
    """
    try:
        connection.call(
            "thread/resume",
            threadId=session.private["thread"],
            excludeTurns=True,
            config={
                **_config(environment(session)),
                **project.config(session.record["path"], session.private.get("trust_level")),
            },
            **_terms(session.record),
        )
    except Refused as error:
        if observe.held_by(session) not in (None, thread_lock.UNTOLD, connection.peer[0]):
            raise busy_elsewhere(session) from error
        raise DeliveryFailed(
            f"Codex cannot load the thread of {session.id}: {error.message}{UNSENT}",
            next=f"dev-sessions last-message {session.id} for what it said, dev-sessions kill {session.id} to clean up",
        ) from error


def call(session: Session, connection: Connection, method: str, **params: Any) -> Any:
    """A request about the thread, which is loaded first if it is not.

    Raises:
        Refused, Lost, Silent, DeliveryFailed: see `Connection.call` and `load`.
    """
    thread = session.private["thread"]
    try:
        return connection.call(method, threadId=thread, **params)
    except Refused:
        if status(session, connection).kind not in ("", "notLoaded"):
            raise
    load(session, connection)
    return connection.call(method, threadId=thread, **params)


def status(session: Session, connection: Connection, method: str = "thread/read", **params: Any) -> Status:
    """What that server says that the thread does."""
    return status_of(session.private["thread"], connection, method, **params)


def status_of(thread: str, connection: Connection, method: str = "thread/read", **params: Any) -> Status:
    """The same of any thread, by its id."""
    try:
        answer = connection.call(method, threadId=thread, **params)
    except Refused:
        return Status("")
    return protocol.status(answer.get("thread", {}).get("status"))


def busy_elsewhere(session: Session) -> DeliveryFailed:
    return DeliveryFailed(
        f"{session.id} is busy elsewhere: another Codex has its thread open{UNSENT}",
        next="leave that Codex (it lets go of the thread a minute after its last turn), then try again",
    )


def connect(session: Session, timeout: float) -> Connection:
    """A connection to the server of a session's home, which is started again if it is gone.

    Raises:
        DeliveryFailed: another Codex has the thread. LaunchFailed: there is no server, and none could be started.
    """
    place = paths.place_of(session)
    holder = observe.held_by(session)
    try:
        connection = daemon.reach(place)
    except Silent:
        daemon.end_hung(place)
        return _restarted(session, place, timeout)
    if connection is None:
        if holder not in (None, thread_lock.UNTOLD):
            raise busy_elsewhere(session)
        return _restarted(session, place, timeout)
    if holder is not None and holder > 0 and holder != connection.peer[0]:
        connection.close()
        raise busy_elsewhere(session)
    return connection


def _restarted(session: Session, place: paths.Place, timeout: float) -> Connection:
    program = str(session.private.get("program") or "")
    if not os.access(program, os.X_OK):
        program = paths.binary(session.environ)
    return daemon.ensure(place, session.record["key"], program, environment(session) or session.environ, timeout)


def forget(session: Session) -> None:
    """Remove what holds the session's environment, secrets and all."""
    files.remove(_settings_path(session))


def environment(session: Session) -> dict[str, str]:
    """What the thread's commands are to see; empty if nobody knows any more."""
    settings = files.read_json(_settings_path(session))
    return dict((settings.get("environment") if isinstance(settings, dict) else None) or {})


def keep_environment(session: Session, environ: Mapping[str, str]) -> None:
    """Note what the thread's commands are to see."""
    files.write_json(_settings_path(session), {"environment": dict(environ)})


def _settings_path(session: Session) -> str:
    return os.path.join(session.folder.agent_path, "thread.json")
