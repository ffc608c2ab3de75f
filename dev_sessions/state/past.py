"""The compacted messages and facts of a session, in one log.

<folder>/past.jsonl    a line for each message ({"message": ...}) and each fact ({"fact": ...}), in any order
<folder>/past.json     how much of the log counts, and the last message in it

The log grows at its end; only the bytes that `past.json` counts are valid. A writer that died leaves bytes that do not
count (the next writer overwrites them), or files that are already in the log (readers skip them, and the next writer
removes them). Nothing is deleted, yet after ten thousand turns a session is as quick as after ten, with as few files.
"""

from __future__ import annotations

import json
import os

from ..system import files
from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


class Mark(NamedTuple):
    """The valid part of the log: `through` is the number of its last message, `size` its length in bytes."""

    through: int = 0
    size: int = 0


class Past:
    """The past of the session whose folder is `path`."""

    def __init__(self, path: str) -> None:
        self._log_path = f"{path}/past.jsonl"
        self._mark_path = f"{path}/past.json"

    def mark(self) -> Mark:
        """The current mark; (0, 0) if nothing was compacted."""
        value = files.read_json(self._mark_path)
        fields = value if isinstance(value, dict) else {}
        through, size = fields.get("through"), fields.get("size")
        if type(through) is int and type(size) is int and through >= 0 and size >= 0:
            return Mark(through, size)
        return self._recovered()

    def stamp(self) -> int:
        """A number that changes with each compaction; 0 before the first."""
        try:
            mark = os.stat(self._mark_path)
        except OSError:
            return 0
        # A new mark is a new file, so two marks with the same time stamp have different inodes.
        return mark.st_mtime_ns << 64 | mark.st_ino

    def entries(self) -> Iterator[dict[str, Any]]:
        """The log's entries, oldest first."""
        return _objects(self._read(self.mark().size))

    def find(self, words: str) -> Iterator[dict[str, Any]]:
        """The entries that contain these words, without reading the others into memory."""
        wanted, size = json.dumps(words).strip('"').encode(), self.mark().size
        try:
            file = open(self._log_path, "rb")  # noqa: SIM115 (closed below)
        except (FileNotFoundError, IsADirectoryError):
            return
        with file:
            size = min(size, os.fstat(file.fileno()).st_size)
            if not size:
                return
            import mmap

            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
                at = content.find(wanted)
                while at >= 0:
                    begin, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at)
                    yield from _objects(content[begin : end if end >= 0 else None])
                    at = content.find(wanted, end) if end >= 0 else -1

    def add(self, entries: Iterable[dict[str, Any]], through: int) -> None:
        """Append entries. The caller holds the session's lock; after that it removes the files that they replace.

        Raises:
            StoreError: it cannot be written; nothing has changed.
        """
        content = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
        size = self.mark().size
        try:
            if os.stat(self._log_path).st_size < size:  # the log was truncated: continue after its last whole line
                size = self._read(size).rfind(b"\n") + 1
        except FileNotFoundError:
            size = 0
        self._write(size, content)
        files.write_json(self._mark_path, {"through": through, "size": size + len(content)}, durable=True)

    def _read(self, size: int) -> bytes:
        try:
            with open(self._log_path, "rb") as file:
                return file.read(size)
        except (FileNotFoundError, IsADirectoryError):
            return b""

    def _write(self, at: int, content: bytes) -> None:
        try:
            descriptor = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                os.ftruncate(descriptor, at)
                os.lseek(descriptor, at, os.SEEK_SET)
                files.write_all(descriptor, content)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, at)  # if there is no mark yet, all whole lines would count
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise files.unwritable(self._log_path, error) from error

    def _recovered(self) -> Mark:
        """The mark of a log whose `past.json` is lost: all its whole lines count."""
        if not os.path.exists(self._log_path):
            return Mark()
        content = self._read(-1)
        size = content.rfind(b"\n") + 1
        messages = [entry.get("message") for entry in _objects(content[:size])]
        numbers = [message.get("number") for message in messages if isinstance(message, dict)]
        return Mark(max((number for number in numbers if type(number) is int), default=0), size)


def _objects(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        entry = files.parse_object(line)
        if entry is not None:
            yield entry
