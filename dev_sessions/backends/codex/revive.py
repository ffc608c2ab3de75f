"""Bringing a thread back: its server is started again if none runs, an archived thread is taken out of the archive."""

from __future__ import annotations

import os
import time

from ...errors import DeliveryFailed, LaunchFailed
from . import daemon, leftovers, observe, paths, thread, thread_lock
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Launch, Session
    from .connection import Connection


def sleeps(session: Session) -> bool:
    """See `base.Sleeps`. A thread at rest that its server has unloaded (it does so after a minute) lacks nothing."""
    place, holder = paths.place_of(session), observe.held_by(session)
    try:
        connection = daemon.reach(place)
    except Silent:
        server = place.daemon()
        return holder in (None, thread_lock.UNTOLD) or (server is not None and holder == server[0])
    if connection is None:
        return holder in (None, thread_lock.UNTOLD)
    with connection:
        loaded = holder is not None
        if holder == thread_lock.UNTOLD:
            loaded = thread.status(session, connection).kind not in ("", "notLoaded")
        return not loaded and (_has_queued(session) or _died_before(session, connection.peer[0]))


def _has_queued(session: Session) -> bool:
    return any(message.queued and message.attempted is None for message in session.folder.messages())


def _died_before(session: Session, server: int) -> bool:
    """True if the server is another one than that under which the thread did something last."""
    born = thread_lock.born(server, time.time())
    path = observe.rollout_path(session)
    if born is None or path is None:
        return False
    return max(os.stat(path).st_mtime, *session.folder.revivals(), 0.0) < born


def revive(launch: Launch) -> None:
    """Load the thread again, as it was started; see `base.Revives.revive`."""
    session = launch.session
    if observe.record_path(session) is None:
        raise _lost(session)
    archived = observe.rollout_path(session) is None
    if not thread.environment(session):
        launch.say(f"the environment that {session.id} had is lost; it gets that of this command")
        thread.keep_environment(session, launch.environment)
    before = paths.place_of(session).daemon()
    try:
        with thread.connect(session, launch.timeout) as connection:
            leftovers.end_all(session)
            if archived:
                _unarchive(session, connection)
            thread.load(session, connection)
    except DeliveryFailed as error:
        raise LaunchFailed(error.message.removesuffix(thread.UNSENT), **error.data) from error
    except (Lost, Silent) as error:
        why = f"the Codex app-server has gone again: {error}"
        raise LaunchFailed(why, next=f"dev-sessions revive {session.id}") from error
    _tell(launch, archived, paths.place_of(session).daemon() != before)
    launch.keep(session.private)


def _tell(launch: Launch, archived: bool, started: bool) -> None:
    id = launch.session.id
    if started:
        launch.say("the Codex app-server was started again")
    if archived:
        launch.say(f"the thread of {id} was archived; it is taken out of the archive")


def _unarchive(session: Session, connection: Connection) -> None:
    try:
        connection.call("thread/unarchive", threadId=session.private["thread"])
    except Refused as error:
        raise LaunchFailed(
            f"Codex does not take the thread of {session.id} out of its archive: {error.message}",
            next=f"codex unarchive {session.private['thread']}, then run the same command again",
        ) from error


def _lost(session: Session) -> LaunchFailed:
    if session.private.get("thread") is None:
        why, remedy = f"{session.id} has no thread: its create was cut", ""
    else:
        why = f"the thread of {session.id} was deleted: there is no rollout {session.private.get('rollout') or ''}"
        remedy = "restore that file, or "
    return LaunchFailed(why.rstrip(), next=f"{remedy}dev-sessions kill {session.id}")
