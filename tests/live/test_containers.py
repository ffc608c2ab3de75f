"""Agents in a box use the sessions of its host, where the real agents run.

The box has its own mounts, pids, home and network. It is made with bubblewrap: its /workspace is a folder of the host,
and it contains neither tmux nor agents. What a container engine adds (images, a network between container and host) is
not tested here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boxes
import pytest
from codex_lab import CodexLab
from lab import Done
from soak import only_in_soak

import dev_sessions

# The only parts of the host in the box: what dev-sessions needs to run.
PROGRAM = sorted({sys.base_prefix, sys.prefix, str(Path(dev_sessions.__file__).parent.parent)})


class Box:
    """Runs commands, each in its own box, with the gateway on the host."""

    def __init__(self, lab: CodexLab) -> None:
        self.lab = lab
        self._mount = lab.tmux_folder / "mount"
        self._serving: list[subprocess.Popen[str]] = []

    def serve(self, *words: str) -> None:
        process = self.lab.start("gateway", "--allow", str(self.lab.path), *words)
        self._serving.append(process)
        assert process.stderr is not None
        assert any("token in" in line for line in process.stderr)

    def serve_socket(self) -> None:
        self.serve("--socket", str(self._mount / "socket"))

    def end(self) -> None:
        for process in self._serving:
            process.terminate()
            process.communicate(timeout=30)

    def run(self, *argv: str, network: bool = False, **env: str) -> Done:
        """Run `dev-sessions` with these arguments in a box; `network`: share the host's loopback."""
        inside = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/home/agent",
            "LANG": "C.UTF-8",
            "IS_SANDBOX": "1",
            "HOST_PATH": str(self.lab.project),
            "DEV_SESSIONS_GATEWAY_URL": "unix:///run/dev-sessions/socket",
            **env,
        }
        words = [sys.executable, "-m", "dev_sessions", *argv]
        done = subprocess.run(
            [*self._bwrap(network), "--", *words],
            env=inside,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *argv: str, **options: str) -> str:
        done = self.run(*argv, **options)
        assert done.code == 0, done
        return done.out.rstrip("\n")

    def _bwrap(self, network: bool) -> list[str]:
        words = [*boxes.system(), "--unshare-uts", *([] if network else ["--unshare-net"])]
        for path in PROGRAM:
            words += boxes.readable(path)
        for name in ("tmux", "node", "npm"):
            if os.path.exists(f"/usr/bin/{name}"):
                words += ["--ro-bind", "/dev/null", f"/usr/bin/{name}"]
        words += ["--bind", str(self.lab.project), "/workspace", "--chdir", "/workspace"]
        return [*words, "--bind", str(self._mount), "/run/dev-sessions"]


@pytest.fixture(scope="module")
def box(claude: str, codex: str) -> Iterator[Box]:
    with CodexLab(codex, "box", claude) as lab:
        lab.trust(lab.project)
        made = Box(lab)
        made.serve_socket()
        yield made
        made.end()


def test_it_is_a_box(box: Box) -> None:
    """The box contains nothing of the host except the workspace and the socket."""
    done = box.run("list", DEV_SESSIONS_SANDBOX="0")
    assert done.code == 0
    assert not (box.lab.state / "sessions.json").exists()
    done = box.run("create", DEV_SESSIONS_SANDBOX="0")
    assert done.code == 1
    assert "tmux" in done.err or "no claude on PATH" in done.err
    assert box.run("doctor", "--json").json["problems"] == 0


@pytest.mark.parametrize("cli", ["claude", "codex"])
def test_create_send_wait_respond_kill(box: Box, cli: str) -> None:
    record = json.loads(box.ok("create", "--cli", cli, "--permissions", "ask", "--json"))
    id = record["id"]
    assert record["path"] == "/workspace"
    harmless = {"claude": "touch asked", "codex": "python3 -c 'print(6 * 7)'"}[cli]
    assert box.ok("send", id, f"[[bash: {harmless}]][[reply: done it]]") == "started (turn 1)"
    done = box.run("wait", id, "--timeout", "60")
    assert (done.code, done.out) == (6, "waiting_for_input\n")
    (asked,) = box.run("pending", "--json").json
    box.ok("respond", id, "--allow", "--question", asked["id"])
    assert box.ok("wait", id, "--timeout", "60") == "completed"
    assert box.ok("last-message", id) == "done it"
    # Sent as a file, which is read in the box.
    (box.lab.project / "brief.md").write_text("[[reply: read it]]\n" + "é\t" * 30_000)
    assert box.ok("ask", id, "--file", "/workspace/brief.md", "--timeout", "60") == "read it"
    box.ok("kill", id)
    assert box.lab.run("list", "--json").json == []


def test_the_agent_works_where_the_box_does(box: Box) -> None:
    (box.lab.project / "sub").mkdir()
    id = box.ok("create", "-q", "--cli", "codex", "-p", "sub")
    box.ok("ask", id, "[[bash: echo 1 >made]][[reply: ok]]", "--timeout", "60")
    assert (box.lab.project / "sub" / "made").read_text() == "1\n"
    box.ok("kill", id)
    (box.lab.project / "out").symlink_to("/etc")
    for path in ("out", "..", "/etc", "sub/../.."):
        done = box.run("create", "-q", "-p", path)
        assert done.code == 2, path
        assert "outside of /workspace" in done.err
    assert box.lab.run("list", "--json").json == []


@only_in_soak
def test_fan_out(box: Box) -> None:
    for name, cli in (("one", "claude"), ("two", "codex")):
        (box.lab.project / f"{name}.md").write_text(f"[[reply: {name} by {cli}]]")
    plan = {"branches": [{"name": "one", "task": "[[reply: by claude]]"}]}
    plan["branches"].append({"name": "two", "task": "[[reply: by codex]]", "cli": "codex"})
    (box.lab.project / "plan.yaml").write_text(json.dumps(plan))
    done = box.run("fan-out", "plan.yaml", "--json")
    assert [one["reply"] for one in done.json["branches"]] == ["by claude", "by codex"], done
    assert box.lab.run("list", "--json").json == []


def test_over_tcp_with_the_token(box: Box) -> None:
    box.serve("--port", "6767")
    token = box.lab.state / "gateway" / "token"
    there = {"DEV_SESSIONS_GATEWAY_URL": "http://127.0.0.1:6767"}
    refused = box.run("list", network=True, **there)
    assert refused.code == 255
    assert "DEV_SESSIONS_GATEWAY_TOKEN" in refused.err
    there["DEV_SESSIONS_GATEWAY_TOKEN"] = token.read_text().strip()
    done = box.run("sync-delegate", "[[reply: over tcp]]", "--cli", "codex", network=True, **there)
    assert done[:2] == (0, "over tcp\n")
    alone = box.run("list", **there)  # with its own network, its loopback is not the host's
    assert alone.code == 255
    assert "next: on the host: dev-sessions gateway --port 6767" in alone.err
