"""`logs`: the whole conversation of a session, and optionally as it goes on."""

from __future__ import annotations

import os
import time

from ..model import EXITED
from ..system.waiting import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from ..backends.base import Conversation
    from ..model import Entry, Message
    from .context import Context, Session

# How often to check if no event comes. Seconds.
_TICK = 1.0
# The agent's time stamps are in milliseconds, ours are finer. Seconds.
_SLACK = 1.0


def logs(
    context: Context, params: dict[str, Any], request_id: str
) -> Generator[dict[str, Any] | None, None, dict[str, Any]]:
    """Yield every entry of the conversation of the session `id`, oldest first; returns {"session", "entries"}.

    With `follow` it yields new entries until the agent ends or the session is killed.
    """
    session = context.session(params["id"])
    conversation = session.backend.conversation(session.whole())
    finder = _TurnFinder(session)
    count = 0
    try:
        for entry in _entries(session, conversation, bool(params.get("follow"))):
            count += entry is not None
            yield None if entry is None else finder.shown(entry)
    finally:
        conversation.close()
    return {"session": session.id, "entries": count}


def _entries(session: Session, conversation: Conversation, follow: bool) -> Generator[Entry | None, None, None]:
    if follow:
        yield from _followed(session, conversation)
    yield from conversation.new()
    yield from conversation.rest()


def _followed(session: Session, conversation: Conversation) -> Generator[Entry | None, None, None]:
    """The entries until the agent exits."""
    with Watcher() as watcher:
        watcher.watch_path(session.context.store.home)  # the registry is replaced there when a session is killed
        while True:
            _watch(watcher, session, conversation)
            if not os.path.isdir(session.folder.path) or session.state().status == EXITED:
                return
            yield from conversation.new()
            _watch(watcher, session, conversation)  # also the files that were found just now
            watcher.wait(_TICK)
            yield None  # a keep-alive


def _watch(watcher: Watcher, session: Session, conversation: Conversation) -> None:
    watcher.watch(*session.sources())
    watcher.watch(conversation.paths())


class _TurnFinder:
    """Finds which of our turns an entry belongs to."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known = 0  # number of the last message that was read
        self._untaken: dict[str, list[Message]] = {}  # by text: attempted, and not found in the conversation yet
        self._prompts: dict[int, str | None] = {}  # the agent's ids of our turns
        self._owners: dict[str | None, int | None] = {}  # our turns by those ids
        self._updated = 0.0

    def shown(self, entry: Entry) -> dict[str, Any]:
        """The entry as `logs` shows it."""
        if entry.role == "user":
            message = self._taken(entry)
            turn = message.number if message else None
            self._owners.setdefault(entry.prompt, turn)
        else:
            message, turn = None, self._owner(entry.prompt)
        fields = {"turn": turn, **entry._asdict(), "via": message.via if message else None}
        fields["input"] = fields.pop("given")
        if message is not None and message.via == "file":
            fields["text"] = self._session.folder.text(message.number) or entry.text
        return fields

    def _owner(self, prompt: str | None) -> int | None:
        """Our turn with this prompt; None if a person or the agent itself wrote the prompt."""
        if prompt is not None and prompt not in self._owners:
            self._update()
            self._owners[prompt] = next((number for number, own in self._prompts.items() if own == prompt), None)
        return self._owners.get(prompt)

    def _taken(self, entry: Entry) -> Message | None:
        """Our message that this entry shows: it has the same text, was attempted by then, and was not found before."""
        found = self._matching(entry)
        if found is None and entry.at > self._updated - _SLACK:
            self._update()
            found = self._matching(entry)
        if found is not None:
            self._untaken[entry.text].remove(found)
        return found

    def _matching(self, entry: Entry) -> Message | None:
        matching = [one for one in self._untaken.get(entry.text, ()) if (one.attempted or 0.0) <= entry.at + _SLACK]
        same = [one for one in matching if entry.prompt is not None and self._prompts.get(one.number) == entry.prompt]
        return next(iter([*same, *matching]), None)

    def _update(self) -> None:
        """Read the messages that were sent since the last call."""
        self._updated = time.time()
        for message in self._session.whole().folder.messages():
            if message.number > self._known and message.attempted is not None:
                self._known = message.number
                self._untaken.setdefault(message.wire, []).append(message)
        self._prompts = {turn.number: turn.prompt for turn in self._session.state().turns}
