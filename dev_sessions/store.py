"""`sessions.json`, the registry of sessions, and the locks. Knows no backend and no turn.

Readers take no lock: the file is replaced in one step. Each record also stands in its session's folder
(`record.json`), so that a damaged registry can be rebuilt.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager

from . import files
from .errors import SessionNotFound, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Record = dict[str, Any]

FORMAT = 1


class Store:
    """The registry in one state folder.

    Args:
        home: the state folder; created by the first writer.
        warn: called with a sentence when something had to be repaired.
    """

    def __init__(self, home: str, warn: Callable[[str], None] = lambda text: None) -> None:
        self.home = home
        self.path = os.path.join(home, "sessions.json")
        self.sessions_folder = os.path.join(home, "sessions")
        self.archive_folder = os.path.join(home, "archive")
        self._warn = warn

    def load(self) -> dict[str, Record]:
        """All records by session id. Writes nothing; of a damaged registry it shows what the folders tell.

        Raises:
            StoreError: the registry cannot be read, or a newer version of dev-sessions wrote it.
        """
        content = self._content()
        if content is None:
            return self._rebuilt()  # none at all before the first session
        records = _parse(content, self.path)
        if records is None:
            self._warn(f"{self.path} is damaged; showing what the session folders tell")
            return self._rebuilt()
        return records

    @contextmanager
    def change(self) -> Iterator[dict[str, Record]]:
        """Hold the registry's lock; what the block leaves in the yielded dict is written when it ends without error.

        Raises:
            StoreError: the registry cannot be read or written.
        """
        files.make_folder(self.sessions_folder)
        with self.lock(os.path.join(self.home, "sessions.lock")):
            records = self._load_or_set_aside()
            before = {id: json.dumps(record) for id, record in records.items()}
            yield records
            changed = [record for id, record in records.items() if before.get(id) != json.dumps(record)]
            try:
                for record in changed:
                    folder = self.folder(record)
                    files.make_folder(folder)
                    files.write_json(os.path.join(folder, "record.json"), record, durable=True)
                if changed or before.keys() != records.keys():
                    files.write_json(self.path, {"format": FORMAT, "sessions": records}, durable=True)
            except BaseException:
                self._take_back([record for record in changed if record["id"] not in before])
                raise

    def remove(self, record: Record) -> None:
        """Take a session out of the registry; another one that has its id by now stays."""
        with self.change() as records:
            if records.get(record["id"], {}).get("key") == record["key"]:
                del records[record["id"]]

    def folder(self, record: Record) -> str:
        """The folder of a session."""
        return os.path.join(self.sessions_folder, str(record["key"]))

    @contextmanager
    def lock(self, path: str, timeout: float = 60.0) -> Iterator[None]:
        """Hold an operating-system lock, which a dead process releases by dying.

        Args:
            timeout: seconds to wait for another holder.

        Raises:
            StoreError: another process holds it for longer, or the file cannot be made.
            SessionNotFound: the folder that it would stand in is gone: the session was killed.
        """
        import filelock

        if not os.path.isdir(os.path.dirname(path)):  # filelock would make it anew
            raise SessionNotFound("the session was killed meanwhile", next="dev-sessions list")
        held = filelock.FileLock(path, mode=0o600)
        try:
            held.acquire(timeout=timeout)
        except filelock.Timeout as error:
            raise StoreError(
                f"another dev-sessions command has held {path} for {timeout:g} s", next="wait for it, then try again"
            ) from error
        except OSError as error:
            raise files.unwritable(path, error) from error
        try:
            yield
        finally:
            held.release()

    def _take_back(self, added: list[Record]) -> None:
        """Leave no folder of a session that did not get into the registry (Ctrl-C, a full disk)."""
        import shutil

        known = _parse(self._content() or b"", self.path) or {}
        for record in added:
            if record["id"] not in known:
                shutil.rmtree(self.folder(record), ignore_errors=True)

    def _content(self) -> bytes | None:
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"cannot read {self.path}: {error.strerror}",
                next="make it readable for you, or set DEV_SESSIONS_HOME to a folder of yours",
            ) from error

    def _load_or_set_aside(self) -> dict[str, Record]:
        content = self._content()
        if content is None:
            return self._rebuilt()
        records = _parse(content, self.path)
        if records is None:
            aside = f"{self.path}.damaged-{os.urandom(4).hex()}"
            files.write_whole(aside, content)
            records = self._rebuilt()
            self._warn(f"{self.path} was damaged: kept as {aside}, rebuilt from {len(records)} session folders")
        return records

    def _rebuilt(self) -> dict[str, Record]:
        records = {}
        try:
            keys = sorted(os.listdir(self.sessions_folder))
        except FileNotFoundError:
            keys = []
        for key in keys:
            record = files.read_json(os.path.join(self.sessions_folder, key, "record.json"))
            if isinstance(record, dict) and record.get("key") == key and _whole(str(record.get("id")), record):
                records[record["id"]] = record
        return records


def _parse(content: bytes, path: str) -> dict[str, Record] | None:
    """The records in a registry's content; None if it is damaged."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("format"), int):
        return None
    if value["format"] > FORMAT:
        raise StoreError(
            f"{path} has format {value['format']}, written by a newer dev-sessions; this one knows {FORMAT}",
            next="upgrade dev-sessions, or set DEV_SESSIONS_HOME to another folder",
        )
    sessions = value.get("sessions")
    if not isinstance(sessions, dict) or not all(_whole(id, record) for id, record in sessions.items()):
        return None
    return sessions


def _whole(id: str, record: Any) -> bool:
    """True if a record has what every reader relies on."""
    words = ("key", "cli", "mode", "permissions", "path", "description")
    return isinstance(record, dict) and record.get("id") == id and all(isinstance(record.get(w), str) for w in words)
