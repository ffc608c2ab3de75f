"""Reads the threads of a session and its subagents from their rollouts and from the app-server.

The beginning of a long rollout comes from a file of ours, so a long session is as quick to read as a short one. No
process is started and no thread is loaded.
"""

from __future__ import annotations

import os
import time

from ...model import Fact
from ...system import files
from ...turns import rests
from ...values import NamedTuple
from . import paths, rollout, subagents, thread_lock
from .subagents import Thread, Whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..base import Session
    from .connection import Connection
    from .protocol import Status
    from .questions import Request

# A server that hangs must not hang a reader. Seconds.
_ASK_SECONDS = 2.0
# A server may report a thread as idle for about 50 ms after its turn has begun. Seconds.
_SETTLED = 1.0
# How often a server is asked again about a subagent that was just joined; twice is usually enough (5 ms each).
_STATUS_READS = 6
# Our file is rewritten only when the rollout has grown by this much. Bytes.
_WORTH = 200_000
# How often a rollout is read again if it grows while those of subagents are read.
_TRIES = 5


class Servers:
    """Asks the system and the app-servers about threads during one read. Use as a context manager.

    It has one connection to each server, made when first needed.
    """

    def __init__(self) -> None:
        self._open: dict[str, Connection | None] = {}

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open.values():
            if connection is not None:
                connection.close()

    def runner(self, session: Session, thread: Thread) -> int | None:
        """The process that runs the open turn of a thread (see `thread_lock.holder`); None if there is none."""
        holder = thread_lock.held_by(session, thread.id, thread.path) if thread.story.open is not None else None
        if holder is None:
            return None
        events, now = thread.story.events, time.time()
        if holder == thread_lock.UNKNOWN and now - events[-1].at > _SETTLED:
            status = self.status(session, thread.id, holder)
            return holder if status is not None and status.kind == "active" else None
        if holder <= 0:
            return holder
        # A process that was started after the turn began does not run it; the one that did has ended.
        started = thread_lock.started_at(holder, now)
        if started is not None and started <= next(event.at for event in reversed(events) if event.kind == "began"):
            return holder
        # But the clock may have been changed, so the server is asked, if possible.
        status = self.status(session, thread.id, holder)
        runs = started is None if status is None else status.kind in ("active", "")
        return holder if runs else None

    def status(self, session: Session, thread: str, holder: int) -> Status | None:
        """The status of a thread, if the server that holds it can be asked."""
        from .protocol import status

        answer = self._ask(session, thread, holder, "thread/read")
        return None if answer is None else status(answer.get("thread", {}).get("status"))

    def waits(self, session: Session, thread: Thread) -> bool:
        """True if a thread with an open call waits for a person's answer, which only its server knows.

        The server does not know this for a subagent that no client has joined (0.146, 0.171). So we join the
        subagent, which does not affect it; a moment later the server knows about earlier questions, too.
        """
        holder = self.runner(session, thread) if thread.story.calls else None
        status = None if holder is None else self.status(session, thread.id, holder)
        if status is None or holder is None or status.waiting or status.kind != "active" or thread.own:
            return status is not None and status.waiting
        self._ask(session, thread.id, holder, "thread/resume", excludeTurns=True)
        later = (self.status(session, thread.id, holder) for _ in range(_STATUS_READS))
        return any(one is not None and one.waiting for one in later)

    def requests(self, session: Session, thread: str) -> list[Request]:
        """The open requests of a thread for which `waits` has just returned True."""
        from . import questions
        from .connection import Lost, Silent

        connection = self._open.get(paths.place_of(session).socket)
        try:
            return questions.requests(connection, thread) if connection else []
        except (Lost, Silent):
            return []

    def runs_commands(self, session: Session, thread: Thread) -> bool:
        """True if commands of a thread's turns may still be running; they end when it is unloaded."""
        holder = thread_lock.held_by(session, thread.id, thread.path)
        if holder is None:
            return False
        answer = self._ask(session, thread.id, holder, "thread/backgroundTerminals/list")
        return answer is None or bool(answer.get("data"))

    def pursues(self, session: Session, thread: Thread) -> bool:
        """True if a thread is loaded and has an active goal."""
        holder = thread_lock.held_by(session, thread.id, thread.path)
        answer = None if holder is None else self._ask(session, thread.id, holder, "thread/goal/get")
        return bool(answer and answer.get("goal") and answer["goal"].get("status") == "active")

    def _ask(self, session: Session, thread: str, holder: int, method: str, **params: Any) -> dict[str, Any] | None:
        from . import daemon
        from .connection import Lost, Silent
        from .protocol import Refused

        place = paths.place_of(session)
        try:
            if place.socket not in self._open:
                self._open[place.socket] = None
                self._open[place.socket] = daemon.reach(place, _ASK_SECONDS)
            connection = self._open[place.socket]
            if connection is None or (holder > 0 and holder != connection.peer[0]):
                return None
            return dict(connection.call(method, _ASK_SECONDS, threadId=thread, **params))
        except (Refused, Lost, Silent):
            return None


