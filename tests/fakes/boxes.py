"""The parts of the tests' bubblewrap sandboxes: a system to run programs in, and nothing else of the machine."""

from __future__ import annotations


def system() -> list[str]:
    """The words of `bwrap` for a box with pids, mounts and an empty home (/home/agent) of its own."""
    words = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent"]
    words += ["--tmpfs", "/", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for link, target in (("/bin", "usr/bin"), ("/sbin", "usr/sbin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")):
        words += ["--symlink", target, link]
    for path in ("/etc/ssl", "/etc/passwd", "/etc/group", "/etc/ld.so.cache", "/etc/alternatives"):
        words += readable(path)
    return [*words, "--dir", "/home/agent"]


def readable(path: str) -> list[str]:
    """The options of `bwrap` that mount paths of the machine read-only in a box, if they exist."""
    return ["--ro-bind-try", path, path]
