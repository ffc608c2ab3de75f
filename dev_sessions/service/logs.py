"""`logs`: the whole conversation of a session, as it stands or as it goes on."""

from __future__ import annotations

import os
import time

from ..model import EXITED
from ..system.waiting import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from ..backends.base import Conversation, Session
    from ..model import Entry, Message
    from .context import Context

# Between two looks where no event came. Seconds.
_TICK = 1.0
# The agent's clock stamps what it says to the millisecond, ours finer. Seconds.
_SLACK = 1.0


def logs(
    context: Context, params: dict[str, Any], request_id: str
) -> Generator[dict[str, Any] | None, None, dict[str, Any]]:
    """Every entry of the conversation of the session `id` as an event, oldest first; then {"session", "entries"}.

    With `follow` it goes on with new ones until the agent ends or the session is killed.
    """
    session = context.session(params["id"])
    conversation = context.backend(session).conversation(context.view(session.record, whole=True))
    speech = _Speech(context, session)
    count = 0
    try:
        for entry in _entries(context, session, conversation, bool(params.get("follow"))):
            count += entry is not None
            yield None if entry is None else speech.told(entry)
    finally:
        conversation.close()
    return {"session": session.id, "entries": count}


def _entries(
    context: Context, session: Session, conversation: Conversation, follow: bool
) -> Generator[Entry | None, None, None]:
    if follow:
        yield from _followed(context, session, conversation)
    yield from conversation.new()
    yield from conversation.rest()


def _followed(context: Context, session: Session, conversation: Conversation) -> Generator[Entry | None, None, None]:
    """What is said until the agent has ended."""
    with Watcher() as watcher:
        watcher.watch_path(context.store.home)  # the registry is replaced there when a session is killed
        while True:
            _arm(context, watcher, session, conversation)
            if not os.path.isdir(session.folder.path) or context.state(session).status == EXITED:
                return
            yield from conversation.new()
            _arm(context, watcher, session, conversation)  # what was found just now
            watcher.wait(_TICK)
            yield None  # a sign of life


def _arm(context: Context, watcher: Watcher, session: Session, conversation: Conversation) -> None:
    watcher.watch(*context.backend(session).sources(session))
    watcher.watch(conversation.paths())


class _Speech:
    """Tells which turn of ours an entry belongs to."""

    def __init__(self, context: Context, session: Session) -> None:
        self._context, self._session = context, session
        self._known = 0  # the last message that was looked at
        self._untaken: dict[str, list[Message]] = {}  # by their text: attempted, and not met in the conversation yet
        self._prompts: dict[int, str | None] = {}  # the agent's own ids of our turns
        self._owners: dict[str | None, int | None] = {}  # our turns by those
        self._looked = 0.0

    def told(self, entry: Entry) -> dict[str, Any]:
        """The entry as the world sees it."""
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
        """The turn of what the agent does for a prompt; None if that was a person's, or its own."""
        if prompt is not None and prompt not in self._owners:
            self._look()
            self._owners[prompt] = next((number for number, own in self._prompts.items() if own == prompt), None)
        return self._owners.get(prompt)

    def _taken(self, entry: Entry) -> Message | None:
        """The message of ours that the agent took here: the same text, not taken yet, and there by then."""
        found = self._fitting(entry)
        if found is None and entry.at > self._looked - _SLACK:
            self._look()
            found = self._fitting(entry)
        if found is not None:
            self._untaken[entry.text].remove(found)
        return found

    def _fitting(self, entry: Entry) -> Message | None:
        fitting = [one for one in self._untaken.get(entry.text, ()) if (one.attempted or 0.0) <= entry.at + _SLACK]
        same = [one for one in fitting if entry.prompt is not None and self._prompts.get(one.number) == entry.prompt]
        return next(iter([*same, *fitting]), None)

    def _look(self) -> None:
        """Learn of what was sent since the last look."""
        self._looked = time.time()
        session = self._context.view(self._session.record, whole=True)
        for message in session.folder.messages():
            if message.number > self._known and message.attempted is not None:
                self._known = message.number
                self._untaken.setdefault(message.wire, []).append(message)
        self._prompts = {turn.number: turn.prompt for turn in self._context.state(session).turns}
