"""Writes files whole or not at all, private to their owner; reads files of others with care."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from contextlib import suppress

from ..errors import StoreError
from . import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST = 64 * 1024 * 1024  # bytes; no file of an agent that is read as a whole is larger
_PLAIN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # does not wait for a pipe or take over a terminal
_WRITING = 60.0  # seconds; every write is faster than that
_decode = json.JSONDecoder().raw_decode


def make_folder(path: str) -> None:
    """Create a folder and its parents, each private to the owner.

    Raises:
        StoreError: it cannot be created.
    """
    if os.path.isdir(path):
        return
    make_folder(os.path.dirname(path))
    try:
        os.mkdir(path)
        os.chmod(path, 0o700)  # mkdir's own mode is subject to the umask, which may remove the owner's own rights
    except FileExistsError as error:
        if not os.path.isdir(path):
            raise StoreError(
                f"{path} is not a folder (it is a file or a broken link)",
                next="move it out of the way, or set DEV_SESSIONS_HOME to another folder",
            ) from error
    except OSError as error:
        raise unwritable(path, error) from error


def write_whole(path: str, content: bytes, *, durable: bool = False, private: bool = True) -> None:
    """Replace a file in one step: readers see the old content or the new one, never a part.

    Args:
        durable: flush the content to disk first (fsync).
        private: readable by the owner only; otherwise the umask decides.

    Raises:
        StoreError: it cannot be written.
    """
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        try:
            if private:
                os.fchmod(descriptor, 0o600)
            write_all(descriptor, content)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise unwritable(path, error) from error


def write_json(path: str, value: Any, *, durable: bool = False) -> None:
    """`write_whole` of a JSON value."""
    write_whole(path, json.dumps(value).encode() + b"\n", durable=durable)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte, in as many calls as needed."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def read(path: str) -> bytes | None:
    """A file's content; None if there is no such file. Twice as fast as `open`, and `list` reads thousands of files."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        pieces = []
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
            if len(piece) < 65536:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except IsADirectoryError:
        return None
    finally:
        os.close(descriptor)


def open_regular(path: str, inside: str | None = None) -> int:
    """Open a regular file that somebody else has written, for reading; the caller closes the descriptor.

    Args:
        inside: a folder of ours above `path` with untrusted content: links below it are not followed. None: all links
            are followed.

    Raises:
        OSError: it is missing or not a regular file, or there is a link below `inside`.
        ValueError: it is not a path.
    """
    descriptor = _open_below(inside, path, 0) if inside else os.open(path, _PLAIN)
    try:
        _require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_folder(path: str, inside: str | None = None) -> int:
    """`open_regular` for a folder."""
    return _open_below(inside, path, os.O_DIRECTORY) if inside else os.open(path, _PLAIN | os.O_DIRECTORY)


