"""The sessions of one state folder, as operations use them."""

from __future__ import annotations

import json
from contextlib import contextmanager

from .. import turns
from ..backends import load
from ..backends import session as backend_session
from ..errors import LaunchFailed, SessionNotFound, Unsupported, UsageError
from ..model import EXITED, Fact, State
from ..operations import to_send
from ..state.folder import Folder
from ..state.registry import Store
from ..values import as_number
from ..wire import Frame
from .confinement import may_reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, TypeVar

    from ..backends.base import Backend
    from ..backends.session import Observation, Sources
    from ..config import Settings
    from ..model import Message

    Capability = TypeVar("Capability")

# Fields of a record that concern only us or the backend.
_PRIVATE = ("key", "adapter", "backend", "creator", "request_id", "ready_at", "from_elsewhere")

# What an agent without a capability cannot do, and what to do instead.
_UNSUPPORTED = {
    "attach": ("has no terminal to attach to", "dev-sessions last-message {id}"),
    "goal": ("does not pursue goals", "dev-sessions send {id} 'MESSAGE'"),
    "interrupt": ("cannot be interrupted", "dev-sessions wait {id}, or dev-sessions kill {id}"),
    "press": ("does not take keys", "dev-sessions attach {id}"),
    "respond": ("does not take answers this way", "dev-sessions attach {id}"),
    "revive": (
        "cannot be revived",
        "dev-sessions last-message {id} for its last reply, dev-sessions kill {id} to clean up",
    ),
}


