"""Fetch the agents pinned in `tests/agents.json` from npm into the user's cache, and link `.agents/` to them.

    python scripts/fetch_agents.py                          every pinned version of every agent
    python scripts/fetch_agents.py --print claude           only its newest version; print the path of the program
    python scripts/fetch_agents.py --print claude-2.1.221   this older one

All clones share the agents in `~/.cache/dev-sessions/agents/<agent>-<version>/` (or below XDG_CACHE_HOME).
The link `.agents/<agent>-<version>` points there, and `.agents/<agent>` points to the newest program.
Nothing is fetched twice: if two processes run at once, the second waits for the first. Each package is
unpacked in a separate folder and renamed into place, so an interrupted fetch leaves no partial agent.
make and tox call this.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tests" / "agents.json"
AGENTS = ROOT / ".agents"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dev-sessions" / "agents"

Package = dict[str, str]  # one of tests/agents.json: what npm calls it, and what it has to be
Release = tuple[str, str, dict[str, Package]]  # agent, version, and its package for each platform


class Stop(Exception):
    """An error message that says what is wrong and what to do."""


def main() -> int:
    pins = json.loads(PINS.read_text())
    releases = {name: release for agent, pin in pins.items() for name, release in releases_of(agent, pin)}
    parser = argparse.ArgumentParser(description="Fetch the pinned agents.")
    parser.add_argument("--print", metavar="AGENT", choices=sorted(releases), dest="name")
    name = parser.parse_args().name
    try:
        wanted = [name] if name else [one for one in releases if one in pins or is_made_for_us(releases[one])]
        programs = {one: fetch(*releases[one]) for one in wanted}
        for agent in sorted(pins.keys() & programs.keys()):
            link(AGENTS / agent, programs[agent])
    except Stop as stop:
        print(stop, file=sys.stderr)
        return 1
    if name:
        print(programs[name])
    return 0


def releases_of(agent: str, pin: dict[str, Any]) -> Iterator[tuple[str, Release]]:
    """Yield each release of a pin: its name and the arguments for `fetch`. The newest is named after the agent."""
    yield agent, (agent, pin["version"], pin["packages"])
    for version, integrities in pin.get("older", {}).items():
        packages = {key: older_package(pin["packages"][key], fields) for key, fields in integrities.items()}
        yield f"{agent}-{version}", (agent, version, packages)


def older_package(newest: Package, fields: str | Package) -> Package:
    """Return an older release's package: the newest one's, with another integrity or with several other fields."""
    return {**newest, **(fields if isinstance(fields, dict) else {"integrity": fields})}


def is_made_for_us(release: Release) -> bool:
    """Return whether there is a package of this older release for this platform."""
    agent, version, packages = release
    if platform_key() not in packages:
        say(f"{agent} {version} is not pinned for {platform_key()}: skipped.")
        return False
    return True


def fetch(agent: str, version: str, packages: dict[str, Package]) -> Path:
    """Make sure that the agent's program is present and complete, and return its path."""
    key = platform_key()
    if key not in packages:
        raise Stop(f"{agent} {version} has no package for {key}: the live tests cannot run on this machine.")
    package, name = packages[key], f"{agent}-{version}"
    if not is_fetched(AGENTS / name, agent, package):
        with locked(make(CACHE) / ".lock"):
            if not is_fetched(CACHE / name, agent, package):
                say(f"Fetching {agent} {version} for {key} from npm (about 180 MB).")
                download(agent, version, package)
        link(make(AGENTS) / name, CACHE / name)
    return AGENTS / name / package.get("program", agent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock, which the operating system releases if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def download(agent: str, version: str, package: Package) -> None:
    """Put the package into the cache. The caller must hold the lock."""
    for left in CACHE.glob(".fetch-*"):  # left by a fetch that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=CACHE) as scratch:
        tarball = npm_pack(f"{package['name']}@{version}{package.get('suffix', '')}", Path(scratch))
        check_integrity(tarball, package)
        fresh = unpack(tarball, Path(scratch) / "fresh", package.get("folder", ""))
        (fresh / "INTEGRITY").write_text(package["integrity"] + "\n")
        folder = CACHE / f"{agent}-{version}"
        if folder.exists():  # has another integrity, or is damaged
            folder.rename(Path(scratch) / "old")
        fresh.rename(folder)


def platform_key() -> str:
    """Return this platform's name in npm's platform packages."""
    system = platform.system().lower()
    machine = platform.machine().lower()
    cpu = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
    return f"{system}-{cpu}" + ("-musl" if is_musl() else "")


def is_musl() -> bool:
    return platform.libc_ver()[0] != "glibc" and any(Path("/lib").glob("ld-musl-*"))


def is_fetched(folder: Path, agent: str, package: Package) -> bool:
    """Return whether the folder contains exactly this package. A folder is renamed into place only when complete."""
    with contextlib.suppress(FileNotFoundError):
        whole = (folder / "INTEGRITY").read_text().strip() == package["integrity"]
        return whole and os.access(folder / package.get("program", agent), os.X_OK)
    return False


def npm_pack(spec: str, folder: Path) -> Path:
    """Download the package's tarball as npm does, with the user's npm settings."""
    npm = shutil.which("npm")
    if npm is None:
        raise Stop(f"npm not found, which is needed to fetch {spec}. Install Node.js with npm, then try again.")
    command = [npm, "pack", "--silent", "--pack-destination", str(folder), spec]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    tarballs = list(folder.glob("*.tgz"))
    if done.returncode or len(tarballs) != 1:
        raise Stop(
            f"`npm pack {spec}` failed (exit {done.returncode}): is this machine offline? "
            "Run it by hand to see why, then try again."
        )
    return tarballs[0]


def check_integrity(tarball: Path, package: Package) -> None:
    with tarball.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    found = "sha512-" + base64.b64encode(digest).decode()
    if found != package["integrity"]:
        raise Stop(
            f"{package['name']} is not what tests/agents.json pins (its digest is {found}): "
            "clear npm's cache and try again. Trust neither until they match."
        )


def unpack(tarball: Path, folder: Path, below: str) -> Path:
    """Copy the regular files of `package/` (or only of its folder `below`) out of the tarball, and nothing else.

    `extractall(filter="data")` would need Python 3.11.4.
    """
    make(folder)
    with tarfile.open(tarball) as tar:
        for member in tar:
            parent = ("package", *below.split("/")) if below else ("package",)
            parts = tuple(member.name.split("/"))
            name = parts[len(parent) :]
            if not member.isreg() or parts[: len(parent)] != parent or {"", ".", ".."} & set(name) or not name:
                continue
            if not below and len(name) > 1:
                continue
            path = folder.joinpath(*name)
            make(path.parent)
            source = tar.extractfile(member)
            assert source is not None  # it is a plain file
            with source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            path.chmod(0o755 if member.mode & 0o100 else 0o644)
    return folder


def link(name: Path, target: Path) -> None:
    """Point a link at a program or folder, atomically."""
    inside = target.is_relative_to(name.parent)
    words = os.path.relpath(target, name.parent) if inside else str(target)
    if name.is_dir() and not name.is_symlink():
        raise Stop(f"{name} is in the way: remove it and try again.")
    with contextlib.suppress(OSError):
        if os.readlink(name) == words:
            return
    scratch = name.with_name(f".link-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        scratch.unlink()
    scratch.symlink_to(words)
    scratch.replace(name)


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