class View(NamedTuple):
    """The threads of a session.

    Attributes:
        facts: those of the whole session; the work of its subagents is part of its turns.
        own: its own thread.
        subagents: its subagents; `working` are those that are working now.
        open: the turns of Codex that together are the open turn, which began at `began`; empty if none is open.
        scripts: scripts have run commands in a part of the rollout that was not read.
    """

    facts: list[Fact]
    own: Thread
    subagents: list[Thread]
    working: list[Thread]
    open: list[str | None]
    began: float
    scripts: bool


class Past(NamedTuple):
    """The part of a session that is in our own file, so that its rollouts need not be read from the beginning.

    Attributes:
        size: the byte of the rollout where this part ends.
        facts: the facts in it, without old ones that nothing depends on (see `keep_past`).
        clients: our ids of the messages that Codex has taken in it.
        subagents: the subagents in it, each with the byte from which its rollout must still be read.
        scripts: see `View`.
    """

    size: int = 0
    facts: tuple[Fact, ...] = ()
    clients: tuple[str, ...] = ()
    subagents: tuple[tuple[str, int], ...] = ()
    scripts: bool = False


def read(session: Session, path: str, servers: Servers | None = None) -> View:
    """Read the rollout `path` of a session's thread, and those of its subagents."""
    if servers is None:
        with Servers() as servers:
            return read(session, path, servers)
    known = past(session)
    for _ in range(_TRIES):
        own = Thread(session.private["thread"], path, known.size, rollout.read(path, known.size), own=True)
        agents, working = [], []
        for agent in subagents.family(session.private["home"], dict(known.subagents), own.story):
            runs = servers.runner(session, agent) is not None
            if agent.story.open is not None and not runs:
                # The process that ran it wrote its end before it released the thread.
                agent = agent._replace(story=rollout.read(agent.path, agent.begin))
            agents.append(agent)
            working += [agent] if runs else []
        if own.story.open is not None or not agents or rollout.read(path, own.story.size).size == own.story.size:
            break  # otherwise the agent may have gone on before we saw that a subagent had ended
    spans = subagents.spans(agents, [agent.id for agent in working])
    whole = Whole(own.story.events, spans, agents)
    facts = [*known.facts, *rollout.facts(whole.events)]
    return View(facts, own, agents, working, whole.open, whole.began, known.scripts)


def working(session: Session, path: str) -> list[Thread]:
    """The threads of a session in which a turn is running, its own first."""
    with Servers() as servers:
        seen = read(session, path, servers)
        return [*([seen.own] if servers.runner(session, seen.own) is not None else ()), *seen.working]


def client_id(session: Session, number: int) -> str:
    """Our id of a message, which Codex stores with it."""
    return f"{session.record['key']}/{number}"


def clients(session: Session, story: rollout.Story) -> set[str]:
    """Our ids of all messages that Codex has taken."""
    return {*story.clients(), *past(session, True).clients}


def past(session: Session, always: bool = False) -> Past:
    """The part of a session that is in our own file; empty if the folder is to be read as a whole.

    Args:
        always: read the file even then.
    """
    value = files.read_json(_past_path(session)) if always or not session.folder.whole else None
    if not isinstance(value, dict) or not isinstance(value.get("size"), int):
        return Past()
    facts = tuple(Fact(**fields) for fields in value.get("facts") or ())
    threads = value.get("agents")
    agents = tuple(threads.items()) if isinstance(threads, dict) else ()
    return Past(value["size"], facts, tuple(value.get("clients") or ()), agents, bool(value.get("scripts")))


def keep_past(session: Session, path: str) -> rollout.Story:
    """Store the content of the rollout so far, if no turn is running; returns its newest part. For writers only."""
    with Servers() as servers:
        seen = read(session, path, servers)
        story = seen.own.story
        # Our file has no goals and no running commands, so a thread with a goal is always read from its beginning.
        over = not seen.open and not seen.working and story.goal is None
        if not over or story.size - seen.own.begin <= _WORTH:
            return story
        left = [one for one in (seen.own, *seen.subagents) if one.story.left]
        if any(thread_lock.held_by(session, one.id, one.path) is not None for one in left):
            return story
    # Later facts do not depend on the facts of compacted messages.
    messages, facts = session.folder.messages(), seen.facts
    if messages and session.folder.past.stamp():
        oldest = min(message.created for message in messages)
        rest = max((at for at in rests(messages, facts) if at < oldest), default=0.0)
        facts = [fact for fact in facts if fact.at > rest]
    shown = [{name: value for name, value in fact._asdict().items() if name != "question"} for fact in facts]
    kept: dict[str, Any] = {
        "size": story.size,
        "facts": shown,
        "clients": sorted(clients(session, story)),
        "agents": {agent.id: agent.story.size for agent in seen.subagents},
        "scripts": seen.scripts or story.scripts,
    }
    files.write_json(_past_path(session), kept, durable=True)
    return story


def _past_path(session: Session) -> str:
    return os.path.join(session.folder.agent_path, "past.json")
