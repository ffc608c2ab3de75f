"""`events`: our acts and the agents' reports, ordered by time, and optionally as they happen."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress

from ..errors import UsageError
from ..fold import Untaken
from ..state.folder import Folder
from ..system.waiting import Watcher
from ..turns import BUSY_ACTIVITY, reduce
from ..values import as_number
from .context import Session
from .notices import Notices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from typing import Any

    from ..model import Fact, Message, Turn
    from .context import Context

    Event = dict[str, Any]

# How often to check if no event comes. Seconds.
_TICK = 1.0
_FIELDS_OF_ACTS = {
    "message": ("created", ("queued", "via", "sender", "request_id")),
    "attempt": ("at", ()),
    "receipt": ("at", ("receipt",)),
    "unconfirmed": ("at", ()),
    "withdrawn": ("at", ()),
}
_NAMES_OF_ACTS = {"attempt": "attempted"}
_FIELDS_OF_FACTS = {
    "accepted": ("prompt", "text", "held"),
    "joined": ("prompt", "text"),
    "started": ("prompt", "text"),
    "returned": ("prompt", "text"),
    "launched": ("prompt", "task"),
    "ended": ("prompt", "outcome", "reply", "error", "reason", "resets_at", "background"),
    "gone": ("error",),
}


def events(context: Context, params: dict[str, Any], request_id: str) -> Generator[Event | None, None, dict[str, Any]]:
    """Yield everything that happened to the sessions `ids` (null: to all) as events; returns {"sessions"}.

    With `follow` it yields new events, also those of new sessions if no ids were given. It ends when the named sessions
    have been killed.
    """
    ids = params.get("ids")
    sessions = context.group() if ids is None else context.sessions(ids)
    reporter = Reporter(context)
    yield from reporter.news(sessions)
    if params.get("follow"):
        yield from _followed(context, reporter, sessions, named=ids is not None)
    return {"sessions": len(sessions)}


def _followed(
    context: Context, reporter: Reporter, sessions: list[Session], named: bool
) -> Generator[Event | None, None, None]:
    with Watcher() as watcher, Notices(watcher) as notices:
        while sessions or not named:
            notices.read()
            watcher.watch_path(context.store.home)
            for path in (path for session in sessions for path in reporter.paths(session)):
                watcher.watch_path(path)
            alive = [session for session in sessions if os.path.isdir(session.folder.path)]
            yield from reporter.news(alive)
            killed = [session for session in sessions if session not in alive]
            yield from (event for session in killed for event in reporter.end(session))
            known, sessions = _keys(sessions), alive if named else context.group()
            deque(notices.new(sessions), 0)  # errors that agents expect to pass are not events
            if sessions or not named:
                watcher.wait(0.0 if _keys(sessions) - known or notices.moved else _TICK)
                yield None  # a keep-alive


def _keys(sessions: Sequence[Session]) -> set[str]:
    return {str(session.record["key"]) for session in sessions}


class Reporter:
    """Reports each event once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reported: set[int] = set()
        self._unreadable: set[str] = set()
        self._pasts: dict[str, int] = {}

    def news(self, sessions: Sequence[Session]) -> Iterator[Event]:
        """The events of these sessions that were not reported yet, ordered by time."""
        events = [event for session in sessions for event in self._events(session)]
        yield from sorted((event for event in events if self._is_new(event)), key=lambda event: event["at"])

    def end(self, session: Session) -> Iterator[Event]:
        """The last events of a session whose folder is gone, and the event that it was killed."""
        archived = os.path.join(self._context.store.archive_folder, session.record["key"])
        last = session.replace(folder=Folder(archived))
        yield from self.news([last])
        try:
            at = os.stat(archived).st_mtime
        except OSError:
            return
        killed = _event(at, session, "killed")
        if self._is_new(killed):
            yield killed

    def paths(self, session: Session) -> Iterator[str]:
        """The paths to watch, including the messages that may still get a receipt."""
        folder = session.folder
        with suppress(UsageError):  # its package is not installed any more
            yield from session.sources().paths
        yield from (folder.path, folder.facts_path, folder.messages_path)
        yield from (folder.message_path(message.number) for message in folder.messages() if message.receipt is None)

    def _events(self, session: Session) -> Iterator[Event]:
        """All events of a session; without those of compacted turns if they were reported already."""
        past, key = session.folder.past.stamp(), str(session.record["key"])
        if key not in self._pasts or self._pasts[key] != past:
            session = session.whole() if os.path.isdir(session.folder.path) else session
        self._pasts[key] = past
        record = session.record
        about = {name: record.get(name) for name in ("cli", "path", "description", "group", "parent")}
        yield _event(as_number(record.get("created_at")), session, "created", **about)
        yield from _acts(session)
        yield from self._facts(session)

    def _facts(self, session: Session) -> Iterator[Event]:
        try:
            self._context.backend(session.record)
        except UsageError as error:  # its package is not installed any more
            if session.id not in self._unreadable:
                self._unreadable.add(session.id)
                self._context.say(f"{error.message}: the reports of {session.id} cannot be read")
            return
        seen = session.observe()
        messages = session.folder.messages()
        # An end is an event when it is reported, whether or not the agent goes on after it.
        probe = seen.probe._replace(activity=None) if seen.probe.activity == BUSY_ACTIVITY else seen.probe
        binding = _Binding(messages, reduce(messages, seen.facts, probe).turns)
        # Agents report when they ask a question, but not always when it is answered.
        for fact in (fact for fact in seen.facts if fact.kind != "answered"):
            yield _fact(session, fact, binding)

    def _is_new(self, event: Event) -> bool:
        # Without the turn, which may become known a moment after the fact; no two acts have the same time and name.
        question = event.get("question")
        fields = [event.get(name) for name in ("at", "session", "event", "prompt", "text")]
        identity = hash(tuple(map(str, [*fields, question["id"] if question else None])))
        known = identity in self._reported
        self._reported.add(identity)
        return not known


