"""`gateway`: a process that serves, and commands that call it from elsewhere."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from impostor import Impostor, challenge_answer
from lab import Done, Lab

pytestmark = pytest.mark.usefixtures("quick")
WORKSPACE = "/workspace-of-a-container"  # there is none on this machine: what is left of it is a name


class Host:
    """A lab with a gateway, and the environment of a container that uses it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.socket = lab.tmux_folder / "mount" / "socket"
        self._serving: list[subprocess.Popen[str]] = []

    def serve(self, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a gateway; returns when it has printed its addresses."""
        words = words or ("--socket", str(self.socket), "--allow", str(self.lab.path))
        process = self.lab.start("gateway", *words, env=env)
        self._serving.append(process)
        assert process.stderr is not None
        assert any("token in" in line for line in process.stderr)
        threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
        return process

    def end(self) -> None:
        for process in self._serving:
            if process.poll() is None:
                process.terminate()
            process.wait(30)

    def env(self, **more: str) -> dict[str, str]:
        """Of a container: no tmux, no agents, a home of its own."""
        inside = self.lab.path / "inside"
        inside.mkdir(exist_ok=True)
        return {
            "PATH": "/nonexistent",
            "HOME": str(inside),
            "DEV_SESSIONS_HOME": str(inside / ".dev-sessions"),
            "TMUX_TMPDIR": "/nonexistent",
            "DEV_SESSIONS_SANDBOX": "1",
            "DEV_SESSIONS_GATEWAY_URL": f"unix://{self.socket}",
            "CONTAINER_WORKSPACE": WORKSPACE,
            "HOST_PATH": str(self.lab.project),
            **more,
        }

    def run(self, *argv: str, stdin: str | None = None, **env: str) -> Done:
        return self.lab.run(*argv, stdin=stdin, env=self.env(**env))

    def ok(self, *argv: str, **env: str) -> str:
        done = self.run(*argv, **env)
        assert done.code == 0, done
        return done.out.rstrip("\n")

    def create(self, **env: str) -> str:
        return self.ok("create", "--cli", "fake", "-q", "-p", WORKSPACE, **env)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Lab(name="cli") as lab:
        made = Host(lab)
        made.serve()
        yield made
        made.end()


def test_a_session_from_create_to_kill(host: Host) -> None:
    (host.lab.project / "sub").mkdir()
    record = json.loads(host.ok("create", "--cli", "fake", "-p", f"{WORKSPACE}/sub", "--json"))
    id = record["id"]
    assert record["path"] == f"{WORKSPACE}/sub"
    (native,) = host.lab.run("list", "--json").json
    assert (native["id"], native["path"]) == (id, str(host.lab.project / "sub"))
    assert host.ok("ask", id, "[[reply: hi]]") == "hi"
    assert host.ok("last-message", id) == "hi"
    assert host.ok("status", id) == "idle"
    assert f"{WORKSPACE}/sub" in host.ok("list")
    assert "[[reply: hi]]" in host.ok("logs", id)
    host.ok("send", id, "[[ask: Which one?|this|that]][[reply: so]]")
    assert host.run("wait", id).code == 6
    host.ok("respond", id, "--choose", "2")
    assert host.ok("wait", id) == "completed"
    assert host.ok("kill", id) == f"Killed session {id}"
    assert host.lab.run("list", "--json").json == []


def test_a_message_of_five_megabytes(host: Host, tmp_path: Path) -> None:
    id, text = host.create(), "[[reply: got it]]" + "x\U0001f600" * 1_000_000
    (tmp_path / "brief.md").write_text(text)
    assert host.ok("ask", id, "--file", str(tmp_path / "brief.md")) == "got it"
    assert host.run("logs", id, "--json").json[0]["text"] == text
    host.ok("kill", id)


def test_a_stream_arrives_as_it_happens(host: Host) -> None:
    id = host.create()
    process = host.lab.start("logs", id, "--follow", env=host.env())
    assert process.stdout is not None
    host.ok("ask", id, "[[reply: one]]")
    while "one" not in process.stdout.readline():
        pass
    host.ok("ask", id, "[[reply: two]]")
    while "two" not in process.stdout.readline():
        pass
    host.ok("kill", id)
    assert host.lab.finish(process).code == 0


def test_recipes(host: Host, tmp_path: Path) -> None:
    words = ("--cli", "fake", "-p", WORKSPACE)
    assert host.ok("sync-delegate", "[[reply: done]]", *words) == "done"
    for name in ("a", "b"):
        (tmp_path / f"{name}.md").write_text(f"[[reply: by {name}]]")
    tasks = [str(tmp_path / name) for name in ("a.md", "b.md")]
    # The folders of a plan, which are the container's, are checked before anything is started.
    here = {"CONTAINER_WORKSPACE": str(host.lab.project)}
    done = host.run("fan-out", *tasks, "--cli", "fake", "-p", str(host.lab.project), "--json", **here)
    assert [one["reply"] for one in done.json["branches"]] == ["by a", "by b"]
    refused = host.run("fan-out", *tasks, "--cli", "fake", "-p", str(host.lab.project), "--worktree", **here)
    assert refused.code == 4
    assert "through a gateway" in refused.err


def test_attach_prints_the_line_for_the_host(host: Host) -> None:
    id = host.create()
    done = host.run("attach", id)
    assert done.code == 0
    assert f"=dev-{id}" in shlex.split(done.out)
    assert "on the host" in done.err
    host.ok("kill", id)


def test_paths_outside_are_refused(host: Host) -> None:
    for path in ("/", f"{WORKSPACE}/..", "/etc"):
        done = host.run("create", "--cli", "fake", "-p", path)
        assert done.code == 2
        assert "outside of" in done.err
    done = host.run("create", "--cli", "fake", "-p", WORKSPACE, HOST_PATH="")
    assert (done.code, "set HOST_PATH" in done.err) == (2, True)
    assert host.ok("list", "--json", HOST_PATH="") == "[]"
    # The container says that its workspace is somewhere on the host where it is not to be.
    done = host.run("create", "--cli", "fake", "-p", WORKSPACE, HOST_PATH="/etc")
    assert done.code == 2
    assert "--allow /etc" in done.err


def test_a_session_records_who_created_it(host: Host) -> None:
    id = host.create(DEV_SESSIONS_ID="parent-jg", DEV_SESSIONS_DEPTH="2")
    record = host.lab.run("inspect", id, "--json").json
    assert (record["parent"], record["depth"]) == ("parent-jg", 3)
    done = host.run("create", "--cli", "fake", "-p", WORKSPACE, DEV_SESSIONS_DEPTH="4")
    assert "4 levels deep" in done.err
    host.ok("kill", id)


@pytest.fixture
def outside(host: Host, tmp_path: Path) -> Iterator[str]:
    """A session of the user's in a folder that the gateway does not allow; it asks something."""
    id = host.lab.ok("create", "--cli", "fake", "-q", "-p", str(tmp_path), "--group", "private")
    host.lab.ok("send", id, "[[ask: Which one?|this|that]]")
    host.lab.run("wait", id)
    yield id
    host.lab.ok("kill", id)
    assert host.run("revive", id).err == f"error: no session called '{id}'\nnext: dev-sessions list\n"


def test_sessions_in_other_folders_are_hidden(host: Host, outside: str) -> None:
    """They cannot be listed or changed, by id or by a condition."""
    for words in (
        *(["status"], ["send"], ["ask"], ["wait"], ["logs"], ["last-message"], ["inspect"], ["attach"], ["interrupt"]),
        *(["kill"], ["revive"], ["events"], ["goal"], ["respond"]),
    ):
        more = {"send": ["x"], "ask": ["x"], "respond": ["--choose", "1"]}.get(words[0], [])
        done = host.run(*words, outside, *more)
        assert (done.code, "no session called" in done.err) == (3, True), (words, done)
        missing = host.run(*words, outside[::-1], *more)
        assert done.err == missing.err.replace(outside[::-1], outside)
    own = host.create()
    # It names a parent that it is not: that counts only for what came through a gateway.
    claim = {"DEV_SESSIONS_ID": outside}
    assert [row["id"] for row in json.loads(host.ok("list", "--json", **claim))] == [own]
    assert host.ok("pending", "--json") == "[]"
    assert outside not in host.ok("events")
    assert host.run("wait", "--group", "private").code == 3
    assert json.loads(host.ok("kill", "--group", "private", "--json")) == []
    assert host.ok("kill", "--all") == f"Killed session {own}"
    assert host.lab.ok("status", outside) == "waiting_for_input"


def test_all_sessions_if_the_user_says_so(host: Host, outside: str) -> None:
    path = host.lab.tmux_folder / "all" / "socket"
    host.serve("--socket", str(path), "--allow", str(host.lab.project), "--all-sessions")
    there = {"DEV_SESSIONS_GATEWAY_URL": f"unix://{path}"}
    assert host.ok("status", outside, **there) == "waiting_for_input"
    host.ok("respond", outside, "--choose", "2", **there)
    assert host.ok("wait", outside, **there) == "completed"
    os.kill(host.lab.pid(outside), signal.SIGKILL)
    host.lab.until(lambda: host.lab.ok("status", outside) == "exited", "the end of the agent")
    done = host.run("revive", outside, **there)  # agents start in the allowed folders only
    assert (done.code, "outside of" in done.err) == (2, True), done


def test_over_tcp_with_the_token(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = host.serve("--port", str(port), "--allow", str(host.lab.path))
    there = {"DEV_SESSIONS_GATEWAY_URL": f"http://127.0.0.1:{port}"}
    token = host.lab.state / "gateway" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    done = host.run("list", **there)
    assert done.code == 255
    assert "DEV_SESSIONS_GATEWAY_TOKEN_FILE" in done.err
    for shown in (
        {"DEV_SESSIONS_GATEWAY_TOKEN_FILE": str(token)},
        {"DEV_SESSIONS_GATEWAY_TOKEN": token.read_text()[:-1]},
    ):
        assert host.ok("list", "--json", **there, **shown) == "[]"
    id = host.create(**there, **shown)
    assert host.ok("ask", id, "[[reply: hi]]", **there, **shown) == "hi"
    assert host.ok("kill", id, **there, **shown) == f"Killed session {id}"
    done = host.run("list", DEV_SESSIONS_GATEWAY_TOKEN="another", **there)
    assert (done.code, "has another token" in done.err, "gateway status" in done.err) == (255, True, True)
    second = host.lab.run("gateway", "--port", str(port))
    assert second.code == 1
    assert f"pid {process.pid} " in second.err
    assert "next: " in second.err
    told = host.lab.run("gateway", "status", "--port", str(port), "--json").json
    assert (told["running"], told["pid"]) == (True, process.pid)
    (flags,) = told["docker_run"].values()
    assert f"DEV_SESSIONS_GATEWAY_URL=http://host.docker.internal:{port}" in flags
    assert any(word.startswith(f"{token}:") for word in flags)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_another_program_on_the_gateways_port(host: Host) -> None:
    """Another user of the machine listens there: no command sends it the token or the message."""
    token = host.lab.state / "gateway" / "token"
    with Impostor(lambda got: challenge_answer("0" * 32, "0" * 64)) as impostor:
        there = {"DEV_SESSIONS_GATEWAY_URL": impostor.url, "DEV_SESSIONS_GATEWAY_TOKEN_FILE": str(token)}
        for words in (
            *(["list"], ["wait", "fizz-top"], ["send", "fizz-top", "the secret message"]),
            ["sync-delegate", "the secret message", "--cli", "fake", "-p", WORKSPACE],
        ):
            done = host.run(*words, **there)
            assert (done.code, "something else listens at that address" in done.err) == (255, True), done
            assert "next: " in done.err
        assert "something else listens" in host.run("doctor", **there).out
        done = host.lab.run("gateway", "status", "--port", str(impostor.port))
        assert (done.code, "something else listens" in done.out) == (1, True), done
    assert len(impostor.got) == 6
    for got in impostor.got:
        assert got.startswith(b"GET /v1/challenge ")
        assert token.read_bytes().strip() not in got
        assert b"secret" not in got


def test_status_and_stop(host: Host, tmp_path: Path) -> None:
    home = {"DEV_SESSIONS_HOME": str(tmp_path / "state")}
    done = host.lab.run("gateway", "status", env=home)
    assert done.code == 1
    assert "not running" in done.out
    path = host.lab.tmux_folder / "other" / "deep" / "socket"
    process = host.serve("--socket", str(path), env=home)
    assert [one.stat().st_mode & 0o777 for one in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]
    shown = host.lab.ok("gateway", "status", env=home)
    assert f"pid {process.pid}" in shown
    assert f"-v {path.parent}:/run/dev-sessions -e DEV_SESSIONS_GATEWAY_URL=unix:///run/dev-sessions/socket" in shown
    again = host.lab.run("gateway", "--socket", str(path), env=home)
    assert again.code == 1
    assert f"pid {process.pid} " in again.err
    process.kill()
    process.wait()
    assert path.exists()  # leftovers of a dead gateway do no harm
    process = host.serve("--socket", str(path), env=home)
    process.terminate()
    assert process.wait(30) == 0
    assert not path.exists()
    assert host.lab.run("gateway", "status", env=home).code == 1


def test_invalid_addresses(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for words, code, why in (
        (["--socket", str(tmp_path / "file")], 2, "not a socket"),
        (["--socket", str(tmp_path / ("x" * 120))], 2, "too long"),
        (["--socket", "/proc/none/socket"], 1, "cannot listen"),
        (["--port", "1", "--allow", "/nonexistent"], 2, "no folder"),
        (["--port", "x"], 2, "x"),
    ):
        done = host.lab.run("gateway", *words)
        assert done.code == code, done
        assert why in done.err
        assert "Traceback" not in done.err
    assert (tmp_path / "file").exists()


def test_a_wait_goes_on_over_a_restart(host: Host) -> None:
    """The gateway is killed with -9 and restarted: the agents are not affected, and the wait ends with its turn."""
    path = host.lab.tmux_folder / "restarted" / "socket"
    words, there = ("--socket", str(path), "--allow", "/"), {"DEV_SESSIONS_GATEWAY_URL": f"unix://{path}"}
    first = host.serve(*words)
    one, two = host.create(**there), host.create(**there)
    for id in (one, two):
        host.ok("send", id, "[[hold: on]][[reply: late]]", **there)
    waiting = host.lab.start("wait", one, two, "--timeout", "60", env=host.env(**there))
    host.lab.until(lambda: threads_that_wait(first.pid), "the wait")
    first.kill()
    first.wait()
    host.serve(*words)
    for id in (one, two):
        (host.lab.folder(id) / "agent" / "release" / "on").touch()
    done = host.lab.finish(waiting)
    assert done.code == 0, done
    assert sorted(done.out.splitlines()) == sorted([f"{one} completed", f"{two} completed"])
    host.ok("kill", one, two, **there)


def test_a_gateway_that_does_not_come_back(host: Host) -> None:
    path = host.lab.tmux_folder / "gone" / "socket"
    there = {"DEV_SESSIONS_GATEWAY_URL": f"unix://{path}"}
    process = host.serve("--socket", str(path), "--allow", "/")
    id = host.create(**there)
    host.ok("send", id, "[[hold: never]]", **there)
    waiting = host.lab.start("wait", id, env=host.env(**there, DEV_SESSIONS_GATEWAY_PATIENCE="0.5"))
    host.lab.until(lambda: threads_that_wait(process.pid), "the wait")
    process.kill()
    process.wait()
    done = host.lab.finish(waiting)
    assert done.code == 255
    assert str(path) in done.err
    assert "next: on the host: dev-sessions gateway --socket" in done.err
    host.ok("kill", id)


def test_two_hundred_waits_and_callers_that_vanish(host: Host) -> None:
    """They need at most 60 MB; when the callers vanish, their waits end, and the session goes on."""
    path = host.lab.tmux_folder / "many" / "socket"
    process = host.serve("--socket", str(path), "--allow", "/")
    id = host.create()
    host.ok("send", id, "[[hold: on]][[reply: late]]")
    body = json.dumps({"op": "wait", "params": {"ids": [id]}, "id": "x", "v": 1})
    with ExitStack() as callers:
        for number in range(200):
            caller = callers.enter_context(socket.socket(socket.AF_UNIX))
            caller.connect(str(path))
            one = body.replace('"x"', f'"w{number}"')
            caller.sendall(
                f"POST /v1/call HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(one)}\r\n\r\n{one}".encode()
            )
        host.lab.until(lambda: threads_that_wait(process.pid) >= 200, "all of them")
        assert memory(process.pid) <= 60_000
        assert host.ok("status", id) == "working"
    host.lab.until(lambda: not threads_that_wait(process.pid), "the end of all")
    (host.lab.folder(id) / "agent" / "release" / "on").touch()
    assert host.ok("wait", id) == "completed"
    host.ok("kill", id)


def threads_that_wait(pid: int) -> int:
    """How many threads of a process rest in a poll of their own, besides those that listen (Linux)."""
    found = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            if int(thread.name) != pid and "poll" in (thread / "wchan").read_text():
                found += 1
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found - sum("socket" in link for link in listening(pid))


def listening(pid: int) -> list[str]:
    """A mark for each listener: each has a thread that polls."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    unix = {f"socket:[{row[6]}]" for row in rows if row[3] == "00010000"}
    tcp = {
        f"socket:[{row[9]}]"
        for table in ("tcp", "tcp6")
        for row in (line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if row[3] == "0A"
    }
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(descriptor))
    return [link for link in found if link in unix | tcp]


def memory(pid: int) -> int:
    """Resident memory, kB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def test_install_where_there_is_no_systemd(host: Host, tmp_path: Path) -> None:
    env = {"PATH": "/nonexistent", "HOME": str(tmp_path), "DEV_SESSIONS_HOME": str(tmp_path / "state")}
    done = host.lab.run("gateway", "install", env=env)
    assert done.code == 1
    assert "no systemd user session" in done.err
    assert "loginctl enable-linger" in done.err
    assert not list(tmp_path.rglob("*.service"))
    assert "There is no " in host.lab.ok("gateway", "uninstall", env=env)
