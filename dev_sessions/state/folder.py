"""The folder of one session: reads and writes its files.

<id>-<u8>/
  record.json       the registry's record of this session
  messages/0007/    one message of ours: message.json, text.md, attempt.json, receipt.json
  facts/            the agent's reports, a file each, moved in whole and never edited; backends know their content
  agent/            the backend's own files (how it launched the agent)
  process           pid and start time of the agent's program, written by its own process
  notice.json       the obstacle at the last start, if there was one
  revivals.json     the times at which we restarted the agent
  past.jsonl        compacted messages and facts (see `past`); past.json says how many count
  answers/          results of respond, interrupt and goal by request id (see `answers`)
  lock              held by writers; courier.json names the courier that delivers queued messages
"""

from __future__ import annotations

import os
from contextlib import suppress

from ..model import Message
from ..system import files, processes
from ..values import NamedTuple, as_number
from .answers import Answers
from .past import Past

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


class Payload(NamedTuple):
    """One file of `facts/`: its name (unique in the session), when it was written, and its content."""

    name: str
    at: float
    content: bytes


ACTS = ("message", "attempt", "receipt", "unconfirmed", "withdrawn")


class Folder:
    """One session's folder at `path`.

    Args:
        whole: `messages` and `facts` include compacted ones (see `past`).
    """

    def __init__(self, path: str, whole: bool = False) -> None:
        self.path = path
        self.whole = whole
        self.messages_path = f"{path}/messages"
        self.facts_path = f"{path}/facts"
        self.agent_path = f"{path}/agent"
        self.lock_path = f"{path}/lock"
        self.process_path = f"{path}/process"
        self.past = Past(path)
        self.answers = Answers(f"{path}/answers")
        self._notice_path = f"{path}/notice.json"
        self._revivals_path = f"{path}/revivals.json"
        self._courier_path = f"{path}/courier.json"

    def make(self) -> None:
        """Create the folder and its subfolders."""
        for path in (self.messages_path, self.facts_path, self.agent_path):
            files.make_folder(path)

    # Messages.

    def messages(self) -> list[Message]:
        """All messages that were not withdrawn, by number."""
        found = [_message(number, acts) for number, acts in self.acts()]
        return [message for message in found if message is not None]

    def message(self, number: int) -> Message | None:
        """One message, even if it was compacted; None if it was withdrawn or does not exist."""
        acts = self._acts(number) if number > self.past.mark().through else self._compacted().get(number, {})
        return _message(number, acts)

    def acts(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each message, including withdrawn ones: its number, its claim as "message", and its notes by name."""
        found = {number: self._acts(number) for number in self._numbers()}
        if self.whole:
            found.update(self._compacted())  # read last: a writer may be compacting what we read
        yield from sorted(found.items())

    def text(self, number: int) -> str | None:
        """A message's text exactly as given; None if it is missing."""
        content = files.read(self.text_path(number))
        if content is not None:
            return content.decode(errors="replace")
        claim = self._compacted().get(number, {}).get("message", {})
        text = claim.get("text", claim.get("wire"))
        return text if isinstance(text, str) else None

    def find_request(self, request_id: str) -> tuple[int, dict[str, Any]] | None:
        """Number and claim of the message with this request id, even if it was withdrawn.

        A message that was withdrawn and then compacted is not found: it never reached the agent.
        """
        for number in reversed(self._numbers()):
            claim = self._acts(number).get("message", {})
            if claim.get("request_id") == request_id:
                return number, claim
        for number, acts in _messages_in(self.past.find(request_id)):
            if acts["message"].get("request_id") == request_id and "withdrawn" not in acts:
                return number, acts["message"]
        return None

    def next_number(self) -> int:
        return max([self.past.mark().through, *self._numbers()]) + 1

    def claim_message(self, number: int, text: str, claim: dict[str, Any]) -> None:
        """Create a message's folder in one step. The caller holds the session's lock."""
        for name in files.names_in(self.messages_path):
            if name.startswith("."):  # a killed sender left it; we hold the lock now
                import shutil

                shutil.rmtree(os.path.join(self.messages_path, name), ignore_errors=True)
        staging = os.path.join(self.messages_path, f".{os.urandom(8).hex()}")
        files.make_folder(staging)
        files.write_whole(os.path.join(staging, "text.md"), text.encode(), durable=True)
        files.write_json(os.path.join(staging, "message.json"), claim, durable=True)
        os.rename(staging, self.message_path(number))

    def reclaim_message(self, number: int, text: str, claim: dict[str, Any]) -> None:
        """Replace a withdrawn message that its sender sends again."""
        base = self.message_path(number)
        files.write_whole(os.path.join(base, "text.md"), text.encode(), durable=True)
        files.write_json(os.path.join(base, "message.json"), claim, durable=True)
        files.remove(os.path.join(base, "withdrawn.json"))

    def message_path(self, number: int) -> str:
        return f"{self.messages_path}/{number:04d}"

    def text_path(self, number: int) -> str:
        """The file that holds a message's text exactly as given."""
        return os.path.join(self.message_path(number), "text.md")

    def note(self, number: int, act: str, content: dict[str, Any]) -> None:
        """Note an act on a message: "attempt", "receipt", "unconfirmed" or "withdrawn".

        A receipt is the last act. It repeats the earlier ones, so that readers open only one file.
        """
        if act == "receipt":
            content = {**content, "acts": self._acts(number)}
        files.write_json(os.path.join(self.message_path(number), f"{act}.json"), content, durable=True)

    def _numbers(self) -> list[int]:
        """The numbers of messages that are not compacted. (A compacted one may still have a folder: see `compact`.)"""
        through = self.past.mark().through
        return [number for number in self._folders() if number > through]

    def _folders(self) -> list[int]:
        names = files.names_in(self.messages_path)
        return sorted(int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < 12)

    def _acts(self, number: int) -> dict[str, Any]:
        """The claim and the notes of a message; one that cannot be read is empty."""
        base = self.message_path(number)
        receipt = files.read_json(f"{base}/receipt.json")
        if isinstance(receipt, dict) and isinstance(receipt.get("acts"), dict):
            before = receipt.pop("acts")
            if all(isinstance(content, dict) for content in before.values()):
                return {**before, "receipt": receipt}
        there = files.names_in(base)
        found = {act: files.read_json(f"{base}/{act}.json") for act in ACTS if f"{act}.json" in there}
        return {act: content if isinstance(content, dict) else {} for act, content in found.items()}

    def _compacted(self) -> dict[int, dict[str, Any]]:
        return dict(_messages_in(self.past.entries()))

    # Facts.

    def facts(self, since: float = 0.0) -> list[Payload]:
        """The agent's reports since a time, in the order in which they were made."""
        found = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.facts_path) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    with suppress(FileNotFoundError):  # a writer has just compacted it
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name, entry.path))
        facts = []
        for stamp, name, path in sorted(found):
            if stamp >= since * 1e9:
                content = files.read_regular(path, self.facts_path)
                if content is not None:  # otherwise it was just compacted, or the agent put something else there
                    facts.append(Payload(name, stamp / 1e9, content))
        if not self.whole:
            return facts
        old = [fact for fact in _facts_in(self.past.entries()) if fact.at >= since]
        known = {fact.name for fact in old}  # read last: a file may just have been compacted
        return [*old, *(fact for fact in facts if fact.name not in known)]

    # Compaction; see `past`.

    def counts(self) -> tuple[int, int]:
        """The numbers of messages and of facts that are not compacted."""
        return len(self._numbers()), len(files.names_in(self.facts_path))

    def compact(self, through: int, until: float) -> None:
        """Move messages up to a number and facts up to a time into the past. The caller holds the session's lock.

        The text of a message that was sent as a file stays in place, since the agent may read it again.

        Raises:
            StoreError: it cannot be written; nothing has changed.
        """
        facts = [fact for fact in Folder(self.path).facts() if fact.at <= until]
        entries: list[dict[str, Any]] = []
        for number in self._numbers():
            if number <= through:
                acts = self._acts(number)
                claim = acts.get("message", {})
                if claim.get("via") != "file" and (text := self.text(number)) != claim.get("wire"):
                    acts = {**acts, "message": {**claim, "text": text}}
                entries.append({"message": {"number": number, "acts": acts}})
        for fact in facts:
            content = fact.content.decode("utf-8", "surrogateescape")
            entries.append({"fact": {"name": fact.name, "at": fact.at, "content": content}})
        self.past.add(entries, max(through, self.past.mark().through))
        for number in self._folders():
            if number <= through:
                self._clear(number)  # also those left by a writer that died here
        for fact in facts:
            files.remove(os.path.join(self.facts_path, fact.name))
        files.sweep_dead(self.path)

    def _clear(self, number: int) -> None:
        """Remove a compacted message's files, except a text that was sent as a file.

        A typed text is removed first, because a text that is alone in its folder is one that stays.
        """
        base = self.message_path(number)
        names = files.names_in(base)
        if names == ["text.md"]:
            return
        if "text.md" in names and self._acts(number).get("message", {}).get("via", "file") != "file":
            os.unlink(os.path.join(base, "text.md"))
            names.remove("text.md")
        for name in names:
            if name != "text.md":
                os.unlink(os.path.join(base, name))
        if "text.md" not in names:
            os.rmdir(base)

    # The agent's process.

    def process(self) -> tuple[int, str] | None:
        """Pid and start time of the agent's program; None if it never wrote them."""
        pid, _, rest = (files.read(self.process_path) or b"").decode(errors="replace").partition("\n")
        started = processes.start_time_in(rest)
        return (int(pid), started) if pid.isascii() and pid.isdecimal() and len(pid) < 10 and started else None

    def notice(self) -> dict[str, Any] | None:
        """The obstacle at the agent's last start, {"text", "at"}, or None."""
        value = files.read_json(self._notice_path)
        return value if isinstance(value, dict) else None

    def set_notice(self, text: str, at: float) -> None:
        files.write_json(self._notice_path, {"text": text, "at": at})

    def clear_notice(self) -> None:
        """Remove the notice. The caller holds the session's lock."""
        files.remove(self._notice_path)

    def revivals(self) -> list[float]:
        """The times at which we restarted the agent, oldest first."""
        value = files.read_json(self._revivals_path)
        times = value.get("at") if isinstance(value, dict) else None
        return [as_number(at) for at in times] if isinstance(times, list) else []

    def set_revivals(self, times: list[float]) -> None:
        """Replace the times of `revivals`. The caller holds the session's lock."""
        files.write_json(self._revivals_path, {"at": times}, durable=True)

    def courier(self) -> tuple[int, str] | None:
        """Pid and start time of this session's courier, if one is running."""
        process = processes.noted(files.read_json(self._courier_path))
        return process if processes.is_running(*process) else None

    def set_courier(self, pid: int | None) -> None:
        """Note the process that now delivers queued messages; None removes the note."""
        if pid is not None:
            files.write_json(self._courier_path, {"pid": pid, "started": processes.start_time(pid)})
        else:
            files.remove(self._courier_path)


