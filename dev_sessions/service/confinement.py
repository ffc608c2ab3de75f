"""Which folders agents may work in, and which sessions a remote caller may reach."""

from __future__ import annotations

import os
import shlex

from ..errors import LaunchFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..config import Settings


def may_reach(settings: Settings, record: dict[str, Any]) -> bool:
    """True if the caller may use that session.

    A process of this machine may reach all sessions. A remote caller may reach those that work in the allowed folders,
    and those whose parent it says it is. It could name any parent, so the parent counts only for sessions that remote
    callers have created.
    """
    if settings.allowed is None or settings.all_sessions:
        return True
    own = record.get("from_elsewhere") is True and settings.parent and record.get("parent") == settings.parent
    return bool(own) or _is_allowed(settings.allowed, str(record.get("path") or ""))


def checked_folder(settings: Settings, path: str) -> str:
    """The folder at `path`, absolute and with symlinks resolved; only this result may be used from then on.

    Raises:
        UsageError: an agent cannot work in it, or must not.
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
        raise UsageError(f"{path} is not a folder", next="name the folder that the agent should work in")
    if not os.access(real, os.R_OK | os.X_OK):
        raise UsageError(f"no permission to enter {path}", next="choose another folder")
    return real


def refuse_moved(real: str) -> None:
    """Check once more, right before an agent starts, that a folder is where `checked_folder` found it.

    Raises:
        LaunchFailed: a link has replaced it.
    """
    if _resolved(real) != real:
        raise LaunchFailed(
            f"{real} was replaced by a link since it was checked", next="name the folder that it leads to"
        )


def _refuse_outside(settings: Settings, path: str, real: str) -> None:
    """Refuse a folder outside those of a remote caller, wherever symlinks lead; whether it exists is not revealed."""
    if settings.root is not None and not _is_within(real, os.path.realpath(settings.root)):
        raise UsageError(
            f"{path} is outside of {settings.root} (HOST_PATH)", next=f"choose a folder below {settings.root}"
        )
    if settings.allowed is not None and not _is_allowed(settings.allowed, real):
        raise UsageError(
            f"{path} is outside of the folders that the gateway allows: {', '.join(settings.allowed)}",
            next=f"on the host: dev-sessions gateway --allow {shlex.quote(real)}",
            next_on_host=True,
        )


def _is_allowed(allowed: tuple[str, ...], real: str) -> bool:
    return any(_is_within(real, folder) for folder in allowed)


def _is_within(real: str, folder: str) -> bool:
    """Both are resolved already; resolving again would follow a link that was planted since."""
    return real == folder or real.startswith(folder.rstrip("/") + "/")


def _resolved(path: str) -> str:
    """The path as a process in that folder sees it."""
    import fcntl

    real = os.path.realpath(path)
    if hasattr(fcntl, "F_GETPATH") and os.path.isdir(real):  # macOS, where file systems ignore case
        descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY)
        try:
            real = os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
        finally:
            os.close(descriptor)
    return real
