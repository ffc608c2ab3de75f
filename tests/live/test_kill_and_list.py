"""`kill` leaves nothing behind and hits nobody else; `list` tells the truth, whatever happened while nobody looked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Done, Lab
from soak import only_in_soak

LASTING = 'python3 -c "import time; time.sleep(600)"'


def listed(lab: Lab) -> dict[str, str]:
    """What `list` says: id -> status."""
    return {row["id"]: row["status"] for row in json.loads(lab.ok("list", "--json"))}


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def clear_error(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
    for word in words:
        assert word in done.err, (word, done.err)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


# What kill leaves behind.


def test_kill_leaves_no_process(lab: Lab) -> None:
    """Nor a daemon that left the agent's process group, its terminal and its parent, nor one that ignores signals."""
    id = lab.create()
    deaf = 'python3 -c "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(600)"'
    noted = lab.project / "pids"
    commands = [
        f"nohup {LASTING} >/dev/null 2>&1 & echo $! >>pids",
        f"setsid {LASTING} >/dev/null 2>&1 & echo $! >>pids",
        f"(setsid nohup {deaf} >/dev/null 2>&1 </dev/null & echo $! >>pids)",
        "tmux -S agent.sock new-session -d 'echo $$ >>pids; exec cat'",
        # In the tmux server that all sessions share: a session of its own, and a window that outlives its terminal.
        "tmux new-session -d -s server 'echo $$ >>pids; exec cat'",
        "tmux new-window -d 'echo $$ >>pids; trap \"\" HUP; exec sleep 600'",
    ]
    lab.tmux("new-session", "-d", "-s", "mine", "cat")
    script = "".join(f"[[bash: {command}]]" for command in commands)
    assert lab.ok("ask", id, f"{script}[[reply: Started.]]") == "Started."
    assert lab.ok("ask", id, f"[[bash_bg: echo $$ >>pids; {LASTING}]][[reply: In the background.]]")
    lab.until(lambda: len(noted.read_text().split()) == 7, "seven processes")
    pids = [int(word) for word in noted.read_text().split()]
    assert all(running(pid) for pid in pids)
    assert lab.ok("kill", id) == f"Killed session {id}"
    assert [pid for pid in pids if running(pid)] == []
    assert lab.tmux("list-sessions", "-F", "#{session_name}") == "mine\n"
    lab.tmux("kill-session", "-t", "mine")
    # A tmux server ends with its last session.
    lab.until(lambda: lab.processes() == [], "no process is left")


@only_in_soak
def test_kill_in_the_middle_of_a_turn(lab: Lab) -> None:
    id = lab.create()
    lab.ok("send", id, f"[[bash: echo $$ >pid; {LASTING}]][[reply: never]]")
    lab.until(lambda: (lab.project / "pid").exists() and (lab.project / "pid").read_text().strip(), "the command runs")
    lab.ok("kill", id)
    assert lab.processes() == []
    assert lab.tmux("list-sessions") == ""


def test_kill_leaves_no_file_and_no_secret(lab: Lab) -> None:
    """The archive is left, with what was said and without the environment's secrets, and the answer to `kill`."""
    temporary = lab.path / "tmp"
    temporary.mkdir()
    lab.env["TMPDIR"] = str(temporary)
    secret = "s3cr3t-" + os.urandom(6).hex()
    id = lab.create("--env", f"MY_SECRET={secret}", "-d", "the brief")
    lab.ok("ask", id, "[[reply: One.]]")
    lab.ok("ask", id, "--file", "-", stdin="tab\there " + "word " * 50 + "[[reply: Two.]]")
    lab.ok("kill", id)
    assert sorted(path.name for path in lab.state.iterdir()) == [
        "answers",
        "archive",
        "claude-versions.json",
        "sessions",
        "sessions.json",
        "sessions.lock",
    ]
    assert list((lab.state / "sessions").iterdir()) == []
    folder = lab.folder(id)
    assert folder.parent.name == "archive"
    assert (folder / "messages" / "0001" / "text.md").read_text() == "[[reply: One.]]"
    assert json.loads((folder / "record.json").read_text())["description"] == "the brief"
    key = lab.env["ANTHROPIC_API_KEY"]
    for path in (path for path in lab.state.rglob("*") if path.is_file()):
        content = path.read_text(errors="replace")
        assert secret not in content, path
        assert key not in content, path
        assert path.stat().st_mode & 0o077 == 0, path
    # Of ours nothing is in the temporary folder; Claude may keep a folder of its own there.
    assert [path.name for path in temporary.iterdir() if not path.name.startswith(("claude", "cc-"))] == []
    assert not list((lab.home / ".claude" / "sessions").glob("*.json"))


