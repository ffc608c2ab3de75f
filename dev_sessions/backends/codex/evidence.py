"""All that can be known of a Codex thread: its rollout, who holds it, and only where a call of the model is open, what
the app-server says. Nothing is started, and nothing is loaded: a loaded thread would go on with its goal.
"""

from __future__ import annotations

import os
import time

from ... import files, processes
from ...model import Fact, Message, Probe
from ...turns import rests
from ..session import Observation, Sources
from . import holders, places, rollout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..base import Session
    from .connection import Connection
    from .protocol import Status
    from .questions import Request

# A server that hangs must not hang our readers. Seconds.
_ASK_SECONDS = 2.0
# What died, if a turn has no end and nobody runs it. It was the server of somebody else's Codex, perhaps.
DIED = "the Codex app-server ended in the middle of the turn"
# A server may call a thread idle for some 50 ms after its turn has begun. Seconds.
_SETTLED = 1.0


def observe(sessions: Sequence[Session]) -> list[Observation]:
    """See `base.Backend.observe`."""
    line = _Line()
    try:
        return [_observe(session, line) for session in sessions]
    finally:
        line.close()


def _observe(session: Session, line: _Line) -> Observation:
    now = time.time()
    if session.private.get("thread") is None:
        return Observation([], _unborn(session, now))
    path = rollout_path(session)
    if path is None:
        gone = "the thread was archived or deleted, or never written"
        archived = record_path(session)
        facts = told(session, archived)[0] if archived else past(session)[1]
        return Observation(facts, Probe(now, False, detail=gone))
    facts, story = told(session, path)
    holder = _holder(session, story, line, now)
    if story.open is not None and holder is None:
        # Whoever ran it wrote its end before he let go of the thread: if that is not there now, it will not come.
        facts, again = told(session, path)
        if again.open == story.open:
            died = max(_last_change(path), *(fact.at for fact in facts))
            return Observation(_with_steered(session, again, facts), Probe(now, True, "idle", died, detail=DIED))
        story = again
    facts = _with_steered(session, story, facts)
    if story.open is not None:
        probe = Probe(now, True, "busy", story.events[-1].at)
        asked = _asked(session, line, story, holder, now) if story.calls and holder is not None else []
        if asked:
            probe = probe._replace(activity="waiting", since=asked[-1].at)
        return Observation([*facts, *asked], probe)
    return Observation(facts, _at_rest(session, line, story, facts, now))


def _holder(session: Session, story: rollout.Story, line: _Line, now: float) -> int | None:
    """Who runs the open turn; None if nobody does, or none is open."""
    if story.open is None:
        return None
    holder = held_by(session)
    if holder == holders.UNTOLD and now - story.events[-1].at > _SETTLED:
        status = line.status(session, holder)
        return holder if status is not None and status.kind == "active" else None
    return holder if holder is None or _may_run(session, story, holder, line, now) else None


def _may_run(session: Session, story: rollout.Story, holder: int, line: _Line, now: float) -> bool:
    """False if whoever holds the thread was born after its turn had begun: the one who ran it is dead."""
    if holder <= 0:
        return True
    began = next(event.at for event in reversed(story.events) if event.kind == "began")
    born = holders.born(holder, now)
    if born is not None and born <= began:
        return True
    # The clock may have been set meanwhile, so it is asked, if it can be.
    status = line.status(session, holder)
    return born is None if status is None else status.kind in ("active", "")


def _at_rest(session: Session, line: _Line, story: rollout.Story, facts: list[Fact], now: float) -> Probe:
    ended = max((fact.at for fact in facts), default=0.0)
    if _goal_may_go_on(story) and line.pursues(session):
        return Probe(now, True, "busy", ended + 0.001)
    return Probe(now, True, "idle", ended, background=story.left > 0 and line.runs_commands(session))


def _goal_may_go_on(story: rollout.Story) -> bool:
    """Between two turns of a goal nothing runs for some 10 ms; an interrupted one does not go on by itself."""
    if not story.goal or story.goal.get("status") != "active":
        return False
    ends = [event for event in story.events if event.kind == "ended"]
    return not ends or ends[-1].outcome != "interrupted"


def _asked(session: Session, line: _Line, story: rollout.Story, holder: int, now: float) -> list[Fact]:
    """What the thread asks now. An open call may be a question, or a tool that runs: only the server can tell."""
    status = line.status(session, holder)
    if status is None or not status.waiting:
        return []
    from . import questions

    requests = line.requests(session)
    calls = {call.id: call for call in story.calls}
    if any(one.call not in calls for one in requests):  # it has begun after the record was read
        path = rollout_path(session)
        calls |= {call.id: call for call in rollout.read(path, past(session)[0]).calls} if path else {}
    found = [questions.question(one, calls.get(one.call), now) for one in requests]
    found = found or [questions.of_call(story.calls[-1])]
    return [Fact("asked", one.since, prompt=story.open, question=one, held=True) for one in found]


def told(session: Session, path: str) -> tuple[list[Fact], rollout.Story]:
    """The facts of the whole thread, and the story of its newest part."""
    begin, before = past(session)
    story = rollout.read(path, begin)
    return [*before, *rollout.facts(story.events)], story


