"""Run a command with only a loopback network, where the system allows that.

    python scripts/offline.py COMMAND [ARGUMENT...]

On Linux the command runs in its own network namespace, inside a user namespace if necessary, as the same
user and in the same folder. On other systems, or where namespaces are forbidden, it runs without isolation,
after a warning on stderr. This process becomes the command (exec), so signals and exit code are the
command's. tox calls this for the live tests.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def main(command: list[str]) -> None:
    if not command:
        sys.exit("usage: offline.py COMMAND [ARGUMENT...]")
    why = isolate()
    if why:
        print(f"offline.py: not isolated from the network ({why})", file=sys.stderr, flush=True)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"offline.py: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def isolate() -> str:
    """Enter a network namespace. If that fails, change nothing and return the reason."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no network namespaces"
    why = ""
    for leave in (leave_as_root, leave_as_user):
        # A namespace cannot be left again, and some systems grant an unusable one, so a child tries first.
        why = tried(leave)
        if not why:
            leave()
            break
    return why


def tried(leave: Callable[[], None]) -> str:
    """Call `leave` in a child process; return the error, or an empty string."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            leave()
        except BaseException as error:
            os.write(writing, (str(error) or type(error).__name__).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        why = answer.read().decode()
    os.waitpid(child, 0)
    return why


def leave_as_root() -> None:
    unshare(_CLONE_NEWNET)
    raise_loopback()


def leave_as_user() -> None:
    """Without root: enter a user namespace that maps only this user, to itself."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    # A group map can be written only after setgroups(2) is denied (user_namespaces(7)).
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)
    raise_loopback()


def unshare(flags: int) -> None:
    # os.unshare is new in Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def raise_loopback() -> None:
    """Turn on the loopback interface, which is down in a new network namespace."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack_from("16sH", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


if __name__ == "__main__":
    main(sys.argv[1:])
