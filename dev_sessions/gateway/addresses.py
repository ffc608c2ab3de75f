"""Makes a gateway listen on a port or a socket, with an error that says why an address cannot be used."""

from __future__ import annotations

import errno
import os
import shlex
import stat

from ..errors import DevSessionsError, StoreError, UsageError
from ..system import files, processes
from . import state_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .server import Gateway

_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_LONGEST_PATH = 100  # bytes of a unix socket's path that every system accepts


def listen_on_port(gateway: Gateway, port: int, home: str) -> list[str]:
    """Listen on a port of the loopback, over IPv4 and, if the machine has it, IPv6. Returns the URLs.

    Args:
        port: 0 means any free one.
        home: the state folder, where another gateway of this user may have noted that it has the port.

    Raises:
        DevSessionsError: the port cannot be used.
    """
    urls: list[str] = []
    for host in ("127.0.0.1", "::1"):
        try:
            urls.append(gateway.listen((host, port)))
        except OSError as error:
            if urls and error.errno in _NO_IPV6:
                break
            pid = state_files.pid_at(home, f"http://127.0.0.1:{port}") if error.errno == errno.EADDRINUSE else None
            why = f"the gateway with pid {pid} is using it" if pid else str(error.strerror)
            raise DevSessionsError(
                f"cannot listen on port {port}: {why}",
                next="dev-sessions gateway status if that is a gateway, else dev-sessions gateway --port ANOTHER",
            ) from error
        port = int(urls[0].rpartition(":")[2])
    return urls


def listen_on_socket(gateway: Gateway, path: str) -> str:
    """Listen on a unix socket that only its owner may open. A socket left by a dead gateway is replaced.

    Missing folders are created, private to the owner.

    Raises:
        DevSessionsError: the path cannot be used.
    """
    path = os.path.abspath(os.path.expanduser(path))
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise UsageError(
            f"the path {path} is too long for a unix socket", next=f"choose one of at most {_LONGEST_PATH} bytes"
        )
    try:
        files.make_folder(os.path.dirname(path))
        _remove_dead_socket(path)
        return gateway.listen(path)
    except (OSError, StoreError) as error:
        why = error.message if isinstance(error, StoreError) else error.strerror
        raise DevSessionsError(
            f"cannot listen on {path}: {why}", next="dev-sessions gateway --socket ANOTHER"
        ) from error


def _remove_dead_socket(path: str) -> None:
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise UsageError(f"{path} exists and is not a socket", next="dev-sessions gateway --socket ANOTHER")
    if listener := processes.listening_on(path):
        who = f"the process with pid {listener[0]}" if listener[0] else "another process"
        raise DevSessionsError(
            f"cannot listen on {path}: {who} is using it",
            next=f"dev-sessions gateway status --socket {shlex.quote(path)}",
        )
    os.unlink(path)
