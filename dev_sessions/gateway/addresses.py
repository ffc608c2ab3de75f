"""The addresses that a gateway takes, and what to do where one is not to be had."""

from __future__ import annotations

import errno
import os
import shlex
import stat

from ..errors import DevSessionsError, StoreError, UsageError
from ..system import files
from . import owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .server import Gateway

# What a machine without IPv6 says to ::1.
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_SHORTEST_LIMIT = 100  # bytes of a unix socket's path that every system takes


def listen_on_port(gateway: Gateway, port: int) -> list[str]:
    """Listen on a port of the loopback, over IPv4 and, where there is that, IPv6; 0 takes a free one. Returns URLs.

    Raises:
        DevSessionsError: the port is not to be had; it names who has it, where that can be seen.
    """
    urls = [_taken(gateway, "127.0.0.1", port)]
    chosen = int(urls[0].rpartition(":")[2])
    try:
        urls.append(_taken(gateway, "::1", chosen))
    except OSError as error:
        if error.errno not in _NO_SUCH_ADDRESS:
            raise
    return urls


def _taken(gateway: Gateway, host: str, port: int) -> str:
    try:
        return gateway.listen((host, port))
    except OSError as error:
        if error.errno in _NO_SUCH_ADDRESS:
            raise
        by = owner.of_port(port) if error.errno == errno.EADDRINUSE else None
        why = f"{by} has it" if by else str(error.strerror)
        raise DevSessionsError(
            f"cannot listen on port {port}: {why}",
            next="dev-sessions gateway status if that is a gateway, else dev-sessions gateway --port ANOTHER",
        ) from error


def listen_on_socket(gateway: Gateway, path: str) -> str:
    """Listen on a unix socket that its owner alone may open. One that a gateway left when it died is replaced.

    Folders that are not there are made, for the owner alone.

    Raises:
        DevSessionsError: the path is not to be had.
    """
    path = os.path.abspath(os.path.expanduser(path))
    if len(os.fsencode(path)) > _SHORTEST_LIMIT:
        raise UsageError(f"the path {path} is too long for a unix socket", next="choose one of at most 100 bytes")
    try:
        files.make_folder(os.path.dirname(path))
        _make_way(path)
        return gateway.listen(path)
    except (OSError, StoreError) as error:
        why = error.message if isinstance(error, StoreError) else error.strerror
        raise DevSessionsError(
            f"cannot listen on {path}: {why}", next="dev-sessions gateway --socket ANOTHER"
        ) from error


def _make_way(path: str) -> None:
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise UsageError(f"{path} is there already, and no socket", next="dev-sessions gateway --socket ANOTHER")
    if by := owner.of_socket(path):
        raise DevSessionsError(
            f"cannot listen on {path}: {by} does", next=f"dev-sessions gateway status --socket {shlex.quote(path)}"
        )
    os.unlink(path)