# Which sessions can be killed.


@pytest.mark.parametrize(
    "how", [*(pytest.param(how, marks=only_in_soak) for how in ("agent", "session", "server")), "server-and-agent"]
)
def test_dead_sessions_are_listed_and_killed(lab: Lab, how: str) -> None:
    """Died while nobody looked: `list` says so and exits 0, with no tmux server running too; `kill` cleans up."""
    id = lab.create("-d", "doomed")
    lab.ok("ask", id, "[[reply: My last words.]]")
    pid = lab.pid(id)
    server = int(lab.tmux("display-message", "-p", "-t", f"=dev-{id}:", "#{pid}"))
    if how in ("agent", "server-and-agent"):
        os.kill(pid, signal.SIGKILL)
    if how == "session":
        lab.tmux("kill-session", "-t", f"=dev-{id}")
    if how.startswith("server"):
        os.kill(server, signal.SIGKILL)
        lab.until(lambda: not running(server), "the tmux server is gone")
    lab.until(lambda: not running(pid), "the agent is gone")
    plain = lab.run("list")
    assert plain.code == 0, plain
    assert [id, "exited", "doomed"] == [word for word in plain.out.split() if word in (id, "exited", "doomed")]
    assert listed(lab) == {id: "exited"}
    assert json.loads(lab.ok("list", "--json", "--status", "idle")) == []
    assert [row["id"] for row in json.loads(lab.ok("list", "--json", "--status", "exited"))] == [id]
    assert lab.ok("status", id) == "exited"
    assert lab.ok("last-message", id) == "My last words."
    sent = lab.run("send", id, "hello?")
    clear_error(sent, 5, id, "gone", "next: ")
    # Reading has started nothing.
    assert lab.tmux("list-sessions") == ""
    assert lab.ok("kill", id) == f"Killed session {id}"
    assert listed(lab) == {}
    assert lab.processes() == []


def test_kill_twice_at_once(lab: Lab) -> None:
    """Two at the same time: at least one says that it did it, the other that, or that there is no such session."""
    id = lab.create()
    done = [lab.finish(process) for process in [lab.start("kill", id) for _ in range(3)]]
    assert {one.code for one in done} <= {0, 3}, done
    assert 0 in {one.code for one in done}
    for one in done:
        clear_error(one, one.code)
    assert listed(lab) == {}
    assert len(list(lab.state.glob("archive/*"))) == 1
    clear_error(lab.run("kill", id), 3, id, "next: dev-sessions list")
    assert list(lab.state.glob("sessions/*")) == []
    assert lab.processes() == []


# Kill in the middle of other commands.


def test_kill_while_a_wait_is_open(lab: Lab) -> None:
    """Both a `wait` for a running turn and one for several sessions end, with a word, and soon."""
    id, other = lab.create(), lab.create("--cli", "fake")
    for one in (id, other):
        lab.ok("send", one, "[[hold: a]][[reply: never]]")
    assert lab.model.wait_until_blocked("a")
    waits = [lab.start("wait", id), lab.start("wait", id, other, "--any"), lab.start("wait", id, "--json")]
    asking = lab.start("ask", id, "[[reply: nor this]]")
    lab.until(lambda: len(lab.prompts(id)) + len(list(lab.folder(id).glob("messages/*"))) > 2, "the second message")
    lab.ok("kill", id)
    plain, both, in_json = [lab.finish(process, timeout=20) for process in waits]
    assert (plain.code, plain.out) in ((5, "exited\n"), (3, "")), plain
    assert plain.err, "a word on why"
    assert (both.code, both.out) in ((5, f"{id} exited\n"), (3, "")), both
    assert in_json.code == plain.code
    assert in_json.json.get("outcome") == "exited" or in_json.json["error"]["code"] == "not_found"
    asked = lab.finish(asking, timeout=20)
    clear_error(asked, asked.code)
    assert asked.code in (3, 5), asked
    for done in (plain, both):
        clear_error(done, done.code)
        assert "never started" not in done.err
    assert lab.ok("status", other) == "working"
    lab.ok("kill", other)
    assert lab.processes() == []


