"""A small file system for a folder, which can be filled and made read-only (Linux).

It is a tmpfs in a mount namespace: nobody else sees it, and it goes with the last process in there. Root can make one,
and whoever may make user namespaces. As a program:

    small_disk.py hold FOLDER BYTES            makes it, says "ready", then obeys lines: ro, rw
    small_disk.py enter PID FOLDER ARGV...     runs a command in there, in that working folder
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 32, 16384, 1 << 18
PAGE = os.sysconf("SC_PAGESIZE")


class SmallDisk:
    """Made for a `folder` that exists; to be closed."""

    def __init__(self, folder: Path, size: int) -> None:
        self._holder = subprocess.Popen(
            [sys.executable, __file__, "hold", str(folder), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = self._answer()
        assert said == "ready", f"no mount namespace for a test: be root, or allow user namespaces ({said})"
        # The same folder, as it is seen in there.
        self.path = Path(f"/proc/{self._holder.pid}/root{folder}")

    def close(self) -> None:
        assert self._holder.stdin
        assert self._holder.stdout
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()

    def argv(self, folder: Path, command: list[str]) -> list[str]:
        """The argv that runs a command in the file system, in that working folder."""
        return [sys.executable, __file__, "enter", str(self._holder.pid), str(folder), *command]

    def read_only(self, wanted: bool) -> None:
        assert self._holder.stdin
        self._holder.stdin.write("ro\n" if wanted else "rw\n")
        self._holder.stdin.flush()
        said = self._answer()
        assert said == "done", said

    def fill(self, pages_left: int = 0) -> None:
        """Leave room for that many pages; each file takes at least one."""
        free = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize // PAGE
        with open(self.path / "filler", "wb") as file:
            file.write(bytes(max(0, free - pages_left) * PAGE))

    def empty(self) -> None:
        """Remove the files that fill it."""
        (self.path / "filler").unlink()

    def _answer(self) -> str:
        assert self._holder.stdout
        return self._holder.stdout.readline().strip()


def hold(folder: str, size: str) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _libc("unshare", _CLONE_NEWNS)
    else:
        _libc("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
        for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path(f"/proc/self/{name}").write_text(content)
    _libc("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    _libc("mount", b"tmpfs", folder.encode(), b"tmpfs", ctypes.c_ulong(0), f"size={size},mode=700".encode())
    print("ready", flush=True)
    for line in sys.stdin:
        flags = _MS_REMOUNT | (_MS_RDONLY if line == "ro\n" else 0)
        _libc("mount", None, folder.encode(), None, ctypes.c_ulong(flags), None)
        print("done", flush=True)


def enter(pid: str, folder: str, command: list[str]) -> None:
    for name, kind in (("user", _CLONE_NEWUSER), ("mnt", _CLONE_NEWNS)):
        if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
            descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            _libc("setns", descriptor, kind)
    os.chdir(folder)
    os.execv(command[0], command)


def _libc(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(*sys.argv[2:])
    else:
        enter(sys.argv[2], sys.argv[3], sys.argv[4:])
