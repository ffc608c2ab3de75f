"""The end of a session, and a person's way into it: `kill`, `attach`."""

from __future__ import annotations

import os
import shutil
import signal

from .. import files, processes
from ..backends.base import Attaches
from ..errors import SessionNotFound, StoreError, Unsupported
from .conversation import refuse_unless_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from ..backends.base import Session
    from .house import House


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
        _archive(house, session)
        done.append({"session": session.id, "outcome": "killed"})
        yield done[-1]
    return done


def _archive(house: House, session: Session) -> None:
    """Folder first, registry second: cut in between, the session is still listed, and can be killed again."""
    folder = session.folder
    try:
        # Nobody delivers any more: whoever holds the lock fails with the agent gone.
        with house.store.lock(folder.lock_path):
            start = os.path.join(folder.agent_path, "start.sh")
            if os.path.exists(start):
                os.unlink(start)  # it holds the agent's environment, secrets and all
            files.make_folder(house.store.archive_folder)
            os.utime(folder.path)
            os.rename(folder.path, os.path.join(house.store.archive_folder, session.record["key"]))
    except (OSError, StoreError, SessionNotFound):
        if os.path.exists(os.path.join(folder.path, "record.json")):
            raise
        shutil.rmtree(
            folder.path, ignore_errors=True
        )  # archived by another kill; only our lock stands there, if anything
    house.store.remove(session.record)


def attach(house: House, params: dict[str, Any], request_id: str) -> dict[str, Any]:
    """The command that puts a person's terminal on the session `id`: {"session", "argv"}."""
    session = house.session(params["id"])
    backend = house.backend(session)
    if not isinstance(backend, Attaches):
        raise Unsupported(
            f"{session.record['cli']} has no terminal to attach to",
            next=f"dev-sessions last-message {session.id}",
            capability="attach",
        )
    refuse_unless_there(session, house.state(session))
    return {"session": session.id, "argv": backend.attach_command(session)}
