"""Who holds an address that the gateway wants, as far as that can be seen."""

from __future__ import annotations

import glob
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def of_port(port: int) -> str | None:
    """The process that listens on a TCP port, as "pid 12 (words)"; None if it cannot be seen (Linux shows it)."""
    sockets = set(_listening(port))
    for link in glob.iglob("/proc/[0-9]*/fd/*") if sockets else ():
        try:
            if os.readlink(link) in sockets:
                return _named(int(link.split("/")[2]))
        except OSError:
            continue
    return None


def of_socket(path: str) -> str | None:
    """The process that listens on a unix socket, or "another process"; None if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return None
        if not hasattr(socket, "SO_PEERCRED"):
            return "another process"
        pid = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return _named(pid) if pid else "another process"


def _listening(port: int) -> Iterator[str]:
    """How /proc names the sockets that listen on a port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{row[9]}]"


def _named(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return f"pid {pid}"
    return f"pid {pid} ({b' '.join(words).decode(errors='replace').strip()[:80]})"
