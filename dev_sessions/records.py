"""The folder of one session. Decides nothing; knows no agent.

<id>-<u8>/
  record.json       the registry's record of this session
  messages/0007/    one message of ours: message.json, text.md, attempt.json, receipt.json
  facts/            what the agent said, one file each, moved in whole and never edited; backends know their content
  agent/            the backend's own files (how it launched the agent)
  process           pid and start time of the agent's program, written by that very process
  notice.json       what stood in the way at the last start, if anything did
  lock              held by whoever writes; courier.json names the courier that delivers queued messages
"""

from __future__ import annotations

import os
from typing import NamedTuple

from . import files, processes
from .model import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Payload(NamedTuple):
    """One file of `facts/`: its name (unique in the session), when it was written, and its content."""

    name: str
    at: float
    content: bytes


class Folder:
    """One session's folder at `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.messages_path = os.path.join(path, "messages")
        self.facts_path = os.path.join(path, "facts")
        self.agent_path = os.path.join(path, "agent")
        self.lock_path = os.path.join(path, "lock")
        self._process_path = os.path.join(path, "process")
        self._notice_path = os.path.join(path, "notice.json")
        self._courier_path = os.path.join(path, "courier.json")

    def make(self) -> None:
        """Create the folder with its parts."""
        for path in (self.messages_path, self.facts_path, self.agent_path):
            files.make_folder(path)

    # Messages: acts of ours.

    def messages(self) -> list[Message]:
        """All messages that were not withdrawn, by number."""
        return [message for number in self._numbers() if (message := self.message(number)) is not None]

    def message(self, number: int) -> Message | None:
        """One message; None if it was withdrawn or does not exist."""
        base = self.message_path(number)
        claim = files.read_json(os.path.join(base, "message.json"))
        if not isinstance(claim, dict) or os.path.exists(os.path.join(base, "withdrawn.json")):
            return None
        return _message(number, claim, *(self._act(base, act) for act in ("attempt", "receipt", "unconfirmed")))

    def find_request(self, request_id: str) -> tuple[int, dict[str, Any]] | None:
        """Number and claim of the message that was made for a request id, withdrawn or not."""
        for number in reversed(self._numbers()):
            claim = files.read_json(os.path.join(self.message_path(number), "message.json"))
            if isinstance(claim, dict) and claim.get("request_id") == request_id:
                return number, claim
        return None

    def next_number(self) -> int:
        return max(self._numbers(), default=0) + 1

    def claim_message(self, number: int, text: str, claim: dict[str, Any]) -> None:
        """Make a message's folder, whole or not at all. The caller holds the session's lock."""
        staging = os.path.join(self.messages_path, f".{os.urandom(8).hex()}")
        files.make_folder(staging)
        files.write_whole(os.path.join(staging, "text.md"), text.encode(), durable=True)
        files.write_json(os.path.join(staging, "message.json"), claim, durable=True)
        os.rename(staging, self.message_path(number))

    def reclaim_message(self, number: int, text: str, claim: dict[str, Any]) -> None:
        """Take up a withdrawn message again, as it is given now."""
        base = self.message_path(number)
        files.write_whole(os.path.join(base, "text.md"), text.encode(), durable=True)
        files.write_json(os.path.join(base, "message.json"), claim, durable=True)
        withdrawn = os.path.join(base, "withdrawn.json")
        if os.path.exists(withdrawn):
            os.unlink(withdrawn)

    def message_path(self, number: int) -> str:
        return os.path.join(self.messages_path, f"{number:04d}")

    def text_path(self, number: int) -> str:
        """The file that holds a message's text exactly as it was given."""
        return os.path.join(self.message_path(number), "text.md")

    def note(self, number: int, act: str, content: dict[str, Any]) -> None:
        """Write down an act on a message: "attempt", "receipt", "unconfirmed" or "withdrawn"."""
        files.write_json(os.path.join(self.message_path(number), f"{act}.json"), content, durable=True)

    def _numbers(self) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(self.messages_path) if name.isdecimal())
        except FileNotFoundError:
            return []

    def _act(self, base: str, act: str) -> dict[str, Any]:
        content = files.read_json(os.path.join(base, f"{act}.json"))
        return content if isinstance(content, dict) else {}

    # Facts: what the agent said.

    def facts(self, since: float = 0.0) -> list[Payload]:
        """What the agent has said since a time, in the order of its saying."""
        found = []
        try:
            with os.scandir(self.facts_path) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        found.append((entry.stat().st_mtime_ns, entry.name, entry.path))
        except FileNotFoundError:
            return []
        facts = []
        for stamp, name, path in sorted(found):
            if stamp >= since * 1e9:
                with open(path, "rb") as file:
                    facts.append(Payload(name, stamp / 1e9, file.read()))
        return facts

    # The agent's process, and what its start ran into.

    def process(self) -> tuple[int, str] | None:
        """Pid and start time of the agent's program; None if it never got as far as writing them."""
        try:
            with open(self._process_path, encoding="utf-8", errors="replace") as file:
                pid, _, rest = file.read().partition("\n")
        except FileNotFoundError:
            return None
        started = processes.start_time_in(rest)
        return (int(pid), started) if pid.isdecimal() and started else None

    @property
    def process_path(self) -> str:
        return self._process_path

    def notice(self) -> dict[str, Any] | None:
        """What stood in the way when the agent was last started: {"text", "at"}."""
        value = files.read_json(self._notice_path)
        return value if isinstance(value, dict) else None

    def set_notice(self, text: str, at: float) -> None:
        files.write_json(self._notice_path, {"text": text, "at": at})

    # The courier.

    def courier(self) -> tuple[int, str] | None:
        """Pid and start time of this session's courier, if one is running."""
        value = files.read_json(self._courier_path)
        if not isinstance(value, dict):
            return None
        process = int(value.get("pid", 0)), str(value.get("started"))
        return process if processes.is_running(*process) else None

    def set_courier(self, pid: int | None) -> None:
        """Name the process that delivers queued messages from now on, or nobody."""
        if pid is not None:
            files.write_json(self._courier_path, {"pid": pid, "started": processes.start_time(pid)})
        elif os.path.exists(self._courier_path):
            os.unlink(self._courier_path)


def _message(
    number: int,
    claim: dict[str, Any],
    attempt: dict[str, Any],
    receipt: dict[str, Any],
    unconfirmed: dict[str, Any],
) -> Message:
    return Message(
        number=number,
        wire=str(claim.get("wire", "")),
        via=str(claim.get("via", "terminal")),
        request_id=str(claim.get("request_id", "")),
        created=float(claim.get("created", 0.0)),
        queued=bool(claim.get("queued", False)),
        attempted=float(attempt["at"]) if "at" in attempt else None,
        receipt=str(receipt["receipt"]) if "receipt" in receipt else None,
        unconfirmed=bool(unconfirmed),
    )