class _Line:
    """One connection for all looks of one read, made when it is needed first."""

    def __init__(self) -> None:
        self._open: dict[str, Connection | None] = {}

    def status(self, session: Session, holder: int) -> Status | None:
        """What the thread does, if the server that holds it can be asked."""
        from .protocol import status

        answer = self._ask(session, holder, "thread/read")
        return None if answer is None else status(answer.get("thread", {}).get("status"))

    def requests(self, session: Session) -> list[Request]:
        """What the thread asks, which has just said that it waits."""
        from . import questions
        from .connection import Lost, Silent

        connection = self._open.get(places.place_of(session).socket)
        try:
            return questions.requests(connection, session.private["thread"]) if connection else []
        except (Lost, Silent):
            return []

    def runs_commands(self, session: Session) -> bool:
        """True if the thread is at hand, and nobody denies that commands of its turns go on."""
        holder = held_by(session)
        if holder is None:
            return False  # they end with the thread's unloading
        answer = self._ask(session, holder, "thread/backgroundTerminals/list")
        return answer is None or bool(answer.get("data"))

    def pursues(self, session: Session) -> bool:
        """True if the thread is at hand, and has a goal that is active."""
        holder = held_by(session)
        if holder is None:
            return False
        answer = self._ask(session, holder, "thread/goal/get")
        return bool(answer and answer.get("goal") and answer["goal"].get("status") == "active")

    def _ask(self, session: Session, holder: int, method: str) -> dict[str, Any] | None:
        from . import daemon
        from .connection import Lost, Silent
        from .protocol import Refused

        place = places.place_of(session)
        try:
            if place.socket not in self._open:
                self._open[place.socket] = None
                self._open[place.socket] = daemon.reach(place, _ASK_SECONDS)
            connection = self._open[place.socket]
            if connection is None or (holder > 0 and holder != connection.peer[0]):
                return None
            return dict(connection.call(method, _ASK_SECONDS, threadId=session.private["thread"]))
        except (Refused, Lost, Silent):
            return None

    def close(self) -> None:
        for connection in self._open.values():
            if connection is not None:
                connection.close()


def record_path(session: Session) -> str | None:
    """Where the thread's record is, for whoever only reads it: also one that was archived."""
    if session.private.get("thread") is None:
        return None
    return rollout_path(session) or rollout.find_archived(session.private["home"], session.private["thread"])


def rollout_path(session: Session) -> str | None:
    """Where the record of a thread is that can still be talked to."""
    private = session.private
    return rollout.find(private["home"], private["thread"], private.get("rollout"))


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


# What the rollout told long ago, so that a long thread is as quick to read as a short one.


def past(session: Session) -> tuple[int, list[Fact]]:
    """Up to which byte of the rollout the facts are known, and these; but for what is long behind (see `keep_past`)."""
    if session.folder.whole:
        return 0, []
    value = files.read_json(_past_path(session))
    if not isinstance(value, dict) or not isinstance(value.get("size"), int):
        return 0, []
    return value["size"], [Fact(**fields) for fields in value.get("facts") or ()]


def clients(session: Session, story: rollout.Story) -> set[str]:
    """Our ids of the messages that Codex has got to, ever."""
    value = files.read_json(_past_path(session))
    return {*story.clients(), *(value.get("clients") or () if isinstance(value, dict) else ())}


def keep_past(session: Session, path: str) -> rollout.Story:
    """Note what the rollout has told so far, if no turn runs. Returns the newest of it. Called by writers only."""
    begin, before = past(session)
    story = rollout.read(path, begin)
    # What has a goal is told from its beginning: the past keeps none. Nor does it keep what was left running.
    over = story.open is None and story.goal is None and not (story.left and held_by(session) is not None)
    if over and story.size - begin > _WORTH:
        facts = _at_hand(session, [*before, *rollout.facts(story.events)])
        shown = [{name: value for name, value in fact._asdict().items() if name != "question"} for fact in facts]
        known = sorted(clients(session, story))
        files.write_json(_past_path(session), {"size": story.size, "facts": shown, "clients": known})
    return story


def held_by(session: Session) -> int | None:
    """Who has the thread in hand, see `holders`; most probably the server that we know."""
    daemon = places.place_of(session).daemon()
    private = session.private
    return holders.holder(private["home"], private["thread"], rollout_path(session), daemon[0] if daemon else None)


def _at_hand(session: Session, facts: list[Fact]) -> list[Fact]:
    """The facts without those of messages that were put behind: nothing that came later depends on them."""
    messages = session.folder.messages()
    if not messages or not session.folder.past.stamp():
        return facts
    first = min(message.created for message in messages)
    over = max((at for at in rests(messages, facts) if at < first), default=0.0)
    return [fact for fact in facts if fact.at > over]


_WORTH = 200_000


def _past_path(session: Session) -> str:
    return os.path.join(session.folder.agent_path, "past.json")


def sources(session: Session) -> Sources:
    """What to watch; see `base.Backend.sources`."""
    paths = [session.folder.messages_path, session.folder.path]
    path = rollout_path(session) if session.private.get("thread") is not None else None
    daemon = places.place_of(session).daemon()
    watched = {daemon} if daemon and processes.is_running(*daemon) else set()
    if path is not None:
        paths.append(path)
        watched |= _process(held_by(session))
    return Sources(tuple(paths), tuple(watched))


def _process(holder: int | None) -> set[tuple[int, str]]:
    """The process that holds the thread, which may be somebody else's server."""
    started = processes.start_time(holder) if holder and holder > 0 else None
    return {(holder, started)} if holder and started else set()
