"""Files as the state folder needs them: whole or not at all, and private to their owner."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time

from ..errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What is larger than any file of an agent that is read as a whole. Bytes.
_LARGEST = 64 * 1024 * 1024
_PLAIN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # neither waits for a pipe nor takes a terminal
_decode = json.JSONDecoder().raw_decode
_FULL = (errno.ENOSPC, errno.EDQUOT)
# No write takes that long. Seconds.
_WRITING = 60.0


def make_folder(path: str) -> None:
    """Create a folder and its parents, each readable by the owner only.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        _make_private(path)
    except OSError as error:
        raise unwritable(str(error.filename or path), error) from error


def _make_private(path: str) -> None:
    if os.path.isdir(path):
        return
    _make_private(os.path.dirname(path))
    try:
        os.mkdir(path)
    except FileExistsError as error:
        if os.path.isdir(path):
            return
        raise StoreError(
            f"{path} is no folder (a file, or a link that leads nowhere)",
            next="move it out of the way, or set DEV_SESSIONS_HOME to another folder",
        ) from error
    os.chmod(path, 0o700)  # mkdir's own mode is subject to the caller's umask, which may take away our own rights


def write_whole(path: str, content: bytes, *, durable: bool = False, private: bool = True) -> None:
    """Replace a file in one step: readers see the old content or the new, never a part.

    Args:
        durable: have the content on the disk before the new name is (an fsync).
        private: readable by the owner only; else as the caller's umask has it.

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
        _discard(temporary)
        raise unwritable(path, error) from error


def write_json(path: str, value: Any, *, durable: bool = False) -> None:
    """`write_whole` of a JSON value."""
    write_whole(path, json.dumps(value).encode() + b"\n", durable=durable)


def read(path: str) -> bytes | None:
    """A file's content; None if there is no such file. (Half the time of `open`, and a list reads thousands.)"""
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
        inside: a folder of ours above `path`, whose content is not trusted: below it no link is followed. None: all
            links are followed.

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
    """Step by step, each from the folder before: a name that becomes a link meanwhile leads nowhere."""
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
    """The content of a file that `open_regular` opens; None if it does not, or if it is larger than 64 MiB."""
    try:
        descriptor = open_regular(path, inside)
    except (OSError, ValueError):
        return None
    try:
        content = _read_up_to(descriptor, _LARGEST + 1)
        return content if len(content) <= _LARGEST else None
    finally:
        os.close(descriptor)


def emptied(folder: str, name: str) -> None:
    """Have an empty folder `name` in a folder of ours that others write to, whatever has been put there.

    Raises:
        OSError: it cannot be made.
    """
    above = os.open(folder, _PLAIN | os.O_DIRECTORY)
    try:
        try:
            descriptor = os.open(name, _PLAIN | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        except OSError:
            try:
                os.unlink(name, dir_fd=above)
            except FileNotFoundError:
                pass
            os.mkdir(name, 0o700, dir_fd=above)
            descriptor = os.open(name, _PLAIN | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            os.fchmod(descriptor, 0o700)  # whatever the umask
        try:
            for entry in os.listdir(descriptor):
                with contextlib.suppress(OSError):  # a folder, which none of ours reads
                    os.unlink(entry, dir_fd=descriptor)
        finally:
            os.close(descriptor)
    finally:
        os.close(above)


def read_limited(path: str, most: int) -> bytes | None:
    """The content of a regular file of at most `most` bytes; None if there is no such file.

    For files that somebody else may have put there: it never waits, and never fills the memory.

    Raises:
        OSError: it is another kind of file (a folder, a pipe, a device), longer than that, or not to be read.
    """
    try:
        _require_regular(os.stat(path), path)  # to open a device may already act on it
        descriptor = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        content = _read_up_to(descriptor, most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"longer than {most} bytes", path)
    return content


def _require_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


def _read_up_to(descriptor: int, most: int) -> bytes:
    pieces, left = [], most
    while left and (piece := os.read(descriptor, min(left, 65536))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def read_json(path: str) -> Any:
    """The JSON value in a file; None if there is no such file or it holds no JSON."""
    content = read(path)
    return None if content is None else parse_json(content)


def parse_json(content: bytes) -> Any:
    """The JSON value in UTF-8 text; None if it is none. (Half the time of `json.loads` on small values.)"""
    try:
        text = content.decode("utf-8", "surrogatepass").strip(" \t\r\n")
        value, end = _decode(text)
        return value if end == len(text) else None
    except (ValueError, RecursionError):
        return None


def parse_object(content: bytes) -> dict[str, Any] | None:
    """`parse_json`, where only an object will do."""
    value = parse_json(content)
    return value if isinstance(value, dict) else None


def sweep(folder: str, start: str, end: str = ".tmp") -> None:
    """Remove the files of such names. The caller makes sure that nobody is writing them now."""
    for name in _names(folder):
        if name.startswith(start) and name.endswith(end):
            _discard(os.path.join(folder, name))


def sweep_dead(folder: str, age: float = _WRITING) -> None:
    """Remove the temporary files of `write_whole` whose writers died in the middle.

    Their names tell the pid. A writer in another container has a pid that means nothing here: its file is young. Who
    keeps all writers away takes an `age` of 0.
    """
    for name in _names(folder):
        words = name.split(".")
        if words[-1] == "tmp" and len(words) > 3 and words[-3].isdecimal():
            path = os.path.join(folder, name)
            if not _lives(int(words[-3])) and _older(path, age):
                _discard(path)


def remove(path: str) -> None:
    """Have no such file, whether or not there was one.

    Raises:
        OSError: it is there, and cannot be removed.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_empty(folder: str) -> None:
    """Remove a folder, if nothing is in it."""
    try:
        os.rmdir(folder)
    except OSError:
        pass


def unwritable(path: str, error: OSError) -> StoreError:
    """The error for a state folder that does not take what must be written."""
    if error.errno in _FULL:
        return StoreError(
            f"the disk that holds {path} is full", next="free some space, then run the same command again"
        )
    if error.errno == errno.ENOENT and not os.path.isdir(os.path.dirname(path)):
        return StoreError(
            f"cannot write {path}: its folder is gone",
            next="dev-sessions list; a session whose folder was damaged can still be ended with dev-sessions kill",
        )
    return StoreError(
        f"cannot write {path}: {error.strerror}",
        next="set DEV_SESSIONS_HOME to a folder that you may write; from a sandbox, run the command outside of it",
    )


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte, however many calls that takes."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _older(path: str, seconds: float) -> bool:
    try:
        return abs(time.time() - os.stat(path).st_mtime) > seconds
    except OSError:
        return False


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
