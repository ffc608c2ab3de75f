"""A gateway's files in the state folder: its token, and a note of its addresses."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ..system import files, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def token_path(home: str) -> str:
    """The file that holds the token."""
    return os.path.join(home, "gateway", "token")


def token(home: str) -> str:
    """The token; created if there is none.

    Raises:
        OSError: it can be neither read nor created.
    """
    path = token_path(home)
    files.make_folder(os.path.dirname(path))
    found = (files.read(path) or b"").decode(errors="replace").strip()
    if not found:
        found = os.urandom(32).hex()
        files.write_whole(path, found.encode() + b"\n", durable=True)
    os.chmod(path, 0o600)
    return found


@contextmanager
def noted(home: str, urls: list[str]) -> Iterator[None]:
    """Keep a note of this gateway's addresses while the block runs."""
    files.write_json(_note_path(home), {"pid": os.getpid(), "urls": urls})
    try:
        yield
    finally:
        if _note(home).get("pid") == os.getpid():
            files.remove(_note_path(home))


def noted_urls(home: str) -> list[str]:
    """The addresses of the gateway that was started last; it may have been killed since."""
    urls = _note(home).get("urls")
    return [str(url) for url in urls] if isinstance(urls, list) else []


def pid_at(home: str, url: str) -> int | None:
    """The pid of the gateway that was started last, if it listens at `url` and is still running."""
    pid = _note(home).get("pid")
    return pid if type(pid) is int and url in noted_urls(home) and processes.start_time(pid) else None


def _note_path(home: str) -> str:
    return os.path.join(home, "gateway", "running.json")


def _note(home: str) -> dict[str, Any]:
    return files.parse_object(files.read(_note_path(home)) or b"") or {}