def _facts_in(entries: Iterable[dict[str, Any]]) -> list[Payload]:
    """The facts among a past's entries, each once: a writer that died may have added one twice."""
    found = {}
    for entry in entries:
        fact = entry.get("fact")
        if isinstance(fact, dict) and isinstance(fact.get("name"), str) and isinstance(fact.get("content"), str):
            try:
                content = fact["content"].encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:  # a damaged log
                content = fact["content"].encode("utf-8", "replace")
            found[fact["name"]] = Payload(fact["name"], as_number(fact.get("at")), content)
    return sorted(found.values(), key=lambda fact: (fact.at, fact.name))


def _messages_in(entries: Iterable[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for entry in entries:
        message = entry.get("message")
        if not isinstance(message, dict) or type(message.get("number")) is not int:
            continue
        acts = message.get("acts")
        if isinstance(acts, dict):
            noted = {act: content for act, content in acts.items() if isinstance(content, dict)}
            if "message" in noted:
                yield message["number"], noted


def _message(number: int, acts: dict[str, Any]) -> Message | None:
    claim = acts.get("message")
    if not claim or "withdrawn" in acts:
        return None
    created, queued = as_number(claim.get("created")), bool(claim.get("queued", False))
    attempt, receipt = acts.get("attempt"), acts.get("receipt", {}).get("receipt")
    sender = (attempt or {}).get("by") or (None if queued else claim.get("by"))  # a queued one has none before it
    lost = receipt is None and sender is not None and not processes.is_running(*processes.noted(sender))
    return Message(
        number,
        str(claim.get("wire", "")),
        str(claim.get("via", "terminal")),
        str(claim.get("request_id", "")),
        created,
        queued,
        None if attempt is None else as_number(attempt.get("at"), created),
        receipt if isinstance(receipt, str) else None,
        "unconfirmed" in acts or lost,
    )
