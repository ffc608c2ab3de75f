"""Loads a thread again: restarts its server if none is running, and takes an archived thread out of the archive."""

from __future__ import annotations

import os
import time

from ...errors import DeliveryFailed, LaunchFailed
from . import daemon, paths, stop, thread, thread_lock
from .connection import Lost, Silent
from .protocol import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Launch, Session


def sleeps(session: Session) -> bool:
    """See `base.Sleeps`. A thread at rest that its server has unloaded (it does so after a minute) does not count."""
    place, holder = paths.place_of(session), thread_lock.held_by(session)
    free = holder in (None, thread_lock.UNKNOWN)
    try:
        connection = daemon.reach(place)
    except Silent:
        server = place.daemon()
        return free or (server is not None and holder == server[0])
    if connection is None:
        return free
    with connection:
        loaded = holder is not None
        if holder == thread_lock.UNKNOWN:
            loaded = thread.status(session.private["thread"], connection).kind not in ("", "notLoaded")
        queued = any(message.queued and message.attempted is None for message in session.folder.messages())
        return not loaded and (queued or _is_newer(session, connection.peer[0]))


def _is_newer(session: Session, server: int) -> bool:
    """True if the server was started after the thread's last activity."""
    started, path = thread_lock.started_at(server, time.time()), paths.rollout_path(session)
    if started is None or path is None:
        return False
    return max(os.stat(path).st_mtime, *session.folder.revivals(), 0.0) < started


def revive(launch: Launch) -> None:
    """Load the thread again, as it was started; see `base.Revives.revive`."""
    session = launch.session
    id, private = session.id, session.private
    if private.get("thread") is None:
        raise LaunchFailed(f"{id} has no thread: its create was interrupted", next=f"dev-sessions kill {id}")
    if paths.record_path(session) is None:
        why = f"the thread of {id} was deleted: there is no rollout {private.get('rollout') or ''}"
        raise LaunchFailed(why.rstrip(), next=f"restore that file, or dev-sessions kill {id}")
    archived = paths.rollout_path(session) is None
    if not thread.environment(session):
        launch.say(f"the environment of {id} is lost; it gets the environment of this command")
        thread.keep_environment(session, launch.environment)
    before = paths.place_of(session).daemon()
    try:
        with thread.connect(session, launch.timeout) as connection:
            stop.end_commands(session)
            if archived:
                connection.call("thread/unarchive", threadId=private["thread"])
            thread.load(session, connection)
    except DeliveryFailed as error:
        raise LaunchFailed(error.message.removesuffix(thread.UNSENT), **error.data) from error
    except Refused as error:
        raise LaunchFailed(
            f"Codex cannot take the thread of {id} out of its archive: {error.message}",
            next=f"codex unarchive {private['thread']}, then run the same command again",
        ) from error
    except (Lost, Silent) as error:
        why = f"the Codex app-server has ended again: {error}"
        raise LaunchFailed(why, next=f"dev-sessions revive {id}") from error
    if paths.place_of(session).daemon() != before:
        launch.say("the Codex app-server was restarted")
    if archived:
        launch.say(f"took the thread of {id} out of Codex's archive")
    launch.keep(private)