class _Binding:
    """Finds the turn of a fact by the rule of `turns`: the newest message with its text that was attempted by then."""

    def __init__(self, messages: Sequence[Message], turns: Sequence[Turn]) -> None:
        self._untaken = Untaken(messages)
        self._by_text: dict[str, int] = {}
        self._by_prompt: dict[str | None, int] = {turn.prompt: turn.number for turn in reversed(turns) if turn.prompt}
        self._by_end: dict[float | None, list[int]] = {}
        for turn in turns:
            self._by_end.setdefault(turn.ended, []).append(turn.number)
        self._running: int | None = None

    def of(self, fact: Fact) -> tuple[int | None, list[int]]:
        """The turn that a fact is about, and every turn that it ends."""
        if fact.kind == "ended":
            ended = self._by_end.get(fact.at, [])
            self._running = None
            return self._by_prompt.get(fact.prompt, ended[0] if ended else None), ended
        if fact.kind == "asked":
            return self._by_prompt.get(fact.prompt, self._running), []
        turn = self._bound(fact) if fact.kind == "accepted" else self._by_text.get(fact.text)
        if fact.kind == "started" or (fact.kind == "accepted" and not fact.held):
            self._running = turn
        return turn, []

    def _bound(self, fact: Fact) -> int | None:
        message = self._untaken.take(fact)
        if message is None:
            self._by_text.pop(fact.text, None)
            return None
        self._by_text[fact.text] = message.number
        return message.number


def _acts(session: Session) -> Iterator[Event]:
    for turn, noted in session.folder.acts():
        for act, content in noted.items():
            when, names = _FIELDS_OF_ACTS[act]
            fields = {name: content.get(name) for name in names}
            yield _event(as_number(content.get(when)), session, _NAMES_OF_ACTS.get(act, act), turn=turn, **fields)


def _fact(session: Session, fact: Fact, binding: _Binding) -> Event:
    turn, ended = binding.of(fact)
    fields = {name: getattr(fact, name) for name in _FIELDS_OF_FACTS.get(fact.kind, ())}
    if fact.question is not None:
        fields["question"] = fact.question.to_json()
    if fact.kind == "ended":
        fields["turns"] = ended
    if fact.kind not in ("alive", "gone", "revived"):
        fields["turn"] = turn
    return _event(fact.at, session, fact.kind, **fields)


def _event(at: float, session: Session, name: str, **fields: Any) -> Event:
    return {"at": at, "session": session.id, "event": name, **fields}
