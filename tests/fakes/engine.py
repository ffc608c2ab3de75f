"""A real container engine for the tests: podman, whose command line is Docker's.

Its image holds next to nothing: the system's programs are mounted read-only from the host. So it is made in a moment,
from no registry. `make test` installs podman where it may (apt-get, as root); elsewhere the tests that want an engine
are skipped, and say why.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import subprocess
import sys
import tarfile

from lab import ROOT, Lab

IMAGE = "dev-sessions-test"
# The limits: without them podman asks for a right that a container which is the host here may lack.
_PODMAN = ["podman", "--runtime", "runc", "--cgroup-manager=cgroupfs"]
_RUN = ["run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", "--network=host"]
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_FOLDERS = ("usr", "proc", "sys", "dev", "etc", "home/agent", "opt/claude", "run", "var")
_FILES = {"etc/passwd": b"root:x:0:0::/home/agent:/bin/sh\n", "etc/group": b"root:x:0:\n"}
_SYSTEM = ("/usr", "/etc/ssl", "/etc/alternatives", "/etc/ld.so.cache")


@functools.cache
def missing() -> str | None:
    """Why there is no engine here; None if there is one, with its image."""
    if not sys.platform.startswith("linux"):
        return "no container engine: only on Linux"
    if not shutil.which("podman") or not shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin"):
        return "no container engine: install podman, runc and catatonit (make test does, as root with apt-get)"
    if os.geteuid() != 0:
        return "no container engine: podman is tried as root only"
    made = subprocess.run([*_PODMAN, "import", "-q", "-", IMAGE], input=_image(), capture_output=True, check=False)
    words = [*_words(), "--init", IMAGE, "true"]
    tried = made if made.returncode else subprocess.run(words, capture_output=True, check=False)
    said = " ".join(tried.stderr.decode(errors="replace").split())
    return f"the container engine does not work here: {said}" if tried.returncode else None


def _image() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in _FOLDERS:
            _add(tar, name, tarfile.DIRTYPE)
        _add(tar, "tmp", tarfile.DIRTYPE, mode=0o1777)
        for name, target in _LINKS.items():
            _add(tar, name, tarfile.SYMTYPE, target=target)
        for name, lines in _FILES.items():
            _add(tar, name, tarfile.REGTYPE, lines, mode=0o644)
    return content.getvalue()


def _add(tar: tarfile.TarFile, name: str, type: bytes, lines: bytes = b"", target: str = "", mode: int = 0o755) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = type, mode, target, len(lines)
    tar.addfile(entry, io.BytesIO(lines))


def _words() -> list[str]:
    mounts = [word for path in _SYSTEM if os.path.exists(path) for word in ("-v", f"{path}:{path}:ro")]
    return [*_PODMAN, *_RUN, "--rm", *mounts]


def clauded(lab: Lab, claude: str) -> dict[str, str]:
    """The environment with the `clauded` of docs/containers.md on PATH, and a `docker` that is podman."""
    folder = lab.path / "bin-engine"
    folder.mkdir(exist_ok=True)
    given = [
        "-v",
        f"{os.path.dirname(os.path.realpath(claude))}:/opt/claude:ro",
        "-e",
        "PATH=/opt/claude:/usr/bin:/bin",
    ]
    words = [*_words(), "--label", f"lab={lab.path.name}", *given]
    page = (ROOT / "docs" / "containers.md").read_text()
    _, _, script = page.partition("```text\n#!/bin/bash\n")
    scripts = {
        "docker": f'#!/bin/sh\n[ "$1" = run ] && shift && exec {" ".join(words)} "$@"\n',
        "clauded": "#!/bin/bash\n" + script.partition("```")[0].replace("my-claude", IMAGE),
    }
    for name, lines in scripts.items():
        (folder / name).write_text(lines)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{lab.env['PATH']}"}


def left(lab: Lab) -> list[str]:
    """The ids of the lab's containers, whatever their state."""
    shown = [*_PODMAN, "ps", "-aq", "--filter", f"label=lab={lab.path.name}"]
    return subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split()


def remove(lab: Lab) -> None:
    """End and remove what is left of the lab's containers."""
    if found := left(lab):
        subprocess.run([*_PODMAN, "rm", "-f", "-t", "0", *found], capture_output=True, check=False)
