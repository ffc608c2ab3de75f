"""What a gateway keeps in the state folder: its token, for its owner's eyes only, and where it listens."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ..system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def folder(home: str) -> str:
    """The gateway's folder in the state folder."""
    return os.path.join(home, "gateway")


def token_path(home: str) -> str:
    """The file that holds the token."""
    return os.path.join(folder(home), "token")


def token(home: str) -> str:
    """The token, made if there is none.

    Raises:
        OSError: it can be neither read nor made.
    """
    files.make_folder(folder(home))
    path = token_path(home)
    found = (files.read(path) or b"").decode(errors="replace").strip()
    if not found:
        found = os.urandom(32).hex()
        files.write_whole(path, found.encode() + b"\n", durable=True)
    os.chmod(path, 0o600)
    return found


@contextmanager
def noted(home: str, urls: list[str]) -> Iterator[None]:
    """Have `noted_urls` tell where this gateway is, as long as it serves."""
    path = os.path.join(folder(home), "running.json")
    files.write_json(path, {"pid": os.getpid(), "urls": urls})
    try:
        yield
    finally:
        if (files.read_json(path) or {}).get("pid") == os.getpid():
            files.remove(path)


def noted_urls(home: str) -> list[str]:
    """Where the gateway that was started last is, or was if it did not end well."""
    found = files.read_json(os.path.join(folder(home), "running.json"))
    urls = found.get("urls") if isinstance(found, dict) else None
    return [str(url) for url in urls] if isinstance(urls, list) else []
