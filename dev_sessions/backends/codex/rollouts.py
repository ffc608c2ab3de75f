"""Where the rollout file of a thread is, below Codex's home. Folders as of 0.139 to 0.171."""

from __future__ import annotations

import os
import time


def find(home: str, thread: str, expected: str | None) -> str | None:
    """The path of a thread's rollout; None if it was archived, deleted, or never written."""
    if expected and os.path.exists(expected):
        return expected
    top = os.path.join(home, "sessions")
    return _below(os.path.join(top, _day(thread)), thread) or _below(top, thread)


def _day(thread: str) -> str:
    """The folder in which the rollout of a thread most probably is: an id tells when it was made (UUID version 7)."""
    try:
        made = int(thread.replace("-", "")[:12], 16) / 1000
        return time.strftime("%Y/%m/%d", time.localtime(made))
    except (ValueError, OverflowError, OSError):
        return ""


def find_archived(home: str, thread: str) -> str | None:
    """The path of a rollout that was put into Codex's archive, where no server runs it."""
    return _below(os.path.join(home, "archived_sessions"), thread)


def _below(top: str, thread: str) -> str | None:
    for folder, _, names in os.walk(top):
        for name in names:
            if name.endswith(f"-{thread}.jsonl"):
                return os.path.join(folder, name)
    return None
