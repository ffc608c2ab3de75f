"""Which folders agents may work in, and which sessions a caller elsewhere may reach."""

from __future__ import annotations

import os
import shlex

from ..errors import LaunchFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..config import Settings


def may_reach(settings: Settings, record: dict[str, Any]) -> bool:
    """True if the caller may see, ask and end that session.

    A process of this machine may reach all. A caller elsewhere reaches those that work in the allowed folders and, by
    the parent that it names, those that it created itself. It could name any parent, so that only counts for sessions
    that a caller elsewhere has created.
    """
    if settings.allowed is None or settings.all_sessions:
        return True
    own = record.get("from_elsewhere") is True and settings.parent and record.get("parent") == settings.parent
    return bool(own) or _is_allowed(settings.allowed, str(record.get("path") or ""))


def checked_folder(settings: Settings, path: str) -> str:
    """The folder at `path` as the system knows it: absolute, symlinks resolved. The caller goes on with that alone.

    Raises:
        UsageError: no agent can work in it, or none may.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {path!r} is not UTF-8", next="rename the folder") from error
    real = _resolved(path)
    _refuse_outside(settings, path, real)
    if not os.path.exists(real):
        raise UsageError(f"there is no folder {path}", next=f"mkdir -p {shlex.quote(path)}")
    if not os.path.isdir(real):
        raise UsageError(f"{path} is no folder", next="name the folder that the agent is to work in")
    if not os.access(real, os.R_OK | os.X_OK):
        raise UsageError(f"you may not enter {path}", next="choose another folder")
    return real


def refuse_moved(real: str) -> None:
    """Look again, right before an agent starts, whether a folder still is where `checked_folder` found it.

    Raises:
        LaunchFailed: a link has taken its place.
    """
    if _resolved(real) != real:
        raise LaunchFailed(f"{real} leads elsewhere since it was checked", next="name the folder that it leads to")


def _refuse_outside(settings: Settings, path: str, real: str) -> None:
    """Hold a caller elsewhere to its folders, wherever symlinks lead; what is outside is not even looked for."""
    if settings.root is not None and not _is_within(real, os.path.realpath(settings.root)):
        raise UsageError(
            f"{path} is outside of {settings.root} (HOST_PATH)", next=f"choose a folder below {settings.root}"
        )
    if settings.allowed is not None and not _is_allowed(settings.allowed, real):
        raise UsageError(
            f"{path} is outside of the folders that the gateway allows: {', '.join(settings.allowed)}",
            next=f"on the host: dev-sessions gateway --allow {shlex.quote(real)}",
        )


def _is_allowed(allowed: tuple[str, ...], real: str) -> bool:
    return any(_is_within(real, folder) for folder in allowed)


def _is_within(real: str, folder: str) -> bool:
    """Both are resolved already: to resolve again would follow a link that was planted since."""
    return real == folder or real.startswith(folder.rstrip("/") + "/")


def _resolved(path: str) -> str:
    """The path as a process that works there is told it."""
    import fcntl

    real = os.path.realpath(path)
    if hasattr(fcntl, "F_GETPATH") and os.path.isdir(real):  # macOS, whose file systems take any case for the same
        descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY)
        try:
            real = os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
        finally:
            os.close(descriptor)
    return real
