"""The registry of sessions, `sessions.json`, and the locks.

Readers take no lock: the file is replaced in one step. A copy of each record is in its session's folder (`record.json`,
written first), so that a damaged registry can be rebuilt from its whole records and from the folders.
"""

from __future__ import annotations

import json
import marshal
import os
from contextlib import contextmanager

from ..errors import SessionNotFound, StoreError
from ..system import files, locks
from .answers import Answers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Record = dict[str, Any]

FORMAT = 1


class Store:
    """The registry in one state folder.

    Args:
        home: the state folder; the first writer creates it.
        warn: called with a sentence for each problem found.
    """

    def __init__(self, home: str, warn: Callable[[str], None] = lambda text: None) -> None:
        self.home = home
        self.path = os.path.join(home, "sessions.json")
        self.sessions_folder = os.path.join(home, "sessions")
        self.archive_folder = os.path.join(home, "archive")
        self.answers = Answers(os.path.join(home, "answers"))  # to requests about several sessions
        self._warn = warn

    def load(self) -> dict[str, Record]:
        """All records by session id. Writes nothing; if the registry is damaged, the folders supply the records.

        Raises:
            StoreError: the registry cannot be read, or a newer version of dev-sessions wrote it.
        """
        records, damage = self._read()
        if damage:
            self._warn(f"{self.path} is damaged ({damage}): {_counted(records)} found in it and in the session folders")
            self._warn("nothing is lost; the next create or kill repairs it and keeps a copy")
        return records

    @contextmanager
    def change(self) -> Iterator[dict[str, Record]]:
        """Hold the registry's lock; the yielded dict is written when the block ends without an error.

        Raises:
            StoreError: the registry cannot be read or written.
        """
        files.make_folder(self.sessions_folder)
        with self.lock(os.path.join(self.home, "sessions.lock")):
            records, damage = self._read()
            if damage:
                aside = self._set_aside()
                self._warn(f"{self.path} was damaged ({damage}): rebuilt with {_counted(records)}, kept as {aside}")
            self._sweep(records)
            before = marshal.loads(marshal.dumps(records))  # the quickest deep copy
            yield records
            changed = [record for id, record in records.items() if before.get(id) != record]
            try:
                for record in changed:
                    folder = self.folder(record)
                    files.make_folder(folder)
                    files.write_json(os.path.join(folder, "record.json"), record, durable=True)
                if damage or changed or before.keys() != records.keys():
                    files.write_json(self.path, {"format": FORMAT, "sessions": records}, durable=True)
            except BaseException:  # Ctrl-C, a full disk: leave no folder of a session that was not registered
                import shutil

                known = _parsed(self._content() or b"", self.path)[0]
                for record in changed:
                    if record["id"] not in before and record["id"] not in known:
                        shutil.rmtree(self.folder(record), ignore_errors=True)
                raise

    def remove(self, record: Record) -> None:
        """Remove a session from the registry; a newer one with the same id stays."""
        with self.change() as records:
            if records.get(record["id"], {}).get("key") == record["key"]:
                del records[record["id"]]

    def folder(self, record: Record) -> str:
        """The folder of a session."""
        return os.path.join(self.sessions_folder, str(record["key"]))

    @contextmanager
    def lock(self, path: str, timeout: float = 60.0) -> Iterator[None]:
        """Hold an operating-system lock; see `locks`.

        Args:
            timeout: seconds to wait for another holder.

        Raises:
            StoreError: another process holds it for longer, or the file cannot be created.
            SessionNotFound: its folder is gone: the session was killed.
        """
        if not os.path.isdir(os.path.dirname(path)):  # otherwise filelock would create it
            raise SessionNotFound(
                f"the folder {os.path.dirname(path)} is gone: its session was killed, or somebody removed it",
                next="dev-sessions list; if it still lists the session, dev-sessions kill ends its agent",
            )
        try:
            release = locks.take(path, timeout)
        except TimeoutError as error:
            raise StoreError(
                f"another dev-sessions command has held {path} for {timeout:g} s", next="wait for it, then try again"
            ) from error
        except locks.NotOurs as error:
            raise StoreError(
                f"cannot lock {path}: {error.strerror}", next=f"check who created it, then remove it: rm {path}"
            ) from error
        except OSError as error:
            raise files.unwritable(path, error) from error
        try:
            yield
        finally:
            release()

    def _sweep(self, records: dict[str, Record]) -> None:
        """Remove the files that killed writers left; we hold the lock, so nobody else is writing."""
        files.sweep(self.home, f"{os.path.basename(self.path)}.")
        for key in set(files.names_in(self.sessions_folder)) - {record["key"] for record in records.values()}:
            folder = os.path.join(self.sessions_folder, key)
            names = files.names_in(folder)
            # A create that was killed before its session was in the registry; its agent was never started.
            spare = "record.json" not in names or self._record_in(folder) is not None
            if spare and all(name.startswith("record.json") for name in names):
                files.sweep(folder, "record.json", "")
                files.remove_empty(folder)

    def _content(self) -> bytes | None:
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            return b""
        except OSError as error:
            raise StoreError(
                f"cannot read {self.path}: {error.strerror}",
                next="make it readable, or set DEV_SESSIONS_HOME to a folder of yours",
            ) from error

    def _read(self) -> tuple[dict[str, Record], str]:
        """All records, and a description of the registry's damage ("" if there is none)."""
        content = self._content()
        if content is None:
            return self._completed({}), ""  # before the first session
        records, damage = _parsed(content, self.path)
        return (self._completed(records), damage) if damage else (records, "")

    def _set_aside(self) -> str:
        """Keep a copy of the damaged registry; the file itself stays until the new one replaces it."""
        aside = f"{self.path}.damaged-{os.urandom(4).hex()}"
        try:
            os.link(self.path, aside)
        except OSError:  # a folder, or a file system without links
            try:
                os.rename(self.path, aside)
            except OSError as error:
                raise files.unwritable(aside, error) from error
        return aside

    def _completed(self, records: dict[str, Record]) -> dict[str, Record]:
        """These records, and the records of all other session folders."""
        known = {record["key"] for record in records.values()}
        found: dict[str, Record] = {}
        for key in sorted(set(files.names_in(self.sessions_folder)) - known):
            folder = os.path.join(self.sessions_folder, key)
            record = self._record_in(folder)
            if record is not None:
                if record["id"] not in found or _age(found[record["id"]]) < _age(record):
                    found[record["id"]] = record
            elif files.names_in(folder):
                self._warn(
                    f"{folder} has no readable record.json, so its session is not listed. Its messages are still "
                    f"there; if its agent runs, reach it with: tmux attach -t dev-{key.rpartition('-')[0]}"
                )
        return {**found, **records}

    def _record_in(self, folder: str) -> Record | None:
        record = files.read_json(os.path.join(folder, "record.json"))
        fits = isinstance(record, dict) and record.get("key") == os.path.basename(folder)
        return record if fits and _whole(record.get("id"), record) else None


