"""Observes a Codex session: its facts, and a probe of its threads.

The app-server is asked only if a call of the model or a goal is open. No process is started and no thread is loaded: a
loaded thread would go on with its goal.
"""

from __future__ import annotations

import os
import time

from ...model import Fact, Probe
from ...system import files, processes
from ..session import Observation, Sources
from . import paths, rollout, subagents, thread_lock, view
from .view import Servers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...model import Message
    from ..base import Session
    from .subagents import Thread
    from .view import View


def observe(sessions: Sequence[Session]) -> list[Observation]:
    """See `base.Backend.observe`."""
    with Servers() as servers:
        return [_observe(session, servers) for session in sessions]


def _observe(session: Session, servers: Servers) -> Observation:
    now = time.time()
    if session.private.get("thread") is None:
        created = Probe(now, True, "busy", now) if session.being_created else None
        return Observation([], created or Probe(now, False, detail="the agent was never started"))
    path = paths.rollout_path(session)
    if path is None:
        archived = paths.record_path(session)
        facts = view.read(session, archived, servers).facts if archived else [*view.past(session).facts]
        return Observation(facts, Probe(now, False, detail="the thread was archived or deleted, or never written"))
    seen = view.read(session, path, servers)
    open = seen.own.story.open
    if open is not None and servers.runner(session, seen.own) is None:
        # The process that ran the turn wrote its end before it released the thread, so the end is there now, or never.
        seen = view.read(session, path, servers)
        if seen.own.story.open == open and not seen.working:
            facts = _with_steered(session, seen)
            try:
                changed = os.stat(path).st_mtime
            except FileNotFoundError:
                changed = time.time()
            died = max(changed, *(fact.at for fact in facts))
            return Observation(facts, Probe(now, True, "idle", died, detail=rollout.DIED))
    facts = _with_steered(session, seen)
    working = [seen.own, *seen.working] if seen.own.story.open is not None else seen.working
    if not working:
        return Observation(facts, _at_rest(session, servers, seen, facts, now))
    probe = Probe(now, True, "busy", max(thread.story.events[-1].at for thread in working))
    asked = [fact for thread in working for fact in _asked(session, servers, thread, seen, now)]
    if asked:
        probe = probe._replace(activity="waiting", since=max(fact.at for fact in asked))
    return Observation([*facts, *asked], probe)


def _at_rest(session: Session, servers: Servers, seen: View, facts: list[Fact], now: float) -> Probe:
    ended, story = max((fact.at for fact in facts), default=0.0), seen.own.story
    # Between two turns of a goal nothing runs for about 10 ms; after an interrupt it does not go on by itself.
    last = next((event.outcome for event in reversed(story.events) if event.kind == "ended"), "")
    active = story.goal is not None and story.goal.get("status") == "active"
    if active and last != "interrupted" and servers.pursues(session, seen.own):
        return Probe(now, True, "busy", ended + 0.001)
    threads = [seen.own, *seen.subagents]
    left = [one for one in threads if one.story.left or one.story.scripts or (one.own and seen.scripts)]
    return Probe(now, True, "idle", ended, background=any(servers.runs_commands(session, one) for one in left))


def _asked(session: Session, servers: Servers, thread: Thread, seen: View, now: float) -> list[Fact]:
    """The open questions of a working thread. An open call may be a question, or a tool that is running."""
    if not servers.waits(session, thread):
        return []
    from . import questions

    requests, calls = servers.requests(session, thread.id), thread.story.calls
    if any(one.call not in (call.id for call in calls) for one in requests):  # begun after the rollout was read
        calls = rollout.read(thread.path, thread.begin).calls
    found = [questions.question(one, calls, now) for one in requests] or [questions.of_call(thread.story.calls[-1])]
    agent, prompt = subagents.subagent(thread), seen.open[0] if seen.open else thread.story.open
    return [Fact("asked", one.since, prompt=prompt, question=one._replace(agent=agent), held=True) for one in found]


# Messages sent during a turn: Codex logs one only when the turn takes it, and never if the turn is ended before that.


def note_steered(session: Session, message: Message, turn: str, known: set[str]) -> None:
    """Note that a message has joined a turn, and remove the notes of messages that Codex has taken.

    Called by writers only.

    Args:
        known: our ids of the messages that Codex has taken.
    """
    others = [one for one in _steered(session) if one["number"] != message.number]
    noted = [one for one in others if view.client_id(session, one["number"]) not in known]
    noted.append({"number": message.number, "turn": turn, "at": time.time()})
    files.write_json(_steered_path(session), noted, durable=True)


def is_steered(session: Session, number: int) -> bool:
    """True if it is noted that the message has joined a turn."""
    return any(note.get("number") == number for note in _steered(session))


def _steered(session: Session) -> list[dict[str, Any]]:
    value = files.read_json(_steered_path(session))
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _steered_path(session: Session) -> str:
    return os.path.join(session.folder.agent_path, "steered.json")


def _with_steered(session: Session, seen: View) -> list[Fact]:
    notes = _steered(session)
    if not notes:
        return seen.facts
    facts, known = [*seen.facts], view.clients(session, seen.own.story)
    for note in notes:
        message = session.folder.message(int(note["number"]))
        if message is not None and view.client_id(session, message.number) not in known:
            facts += rollout.joined(float(note["at"]), message.wire, note["turn"])
    return sorted(facts, key=lambda fact: fact.at)


def sources(session: Session) -> Sources:
    """What to watch; see `base.Backend.sources`."""
    watched = [session.folder.messages_path, session.folder.path]
    path, daemon = paths.rollout_path(session), paths.place_of(session).daemon()
    watched_processes = {daemon} if daemon and processes.is_running(*daemon) else set()
    if path is not None:
        known = view.past(session)
        agents = subagents.family(session.private["home"], dict(known.subagents), rollout.read(path, known.size))
        watched += [path, *(agent.path for agent in agents)]
        holder = thread_lock.held_by(session)  # may be another Codex's server
        started = processes.start_time(holder) if holder and holder > 0 else None
        watched_processes |= {(holder, started)} if holder and started else set()
    return Sources(tuple(watched), tuple(watched_processes))
