"""What every operation needs: the settings, the store, the backends, and a way to say something to the user."""

from __future__ import annotations

from .. import turns
from ..backends import load
from ..backends.base import Session
from ..errors import SessionNotFound, UsageError
from ..model import EXITED, State
from ..records import Folder
from ..store import Store
from ..wire import Frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..backends.base import Backend
    from ..config import Settings


class House:
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

    def session(self, id: str) -> Session:
        """The session of that id.

        Raises:
            SessionNotFound: there is none.
        """
        record = self.store.load().get(id)
        if record is None:
            raise SessionNotFound(f"no session called {id!r}", next="dev-sessions list")
        return self.view(record)

    def view(self, record: dict[str, Any]) -> Session:
        """A record as backends see it."""
        return Session(record, Folder(self.store.folder(record)), self.settings.environ)

    def backend(self, session: Session) -> Backend:
        """The adapter to that session's agent program."""
        name = str(session.record["cli"])
        if name not in self._backends:
            self._backends[name] = load(name)
        return self._backends[name]

    def _loadable(self, name: str) -> bool:
        try:
            self._backends.setdefault(name, self._backends.get(name) or load(name))
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
            if not self._loadable(name):
                found.update(
                    {session.id: State(EXITED, (), None, None, 0, f"no agent called {name}") for session in group}
                )
                continue
            acts = [session.folder.messages() for session in group]
            for session, messages, seen in zip(group, acts, self.backend(group[0]).observe(group), strict=True):
                found[session.id] = turns.reduce(messages, seen.facts, seen.probe)
        return [found[session.id] for session in sessions]
