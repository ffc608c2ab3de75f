"""`kill` leaves nothing behind and affects nothing else; `list` is correct whatever has happened since."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from lab import Done, Lab
from soak import only_in_soak

LASTING = 'python3 -c "import time; time.sleep(600)"'


def listed(lab: Lab) -> dict[str, str]:
    """The result of `list`: id -> status."""
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


# What is left after kill.


def test_kill_leaves_no_process(lab: Lab) -> None:
    """This includes a daemon that left the agent's process group, terminal and parent, and one that ignores signals."""
    id = lab.create()
    deaf = 'python3 -c "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(600)"'
    noted = lab.project / "pids"
    commands = [
        f"nohup {LASTING} >/dev/null 2>&1 & echo $! >>pids",
        f"setsid {LASTING} >/dev/null 2>&1 & echo $! >>pids",
        f"(setsid nohup {deaf} >/dev/null 2>&1 </dev/null & echo $! >>pids)",
        "tmux -S agent.sock new-session -d 'echo $$ >>pids; exec cat'",
        # In the tmux server that all sessions share: another session, and a window whose process survives its terminal.
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
    """Only the archive (the conversation, no secrets of the environment) and the answer to `kill` are left."""
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
    # The temporary folder contains none of our files; Claude may keep its own folder there.
    assert [path.name for path in temporary.iterdir() if not path.name.startswith(("claude", "cc-"))] == []
    assert not list((lab.home / ".claude" / "sessions").glob("*.json"))


# Which sessions can be killed.


@pytest.mark.parametrize(
    "how", [*(pytest.param(how, marks=only_in_soak) for how in ("agent", "session", "server")), "server-and-agent"]
)
def test_dead_sessions_are_listed_and_killed(lab: Lab, how: str) -> None:
    """The session died unnoticed: `list` shows that and exits 0, also without a tmux server; `kill` cleans up."""
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
    # Reading did not start anything.
    assert lab.tmux("list-sessions") == ""
    assert lab.ok("kill", id) == f"Killed session {id}"
    assert listed(lab) == {}
    assert lab.processes() == []


# Kill during another command (more of these tests: tests/cli/test_kill.py).


def test_kill_while_a_send_is_under_way(lab: Lab) -> None:
    """The send fails with an error, or has finished already; it does not delay the kill, and nothing is left."""
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