def _parsed(content: bytes, path: str) -> tuple[dict[str, Record], str]:
    """The valid records in a registry's content, and a description of its damage ("" if there is none)."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}, "it is not JSON" if content.strip() else "it is empty"
    if not isinstance(value, dict) or type(value.get("format")) is not int:
        return {}, "it is not a registry"
    if value["format"] > FORMAT:
        raise StoreError(
            f"{path} has format {value['format']}, written by a newer dev-sessions; this one knows {FORMAT}",
            next="upgrade dev-sessions, or set DEV_SESSIONS_HOME to another folder",
        )
    sessions = value.get("sessions")
    if not isinstance(sessions, dict):
        return {}, "it has no sessions"
    whole = {id: record for id, record in sessions.items() if _whole(id, record)}
    broken = sorted(sessions.keys() - whole.keys())
    return whole, f"bad records: {', '.join(broken)}" if broken else ""


_NONE = type(None)
_FIELDS: tuple[tuple[str, set[Any]], ...] = (
    *((name, {str}) for name in ("key", "cli", "mode", "permissions", "path", "description")),
    *((name, {str, _NONE}) for name in ("group", "parent", "model")),
    *((name, {int, float, _NONE}) for name in ("created_at", "ready_at")),
    *((name, {dict, _NONE}) for name in ("backend", "creator")),
)


def _whole(id: Any, record: Any) -> bool:
    """True if a record has all the fields that readers rely on, with values of the right types."""
    if type(record) is not dict or type(id) is not str or record.get("id") != id:
        return False
    for name, kinds in _FIELDS:
        if type(record.get(name)) not in kinds:
            return False
    key: str = record["key"]
    return "/" not in key and key.strip(".") != ""


def _age(record: Record) -> tuple[bool, float]:
    """Sorts records with the same id: the last one is the session's; the others are from creates that were killed."""
    return record.get("ready_at") is not None, float(record.get("created_at") or 0.0)


def _counted(records: dict[str, Record]) -> str:
    return f"{len(records)} session{'' if len(records) == 1 else 's'}"
