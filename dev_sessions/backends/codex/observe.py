"""All that can be known of a Codex thread: its rollout, who holds it, and only where a call of the model is open, what
the app-server says. Nothing is started, and nothing is loaded: a loaded thread would go on with its goal.
"""

from __future__ import annotations

import os
import time

from ...model import Fact, Message, Probe
from ...system import files, processes
from ..session import Observation, Sources
from . import paths, rollout, rollouts, subagents, thread_lock
from .look import Look
from .view import clients, past, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..base import Session
    from .subagents import Thread
    from .view import View


def observe(sessions: Sequence[Session]) -> list[Observation]:
    """See `base.Backend.observe`."""
    with Look() as look:
        return [_observe(session, look) for session in sessions]


def _observe(session: Session, look: Look) -> Observation:
    now = time.time()
    if session.private.get("thread") is None:
        return Observation([], _unborn(session, now))
    path = rollout_path(session)
    if path is None:
        gone = "the thread was archived or deleted, or never written"
        archived = record_path(session)
        facts = told(session, archived, look).facts if archived else [*past(session).facts]
        return Observation(facts, Probe(now, False, detail=gone))
    view = told(session, path, look)
    open = view.own.story.open
    if open is not None and look.runner(session, view.own) is None:
        # Whoever ran it wrote its end before he let go of the thread: if that is not there now, it will not come.
        view = told(session, path, look)
        if view.own.story.open == open and not view.working:
            facts = _with_steered(session, view.own.story, view.facts)
            died = max(_last_change(path), *(fact.at for fact in facts))
            return Observation(facts, Probe(now, True, "idle", died, detail=rollout.DIED))
    facts = _with_steered(session, view.own.story, view.facts)
    working = [view.own, *view.working] if view.own.story.open is not None else view.working
    if not working:
        return Observation(facts, _at_rest(session, look, view, facts, now))
    probe = Probe(now, True, "busy", max(thread.story.events[-1].at for thread in working))
    asked = [fact for thread in working for fact in _asked(session, look, thread, view, now)]
    if asked:
        probe = probe._replace(activity="waiting", since=max(fact.at for fact in asked))
    return Observation([*facts, *asked], probe)


def _at_rest(session: Session, look: Look, view: View, facts: list[Fact], now: float) -> Probe:
    ended = max((fact.at for fact in facts), default=0.0)
    if _goal_may_go_on(view.own.story) and look.pursues(session, view.own):
        return Probe(now, True, "busy", ended + 0.001)
    threads = [view.own, *view.subagents]
    left = [one for one in threads if one.story.left or one.story.scripts or (one.own and view.scripts)]
    return Probe(now, True, "idle", ended, background=any(look.runs_commands(session, one) for one in left))


def _goal_may_go_on(story: rollout.Story) -> bool:
    """Between two turns of a goal nothing runs for some 10 ms; an interrupted one does not go on by itself."""
    if not story.goal or story.goal.get("status") != "active":
        return False
    ends = [event for event in story.events if event.kind == "ended"]
    return not ends or ends[-1].outcome != "interrupted"


def _asked(session: Session, look: Look, thread: Thread, view: View, now: float) -> list[Fact]:
    """What a thread at work asks now. An open call may be a question, or a tool that runs."""
    if not look.waits(session, thread):
        return []
    from . import questions

    requests = look.requests(session, thread.id)
    calls = thread.story.calls
    if any(one.call not in (call.id for call in calls) for one in requests):  # it has begun after the record was read
        calls = rollout.read(thread.path, thread.begin).calls
    found = [questions.question(one, calls, now) for one in requests]
    found = found or [questions.of_call(thread.story.calls[-1])]
    agent = subagents.subagent(thread)
    prompt = view.open[0] if view.open else thread.story.open
    return [Fact("asked", one.since, prompt=prompt, question=one._replace(agent=agent), held=True) for one in found]


def record_path(session: Session) -> str | None:
    """Where the thread's record is, for whoever only reads it: also one that was archived."""
    if session.private.get("thread") is None:
        return None
    return rollout_path(session) or rollouts.find_archived(session.private["home"], session.private["thread"])


def rollout_path(session: Session) -> str | None:
    """Where the record of a thread is that can still be talked to."""
    private = session.private
    return rollouts.find(private["home"], private["thread"], private.get("rollout"))


def _last_change(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return time.time()


def _unborn(session: Session, now: float) -> Probe:
    """No thread yet: it is being created, or its creator died before."""
    if session.being_created:
        return Probe(now, True, "busy", now)
    return Probe(now, False, detail="the agent was never started")


# What was taken while a turn ran: Codex writes it down only when the turn gets to it, or never, if the turn is ended.


def note_steered(session: Session, message: Message, turn: str, known: set[str]) -> None:
    """Write down that a message has joined a turn; those that Codex has got to by now, by our ids, need no note.

    Called by writers only.
    """
    noted = [
        one
        for one in _steered(session)
        if one["number"] != message.number and client_id(session, one["number"]) not in known
    ]
    noted.append({"number": message.number, "turn": turn, "at": time.time()})
    files.write_json(_steered_path(session), noted, durable=True)


def is_steered(session: Session, number: int) -> bool:
    """True if the message is noted to have joined a turn."""
    return any(note.get("number") == number for note in _steered(session))


def _steered(session: Session) -> list[dict[str, Any]]:
    value = files.read_json(_steered_path(session))
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _steered_path(session: Session) -> str:
    return os.path.join(session.folder.agent_path, "steered.json")


def _with_steered(session: Session, story: rollout.Story, facts: list[Fact]) -> list[Fact]:
    notes = _steered(session)
    if not notes:
        return facts
    added: list[Fact] = []
    known = clients(session, story)
    for note in notes:
        message = session.folder.message(int(note["number"]))
        if message is not None and client_id(session, message.number) not in known:
            added += rollout.joined(float(note["at"]), message.wire, note["turn"])
    return sorted([*facts, *added], key=lambda fact: fact.at)


def client_id(session: Session, number: int) -> str:
    """Our id of a message, which Codex keeps with it."""
    return f"{session.record['key']}/{number}"


def held_by(session: Session) -> int | None:
    """Who has the thread in hand, see `holders`; most probably the server that we know."""
    daemon = paths.place_of(session).daemon()
    private = session.private
    return thread_lock.holder(private["home"], private["thread"], rollout_path(session), daemon[0] if daemon else None)


def sources(session: Session) -> Sources:
    """What to watch; see `base.Backend.sources`."""
    watched_paths = [session.folder.messages_path, session.folder.path]
    path = rollout_path(session) if session.private.get("thread") is not None else None
    daemon = paths.place_of(session).daemon()
    watched = {daemon} if daemon and processes.is_running(*daemon) else set()
    if path is not None:
        behind = past(session)
        found = subagents.family(session.private["home"], dict(behind.subagents), rollout.read(path, behind.size))
        watched_paths += [path, *(agent.path for agent in found)]
        watched |= _process(held_by(session))
    return Sources(tuple(watched_paths), tuple(watched))


def _process(holder: int | None) -> set[tuple[int, str]]:
    """The process that holds the thread, which may be somebody else's server."""
    started = processes.start_time(holder) if holder and holder > 0 else None
    return {(holder, started)} if holder and started else set()