class Context:
    """The settings, the registry and the backends of one operation, and its notes to the user."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._notes: list[str] = []
        self._backends: dict[str, Backend] = {}
        self.store = Store(settings.home, self.say)

    def say(self, note: str) -> None:
        """Add a note of one sentence for the user; it is sent with the next frame."""
        self._notes.append(note)

    def notes(self) -> Iterator[Frame]:
        """The notes since the last call, as event frames."""
        notes, self._notes = self._notes, []
        return (Frame("event", {"note": note}) for note in notes)

    def records(self) -> dict[str, dict[str, Any]]:
        """The records of all sessions that the caller may reach, by id."""
        return {id: record for id, record in self.store.load().items() if may_reach(self.settings, record)}

    def session(self, id: str) -> Session:
        """The session with this id.

        Raises:
            SessionNotFound: there is none.
        """
        return self.sessions([id])[0]

    def sessions(self, ids: Sequence[str]) -> list[Session]:
        """The sessions with these ids, each once.

        Raises:
            SessionNotFound: one of the ids is unknown.
        """
        records = self.records()
        for id in ids:
            if id not in records:
                raise SessionNotFound(f"no session called {id!r}", next="dev-sessions list")
        return [Session(self, records[id]) for id in dict.fromkeys(ids)]

    def group(self, name: str | None = None) -> list[Session]:
        """The sessions of a group, or all sessions."""
        records = self.records().values()
        return [Session(self, record) for record in records if name is None or record.get("group") == name]

    def identity(self, op: str, params: dict[str, Any], request_id: str) -> tuple[str, ...]:
        """The key of a request about several sessions. It includes the caller, since request ids may collide."""
        caller = (self.settings.parent or "", self.settings.root or "")
        return (op, json.dumps(to_send(op, params), sort_keys=True), *caller, request_id)

    def backend(self, record: dict[str, Any]) -> Backend:
        """The backend of a record's agent.

        Raises:
            UsageError: it is not installed any more.
        """
        name = str(record["cli"])
        if name not in self._backends:
            self._backends[name] = load(name, record.get("adapter"))
        return self._backends[name]

    def states(self, sessions: Sequence[Session]) -> list[State]:
        """The state of each session; one that cannot be read does not hide the others."""
        by_backend: dict[str, list[Session]] = {}
        for session in sessions:
            by_backend.setdefault(str(session.record["cli"]), []).append(session)
        states: dict[str, State] = {}
        for group in by_backend.values():
            states.update(zip((session.id for session in group), self._group_states(group), strict=True))
        return [states[session.id] for session in sessions]

    def _group_states(self, group: list[Session]) -> list[State]:
        try:
            self.backend(group[0].record)
        except UsageError as error:
            self.say(f"{error.message}: its sessions cannot be read")
            return [_unreadable(f"no agent called {group[0].record['cli']}")] * len(group)
        try:
            return self._observed_states(group)
        except Exception:
            if len(group) == 1:
                raise
            return [self._state_or_note(session) for session in group]

    def _observed_states(self, group: list[Session]) -> list[State]:
        # Our messages are read before the agent's facts: a fact never precedes the message that caused it.
        stamps = [session.folder.past.stamp() for session in group]
        messages = [session.folder.messages() for session in group]
        return [
            session.reduced(stamp, acts, seen)
            for session, stamp, acts, seen in zip(group, stamps, messages, self.observe(group), strict=True)
        ]

    def _state_or_note(self, session: Session) -> State:
        try:
            return session.state()
        except Exception as error:
            self.say(f"{session.id} cannot be read ({error}); dev-sessions kill {session.id} ends it")
            return _unreadable(f"its folder is damaged: {error}")

    def observe(self, sessions: Sequence[Session]) -> list[Observation]:
        """An observation of each session (all of one backend), with the times of our restarts."""
        observations = sessions[0].backend.observe(sessions)
        return [with_revivals(*one) for one in zip(sessions, observations, strict=True)]


class Session(backend_session.Session):
    """One session: its record, folder and backend, its state, and its lock.

    Args:
        whole: its folder also returns compacted turns (see `state.past`).
    """

    def __init__(self, context: Context, record: dict[str, Any], whole: bool = False) -> None:
        super().__init__(record, Folder(context.store.folder(record), whole), context.settings.environ)
        self.context = context

    @property
    def backend(self) -> Backend:
        return self.context.backend(self.record)

    def require(self, capability: type[Capability], name: str) -> Capability:
        """The backend, if it has this capability.

        Args:
            capability: a protocol of `backends.base`.
            name: its name in `CAPABILITIES`.

        Raises:
            Unsupported: it does not have it.
        """
        if not isinstance(self.backend, capability):
            problem, next = _UNSUPPORTED[name]
            raise Unsupported(f"{self.record['cli']} {problem}", next=next.format(id=self.id), capability=name)
        return self.backend

    def state(self) -> State:
        """The session's current state."""
        return self.context.states([self])[0]

    def reduced(self, stamp: int, messages: list[Message], seen: Observation) -> State:
        """The state that follows from messages and facts.

        Args:
            stamp: the past's stamp before they were read.
        """
        if self.folder.past.stamp() != stamp:
            return self.state()  # a writer compacted turns while we were reading
        # The agent's first report may have been compacted already.
        facts = turns.after_start(seen.facts) if stamp and not self.folder.whole else seen.facts
        return turns.reduce(messages, facts, seen.probe)

    def observe(self) -> Observation:
        """An observation of the agent, with the times of our restarts."""
        return self.context.observe([self])[0]

    def sources(self) -> Sources:
        """What to watch for changes of the session."""
        return self.backend.sources(self)

    def whole(self) -> Session:
        """The session with its compacted turns."""
        return Session(self.context, self.record, whole=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the session's lock.

        Raises:
            SessionNotFound: the session was killed while we waited for it.
        """
        with self.context.store.lock(self.folder.lock_path):
            record = self.context.store.load().get(self.id)
            if record is None or record["key"] != self.record["key"]:
                raise SessionNotFound(f"{self.id} was killed meanwhile", next="dev-sessions list")
            yield

    def change(self, **fields: Any) -> None:
        """Change fields of the record.

        Raises:
            LaunchFailed: the session was killed meanwhile.
        """
        with self.context.store.change() as records:
            if records.get(self.id, {}).get("key") != self.record["key"]:
                raise LaunchFailed(f"{self.id} was killed while it was starting", next="dev-sessions list")
            records[self.id] = {**records[self.id], **fields}

    def public(self) -> dict[str, Any]:
        """The record without the fields that concern only us or the backend."""
        return {name: value for name, value in self.record.items() if name not in _PRIVATE}

    def last_used(self, state: State) -> float:
        """When the session was created, or one of its turns last began or ended; seconds since the epoch."""
        times = [max(turn.began, turn.ended or 0.0) for turn in state.turns]
        return max([as_number(self.record.get("created_at")), *times])


def with_revivals(session: backend_session.Session, seen: Observation) -> Observation:
    """The observation, with our restarts added to its facts."""
    revivals = [Fact("revived", at) for at in session.folder.revivals()]
    facts = sorted([*revivals, *seen.facts], key=lambda fact: fact.at) if revivals else seen.facts
    return seen._replace(facts=facts)


def _unreadable(why: str) -> State:
    return State(EXITED, (), None, None, 0, why)
