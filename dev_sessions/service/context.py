"""What every operation needs: the settings, the store, the backends, and a way to say something to the user."""

from __future__ import annotations

import json

from .. import turns
from ..backends import load
from ..backends.session import Session
from ..errors import SessionNotFound, UsageError
from ..model import EXITED, Fact, State
from ..operations import to_send
from ..state.folder import Folder
from ..state.registry import Store
from ..wire import Frame
from .confinement import may_reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..backends.base import Backend
    from ..backends.session import Observation
    from ..config import Settings
    from ..model import Message


class Context:
    """One operation's view of the state folder. Made anew for each operation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._notes: list[str] = []
        self._backends: dict[str, Backend] = {}
        self.store = Store(settings.home, self.say)

    def say(self, note: str) -> None:
        """Tell the user something, in a sentence; it goes out with the next frame."""
        self._notes.append(note)

    def said(self) -> Iterator[Frame]:
        """The notes so far, as event frames."""
        notes, self._notes = self._notes, []
        return (Frame("event", {"note": note}) for note in notes)

    def records(self) -> dict[str, dict[str, Any]]:
        """The records of all sessions that the caller may reach, by id."""
        return {id: record for id, record in self.store.load().items() if may_reach(self.settings, record)}

    def session(self, id: str) -> Session:
        """The session of that id.

        Raises:
            SessionNotFound: there is none.
        """
        return self.sessions([id])[0]

    def request(self, op: str, params: dict[str, Any], request_id: str) -> tuple[str, ...]:
        """The texts that identify a request about several sessions. Two callers may use the same request id."""
        caller = (self.settings.parent or "", self.settings.root or "")
        return (op, json.dumps(to_send(op, params), sort_keys=True), *caller, request_id)

    def sessions(self, ids: Sequence[str]) -> list[Session]:
        """The sessions of these ids, each once.

        Raises:
            SessionNotFound: there is none of one of them.
        """
        records = self.records()
        for id in ids:
            if id not in records:
                raise SessionNotFound(f"no session called {id!r}", next="dev-sessions list")
        return [self.view(records[id]) for id in dict.fromkeys(ids)]

    def group(self, name: str | None = None) -> list[Session]:
        """The sessions of a group, or all there are."""
        records = self.records().values()
        return [self.view(record) for record in records if name is None or record.get("group") == name]

    def view(self, record: dict[str, Any], whole: bool = False) -> Session:
        """A record as backends see it; `whole`, with all that it has long behind it."""
        return Session(record, Folder(self.store.folder(record), whole), self.settings.environ)

    def backend(self, session: Session) -> Backend:
        """The adapter to that session's agent program."""
        name = str(session.record["cli"])
        if name not in self._backends:
            self._backends[name] = load(name, session.record.get("adapter"))
        return self._backends[name]

    def _loadable(self, session: Session) -> bool:
        try:
            self.backend(session)
        except UsageError as error:
            self.say(f"{error.message}: its sessions cannot be looked at")
            return False
        return True

    def state(self, session: Session) -> State:
        """What one session is doing."""
        return self.states([session])[0]

    def states(self, sessions: Sequence[Session]) -> list[State]:
        """What each session is doing. The acts are read before the facts: a fact never precedes its act."""
        by_backend: dict[str, list[Session]] = {}
        for session in sessions:
            by_backend.setdefault(str(session.record["cli"]), []).append(session)
        found: dict[str, State] = {}
        for name, group in by_backend.items():
            if self._loadable(group[0]):
                states = self._observed(group)
            else:
                states = [_lost(f"no agent called {name}")] * len(group)
            found.update(zip((session.id for session in group), states, strict=True))
        return [found[session.id] for session in sessions]

    def _observed(self, group: list[Session]) -> list[State]:
        stamps = [session.folder.past.stamp() for session in group]
        acts = [session.folder.messages() for session in group]
        try:
            seen = self.observe(group)
        except Exception as error:
            if len(group) == 1:
                raise
            # One session of which nobody can make sense must not hide the others.
            return [self._alone(session, error) for session in group]
        return [self._state(*one) for one in zip(group, stamps, acts, seen, strict=True)]

    def observe(self, sessions: Sequence[Session]) -> list[Observation]:
        """What the agents of these sessions (all of one backend) said and do, and when we started them again."""
        seen = self.backend(sessions[0]).observe(sessions)
        return [with_revivals(*one) for one in zip(sessions, seen, strict=True)]

    def _state(self, session: Session, stamp: int, acts: list[Message], seen: Observation) -> State:
        if session.folder.past.stamp() != stamp:
            return self.state(session)  # a writer has just put behind what we were reading
        # The agent's first word may be behind already.
        facts = turns.of_an_older(seen.facts) if stamp and not session.folder.whole else seen.facts
        return turns.reduce(acts, facts, seen.probe)

    def _alone(self, session: Session, error: Exception) -> State:
        try:
            return self.state(session)
        except Exception:
            self.say(f"{session.id} cannot be looked at ({error}); dev-sessions kill {session.id} ends it")
            return _lost(f"its folder is damaged: {error}")


def with_revivals(session: Session, seen: Observation) -> Observation:
    """What the agent said, and among it when we started it again."""
    revivals = [Fact("revived", at) for at in session.folder.revivals()]
    facts = sorted([*revivals, *seen.facts], key=lambda fact: fact.at) if revivals else seen.facts
    return seen._replace(facts=facts)


def _lost(why: str) -> State:
    """The state of a session that cannot be looked at."""
    return State(EXITED, (), None, None, 0, why)
