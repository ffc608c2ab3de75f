"""`revive` after Codex's app-server has ended in any way, and what an interrupt ends. With the real program."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from codex_lab import CodexLab
from lab import is_waiting

# An interval so long that only an event can end a wait while the test runs.
SELDOM = ("-i", "600")
DIED = "the Codex app-server ended in the middle of the turn"


def sleeper(name: str) -> str:
    return f"python3 -c 'import time; time.sleep(600) # {name}'"


def running(lab: CodexLab) -> set[str]:
    """The names of the `sleep` commands that are running."""
    found = set()
    for pid in lab.processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if words[0] == "python3" and len(words) > 2 and "sleep(600) # " in words[2]:
            found.add(words[2].rpartition(" # ")[2])
    return found


def end_server(lab: CodexLab) -> None:
    (pid,) = lab.servers()
    os.kill(pid, signal.SIGKILL)
    lab.until(lambda: not lab.servers(), "the end of the server")


def test_a_server_killed_in_a_turn_and_revived(codex_lab: CodexLab) -> None:
    """Waiters learn what died, nothing is lost, and the thread keeps its permissions, environment and history."""
    lab = codex_lab
    id = lab.create("--env", "MARK=a 'kept' value", "--permissions", "full", "--group", "dying")
    assert lab.ok("ask", id, "[[reply: said before]]") == "said before"
    lab.ok("send", id, f"[[bash: setsid -f {sleeper('AWAY')}; {sleeper('FRONT')}]][[reply: never]]")
    lab.until(lambda: running(lab) == {"AWAY", "FRONT"}, "the command")
    before = lab.run("inspect", id, "--json").json
    waiting = [lab.start("wait", id, *SELDOM), lab.start("wait", id, "--turn", "2", *SELDOM)]
    lab.until(lambda: all(is_waiting(one.pid) for one in waiting), "the waiters to wait")
    end_server(lab)
    for one in waiting:
        done = lab.finish(one)
        assert (done.code, done.out) == (5, "interrupted\n")
        assert DIED in done.err
    assert lab.run("wait", id, "--json").json["error"] == DIED
    assert lab.ok("last-message", id) == "said before"
    assert "FRONT" in lab.ok("logs", id)
    assert '"event": "receipt", "turn": 2' in lab.ok("events", id, "--json")
    assert lab.run("inspect", id, "--json").json["files"] == before["files"]
    assert [(row["id"], row["status"]) for row in lab.run("list", "--json").json] == [(id, "idle")]
    assert lab.servers() == []
    done = lab.run("revive", id, env={"MARK": "of the caller"})
    assert done[:2] == (0, f"Revived session {id} (interrupted: turn 2)\n")
    assert "the Codex app-server was restarted" in done.err
    assert running(lab) == set()
    assert '"event": "revived"' in lab.ok("events", id, "--json")
    server = lab.servers()
    assert lab.ok("revive", id) == f"Session {id} is alive (idle); nothing was changed"
    assert lab.run("wait", id, "--turn", "2")[:2] == (5, "interrupted\n")
    assert lab.ok("ask", id, "[[bash: echo $MARK]][[replytool]]") == "a 'kept' value"
    assert "said before" in json.dumps(lab.model.requests[-1].body)
    after = lab.run("inspect", id, "--json").json
    same = ("id", "permissions", "path", "model", "group", "created_at", "folder")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert lab.servers() == server


def test_after_a_boot_all_are_back_with_what_is_queued(codex_lab: CodexLab) -> None:
    """All processes are killed at once, and the files that a boot deletes are missing."""
    lab = codex_lab
    cut, fresh = lab.create(), lab.create("--permissions", "plan")
    lab.ok("send", cut, "[[hold: cut]][[reply: never]]")
    assert lab.model.wait_until_blocked("cut")
    lab.ok("send", cut, "[[reply: from the queue]]", "--queue")

    def all_dead() -> bool:
        for pid in (found := lab.processes()):  # one of them may have just started another
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    lab.until(all_dead, "the end of all")
    shutil.rmtree(lab.codex_home / "app-server-control")
    (note,) = lab.state.glob("codex/*/daemon.json")
    own = Path("/proc/self/stat").read_text().rstrip()
    earlier = {"pid": os.getpid(), "stat": own, "boot": "01234567-89ab-cdef-0123-456789abcdef"}
    note.write_text(json.dumps(earlier))
    assert {row["status"] for row in lab.run("list", "--json").json} == {"idle"}
    assert lab.run("wait", cut, "--turn", "1")[:2] == (5, "interrupted\n")
    assert sorted(lab.ok("revive", "--all").splitlines()) == sorted(
        [f"Revived session {cut} (interrupted: turn 1) (queued: 1)", f"Revived session {fresh}"]
    )
    assert len(lab.servers()) == 1
    assert lab.run("wait", cut, "--turn", "2")[:2] == (0, "completed\n")
    assert lab.ok("last-message", cut) == "from the queue"
    assert lab.ok("ask", fresh, "[[reply: hi]]") == "hi"
    terms = [line["payload"] for line in lab.rollout(fresh) if line["type"] == "turn_context"][-1]
    assert (terms["approval_policy"], terms["sandbox_policy"]["type"]) == ("never", "read-only")
    assert "no agent has exited" in lab.run("revive", "--all").err


def test_what_was_archived_comes_back_and_what_was_deleted_does_not(codex_lab: CodexLab, codex: str) -> None:
    lab = codex_lab
    id = lab.create()
    assert lab.ok("ask", id, "[[reply: one]]") == "one"
    thread = lab.private(id)["thread"]
    subprocess.run([codex, "archive", thread], env=lab.env, cwd=lab.project, check=True, capture_output=True)
    assert lab.ok("status", id) == "exited"
    assert f"next: dev-sessions revive {id}" in lab.run("send", id, "hello").err
    done = lab.run("revive", id)
    assert done[:2] == (0, f"Revived session {id}\n")
    assert "out of Codex's archive" in done.err
    assert lab.ok("ask", id, "[[reply: two]]") == "two"
    assert lab.run("last-message", id, "-n", "2", "--json").json == ["one", "two"]
    (path,) = lab.codex_home.glob(f"sessions/*/*/*/rollout-*-{thread}.jsonl")
    path.unlink()
    done = lab.run("revive", id)
    assert done.code == 1
    assert str(path) in done.err
    assert f"dev-sessions kill {id}" in done.err


def test_an_interrupt_ends_what_the_turn_has_started_and_nothing_of_an_earlier_one(codex_lab: CodexLab) -> None:
    lab = codex_lab
    id = lab.create()
    assert lab.ok("ask", id, f"[[bash_bg: {sleeper('EARLIER')}]][[reply: left]]") == "left"
    commands = f"setsid -f {sleeper('AWAY')}; ({sleeper('FORKED')} &); {sleeper('FRONT')}"
    lab.ok("send", id, f"[[bash_bg: {sleeper('LEFT')}]][[bash: {commands}]][[reply: never]]")
    lab.until(lambda: running(lab) == {"EARLIER", "LEFT", "AWAY", "FORKED", "FRONT"}, "the commands")
    waiting = [lab.start("wait", id, *SELDOM) for _ in range(2)]
    lab.until(lambda: all(is_waiting(one.pid) for one in waiting), "the waiters to wait")
    assert lab.ok("interrupt", id) == "interrupted"
    assert running(lab) == {"EARLIER"}
    assert [lab.finish(one)[:2] for one in waiting] == [(5, "interrupted\n")] * 2
    assert lab.ok("ask", id, "[[reply: on]]") == "on"
    assert running(lab) == {"EARLIER"}
    lab.ok("kill", id)
    assert lab.processes() == []