def _open_below(top: str, path: str, kind: int) -> int:
    """Open folder by folder, each relative to the one before, so that no name can be replaced by a link meanwhile."""
    names = path[len(top) :].strip("/").split("/")
    if not path.startswith(top) or {"", ".", ".."}.intersection(names):
        raise OSError(errno.EINVAL, f"not a path below {top}", path)
    if len(names) == 1:
        return os.open(path, _PLAIN | os.O_NOFOLLOW | kind)
    folder = os.open(top, _PLAIN | os.O_DIRECTORY)
    for place, name in enumerate(names, 1):
        kinds = kind if place == len(names) else os.O_DIRECTORY
        try:
            below = os.open(name, _PLAIN | os.O_NOFOLLOW | kinds, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def read_regular(path: str, inside: str | None = None) -> bytes | None:
    """The content of a file that `open_regular` opens; None if that fails, or if it is larger than 64 MiB."""
    try:
        content = _read_up_to(open_regular(path, inside), _LARGEST + 1)
    except (OSError, ValueError):
        return None
    return content if len(content) <= _LARGEST else None


def read_limited(path: str, most: int) -> bytes | None:
    """The content of a regular file of at most `most` bytes; None if there is no such file.

    For files that somebody else may have put there: it never blocks, and never fills the memory.

    Raises:
        OSError: it is not a regular file (but a folder, a pipe or a device), is longer than that, or is not readable.
    """
    try:
        _require_regular(os.stat(path), path)  # opening a device may already change its state
        content = _read_up_to(open_regular(path), most + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(content) > most:
        raise OSError(errno.EFBIG, f"longer than {most} bytes", path)
    return content


def _require_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


def _read_up_to(descriptor: int, most: int) -> bytes:
    with open(descriptor, "rb", buffering=0) as file:
        pieces = []
        while most and (piece := file.read(min(most, 65536))):
            pieces.append(piece)
            most -= len(piece)
    return b"".join(pieces)


def read_json(path: str) -> Any:
    """The JSON value in a file; None if there is no such file or it holds no JSON."""
    content = read(path)
    return None if content is None else parse_json(content)


def parse_json(content: bytes) -> Any:
    """The JSON value in UTF-8 text; None if it is not JSON. Twice as fast as `json.loads` for small values."""
    try:
        text = content.decode("utf-8", "surrogatepass").strip(" \t\r\n")
        value, end = _decode(text)
        return value if end == len(text) else None
    except (ValueError, RecursionError):
        return None


def parse_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in UTF-8 text; None if it is not one."""
    value = parse_json(content)
    return value if isinstance(value, dict) else None


def names_in(folder: str) -> list[str]:
    """The names in a folder; none if there is no such folder."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def emptied(folder: str, name: str) -> None:
    """Make an empty folder `name` in a folder of ours that others write to, replacing whatever they have put there.

    Raises:
        OSError: it cannot be made.
    """
    plain = _PLAIN | os.O_DIRECTORY | os.O_NOFOLLOW
    above = os.open(folder, _PLAIN | os.O_DIRECTORY)
    try:
        try:
            descriptor = os.open(name, plain, dir_fd=above)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=above)
            os.mkdir(name, 0o700, dir_fd=above)
            descriptor = os.open(name, plain, dir_fd=above)
            os.fchmod(descriptor, 0o700)  # whatever the umask
        try:
            for entry in os.listdir(descriptor):
                with suppress(OSError):  # a folder, which we never read
                    os.unlink(entry, dir_fd=descriptor)
        finally:
            os.close(descriptor)
    finally:
        os.close(above)


def sweep(folder: str, start: str, end: str = ".tmp") -> None:
    """Remove the files whose names begin with `start` and end with `end`. Nobody may be writing them."""
    for name in names_in(folder):
        if name.startswith(start) and name.endswith(end):
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))


def sweep_dead(folder: str, age: float = _WRITING) -> None:
    """Remove the temporary files of `write_whole` whose writers died.

    Their names contain the writer's pid. Young files stay, since the pid of a writer in another container means nothing
    here.

    Args:
        age: seconds; younger files stay. 0 if nobody else can be writing.
    """
    for name in names_in(folder):
        words = name.split(".")
        if words[-1] == "tmp" and len(words) > 3 and words[-3].isdecimal():
            path = os.path.join(folder, name)
            with suppress(OSError):
                if abs(time.time() - os.stat(path).st_mtime) > age and not processes.start_time(int(words[-3])):
                    os.unlink(path)


def remove(path: str) -> None:
    """Remove a file, if it exists.

    Raises:
        OSError: it exists and cannot be removed.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_empty(folder: str) -> None:
    """Remove a folder, if it is empty."""
    with suppress(OSError):
        os.rmdir(folder)


def unwritable(path: str, error: OSError) -> StoreError:
    """The error for a file of the state folder that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"the disk that holds {path} is full", next="free some space, then run the same command again"
        )
    if error.errno == errno.ENOENT and not os.path.isdir(os.path.dirname(path)):
        return StoreError(
            f"cannot write {path}: its folder is gone",
            next="dev-sessions list; dev-sessions kill can still end a session whose folder was damaged",
        )
    return StoreError(
        f"cannot write {path}: {error.strerror}",
        next="set DEV_SESSIONS_HOME to a folder that you may write; if this is a sandbox, run the command outside it",
    )
