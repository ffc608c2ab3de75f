"""Files as the state folder needs them: whole or not at all, and private to their owner."""

from __future__ import annotations

import errno
import json
import os

from .errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FULL = (errno.ENOSPC, errno.EDQUOT)


def make_folder(path: str) -> None:
    """Create a folder and its parents, each readable by the owner only.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        _make_private(path)
    except OSError as error:
        raise unwritable(path, error) from error


def _make_private(path: str) -> None:
    if os.path.isdir(path):
        return
    _make_private(os.path.dirname(path))
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    os.chmod(path, 0o700)  # mkdir's own mode is subject to the caller's umask, which may take away our own rights


def write_whole(path: str, content: bytes, *, durable: bool = False) -> None:
    """Replace a file in one step: readers see the old content or the new, never a part.

    Args:
        durable: have the content on the disk before the new name is (an fsync).

    Raises:
        StoreError: it cannot be written.
    """
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            _write_all(descriptor, content)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        _discard(temporary)
        raise unwritable(path, error) from error


def write_json(path: str, value: Any, *, durable: bool = False) -> None:
    """`write_whole` of a JSON value."""
    write_whole(path, json.dumps(value).encode() + b"\n", durable=durable)


def read_json(path: str) -> Any:
    """The JSON value in a file; None if there is no such file or it holds no JSON."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def unwritable(path: str, error: OSError) -> StoreError:
    """The error for a state folder that does not take what must be written."""
    if error.errno in _FULL:
        return StoreError(
            f"the disk that holds {path} is full", next="free some space, then run the same command again"
        )
    return StoreError(
        f"cannot write {path}: {error.strerror}",
        next="set DEV_SESSIONS_HOME to a folder that you may write; from a sandbox, run the command outside of it",
    )


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
