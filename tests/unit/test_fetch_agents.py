"""scripts/fetch_agents.py: each agent is fetched once, whole, for all clones."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# `npm pack --silent --pack-destination FOLDER SPEC`, counted.
NPM = """#!/bin/sh
echo "$5" >>{path}/fetched
cp {path}/package.tgz "$4/x.tgz"
"""


class Place:
    """Two clones of one user, and an npm that has one package."""

    def __init__(self, path: Path) -> None:
        self.path, self.cache = path, path / "cache" / "dev-sessions" / "agents"
        content = b"#!/bin/sh\necho Claude Code\n"
        with tarfile.open(path / "package.tgz", "w:gz") as package:
            entry = tarfile.TarInfo("package/claude")
            entry.size, entry.mode = len(content), 0o755
            package.addfile(entry, io.BytesIO(content))
        digest = hashlib.sha512((path / "package.tgz").read_bytes()).digest()
        integrity = "sha512-" + base64.b64encode(digest).decode()
        cpus = ("linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl", "darwin-x64", "darwin-arm64")
        packages = {cpu: {"name": "claude", "integrity": integrity} for cpu in cpus}
        pins = {"claude": {"version": "2", "packages": packages, "older": {"1": dict.fromkeys(cpus, integrity)}}}
        for clone in ("one", "two"):
            (path / clone / "scripts").mkdir(parents=True)
            (path / clone / "tests").mkdir()
            shutil.copy(ROOT / "scripts" / "fetch_agents.py", path / clone / "scripts")
            (path / clone / "tests" / "agents.json").write_text(json.dumps(pins))
        (path / "bin").mkdir()
        (path / "bin" / "npm").write_text(NPM.format(path=path))
        (path / "bin" / "npm").chmod(0o755)

    def start(self, clone: str, *words: str) -> subprocess.Popen[str]:
        env = {"PATH": f"{self.path}/bin:{os.environ['PATH']}", "XDG_CACHE_HOME": str(self.path / "cache")}
        argv = [sys.executable, str(self.path / clone / "scripts" / "fetch_agents.py"), *words]
        return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, clone: str, *words: str) -> tuple[int, str]:
        with self.start(clone, *words) as process:
            out, _ = process.communicate()
        return process.returncode, out

    def fetched(self) -> list[str]:
        return (self.path / "fetched").read_text().split()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_two_clones_at_once_fetch_each_version_once(place: Place) -> None:
    processes = [place.start(clone) for clone in ("one", "two", "one")]
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert sorted(place.fetched()) == ["claude@1", "claude@2"]
    for clone in ("one", "two"):
        agents = place.path / clone / ".agents"
        assert (agents / "claude-1").resolve() == place.cache / "claude-1"
        assert subprocess.check_output([agents / "claude"], text=True) == "Claude Code\n"
        assert place.run(clone, "--print", "claude") == (0, f"{agents}/claude-2/claude\n")


def test_a_damaged_or_partial_download_is_fetched_again(place: Place) -> None:
    assert place.run("one", "--print", "claude")[0] == 0
    (place.cache / "claude-2" / "claude").unlink()
    (place.cache / ".fetch-of-a-killed-one").mkdir()
    assert place.run("two", "--print", "claude")[0] == 0
    assert place.fetched() == ["claude@2"] * 2
    assert sorted(path.name for path in place.cache.iterdir()) == [".lock", "claude-2"]


def test_another_package_than_the_pinned_one_is_refused(place: Place) -> None:
    (place.path / "package.tgz").write_bytes(b"something else")
    with place.start("one", "--print", "claude") as process:
        _, err = process.communicate()
    assert process.returncode == 1
    assert "not what tests/agents.json pins" in err
    assert [path.name for path in place.cache.iterdir()] == [".lock"]


def test_a_clone_with_its_own_agent_keeps_it(place: Place) -> None:
    assert place.run("one", "--print", "claude")[0] == 0
    own = place.path / "two" / ".agents" / "claude-2"
    shutil.copytree(place.cache / "claude-2", own)
    shutil.rmtree(place.cache)
    assert place.run("two", "--print", "claude") == (0, f"{own}/claude\n")
    assert place.fetched() == ["claude@2"]