def test_kill_while_a_send_is_under_way(lab: Lab) -> None:
    """The send fails and says so, or was through already; the kill is not held up, and leaves nothing."""
    id = lab.create()
    text = "\n".join(f"line {number}" for number in range(1500))
    sending = lab.start("send", id, text)
    lab.until(lambda: list(lab.folder(id).glob("messages/0001/message.json")), "the message is claimed")
    lab.ok("kill", id)
    sent = lab.finish(sending, timeout=60)
    assert sent.code in (0, 3, 5), sent
    clear_error(sent, sent.code)
    assert lab.processes() == []
    assert listed(lab) == {}
    assert list(lab.state.glob("sessions/*")) == []


def test_kill_with_messages_queued(lab: Lab) -> None:
    """The courier ends too, and delivers nothing any more."""
    id = lab.create()
    lab.ok("send", id, "[[hold: a]][[reply: never]]")
    assert lab.model.wait_until_blocked("a")
    for number in range(2):
        assert lab.ok("send", id, "--queue", f"[[reply: queued {number}]]").startswith("queued")
    lab.until(lambda: list(lab.folder(id).glob("courier.json")), "a courier")
    lab.ok("kill", id)
    lab.model.release("a")
    lab.until(lambda: lab.processes() == [], "no process is left")
    assert list(lab.state.glob("sessions/*")) == []
    assert not [request for request in lab.model.requests if "queued" in request.prompt]


def test_list_all_the_while_others_come_and_go(lab: Lab) -> None:
    """Readers take no lock: whatever moment they hit, they answer, and truly."""
    id = lab.create("--cli", "fake")
    lab.ok("send", id, "[[reply: Done.]]")
    over = lab.path / "over"
    loop = (
        f"while [ ! -e '{over}' ]; do {lab.argv()[0]} -m dev_sessions list --json || echo FAILED; "
        f"{lab.argv()[0]} -m dev_sessions status {id} >/dev/null || echo FAILED; done"
    )
    reading = subprocess.Popen(["/bin/sh", "-c", loop], env=lab.env, stdout=subprocess.PIPE, text=True)
    try:
        for number in range(4):
            other = lab.create("--cli", "fake", "--id", f"other-{number}")
            lab.ok("send", other, "[[reply: Yes.]]")
            lab.ok("kill", other)
    finally:
        over.touch()
        shown, _ = reading.communicate(timeout=60)
    lines = shown.splitlines()
    assert len(lines) > 4
    assert "FAILED" not in lines
    for line in lines:
        assert id in [row["id"] for row in json.loads(line)]
    lab.ok("kill", id)


# Whom a kill hits.


def test_recycled_pid_is_never_signalled(lab: Lab, bystander: subprocess.Popen[bytes]) -> None:
    """The session's `process` file names a pid that is somebody else's by now: that one lives, the agent ends."""
    id = lab.create()
    path = lab.folder(id) / "process"
    agent, words = path.read_text().split("\n", 1)
    path.write_text(f"{bystander.pid}\n{words}")
    assert listed(lab) == {id: "exited"}
    assert lab.run("wait", id)[:2] == (5, "exited\n")
    lab.ok("kill", id)
    assert bystander.poll() is None
    assert not running(int(agent))
    lab.until(lambda: not lab.processes(), "the end of what the agent had started")


def test_kill_spares_the_neighbours(lab: Lab) -> None:
    """A person's tmux session on the same server, another session, and a process that the agent did not start."""
    first, second = lab.create("--id", "one"), lab.create("--id", "one-more", "--cli", "fake")
    lab.tmux("new-session", "-d", "-s", "mine", "cat")
    lab.tmux("new-session", "-d", "-s", "dev-onetime", "cat")
    lab.ok("kill", first)
    names = lab.tmux("list-sessions", "-F", "#{session_name}").split()
    assert sorted(names) == ["dev-one-more", "dev-onetime", "mine"]
    assert lab.ok("status", second) == "idle"
    lab.ok("kill", second)
    assert sorted(lab.tmux("list-sessions", "-F", "#{session_name}").split()) == ["dev-onetime", "mine"]
    lab.tmux("kill-server")


def test_kill_with_a_person_attached(lab: Lab) -> None:
    """Somebody sits at the session: the kill goes through, and their terminal is given back."""
    id = lab.create()
    argv = json.loads(lab.ok("attach", id, "--json"))["argv"]
    person = subprocess.Popen(
        ["script", "-qec", " ".join(f"'{word}'" for word in argv), "/dev/null"],
        env={**lab.env, "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    lab.until(lambda: lab.tmux("list-clients", "-t", f"=dev-{id}"), "a person is attached")
    lab.ok("kill", id)
    assert person.stdin is not None
    person.wait(timeout=20)
    person.stdin.close()
    assert lab.processes() == []
