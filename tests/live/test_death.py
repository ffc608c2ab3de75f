"""An agent ends in any way: every waiter is notified at once, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import Lab
from soak import only_in_soak

# An interval so long that only an event can end a wait while the test runs.
SELDOM = ("-i", "600")
SLEEP = 'python3 -c "import time; time.sleep(600)"'


@pytest.fixture
def working(lab: Lab) -> Iterator[str]:
    """A session that has answered once, and is running a command in its second turn."""
    id = lab.create()
    lab.ok("ask", id, "[[reply: what was said before]]")
    lab.ok("send", id, f"[[bash: {SLEEP}]][[reply: never]]")
    lab.until(lambda: "time.sleep(600)" in commands(lab), "the command to run")
    lab.until(lambda: len(lab.prompts(id)) == 2, "the prompt on the disk")
    yield id
    lab.run("kill", id)


def commands(lab: Lab) -> str:
    found = []
    for pid in lab.processes():
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
        except OSError:
            continue
    return "\n".join(found)


def kill_agent(lab: Lab, id: str) -> None:
    os.kill(lab.pid(id), signal.SIGKILL)


def end_agent(lab: Lab, id: str) -> None:
    os.kill(lab.pid(id), signal.SIGTERM)


def kill_session(lab: Lab, id: str) -> None:
    lab.tmux("kill-session", "-t", f"=dev-{id}")


def kill_server(lab: Lab, id: str) -> None:
    lab.tmux("kill-server")


DEATHS = [
    pytest.param(kill_agent, "the agent's process is gone", id="kill_agent"),
    pytest.param(end_agent, "by a signal", id="end_agent", marks=only_in_soak),
    pytest.param(kill_session, "its terminal was closed", id="kill_session", marks=only_in_soak),
    pytest.param(kill_server, "its terminal was closed", id="kill_server", marks=only_in_soak),
]


@pytest.mark.parametrize(("death", "words"), DEATHS)
def test_waiters_are_told_what_died_and_nothing_is_lost(
    lab: Lab, working: str, death: Callable[[Lab, str], None], words: str
) -> None:
    waiting = [lab.start("wait", working, *SELDOM), lab.start("wait", working, "--turn", "2", *SELDOM)]
    following = lab.start("logs", working, "--follow")
    # A wait that is armed holds a descriptor of the agent's process.
    lab.until(lambda: all(holds_a_process(one.pid) for one in waiting), "the waiters to wait")
    death(lab, working)
    for one in waiting:
        done = lab.finish(one)
        assert (done.code, done.out) == (5, "exited\n")
        assert words in done.err
    assert "what was said before" in lab.finish(following).out
    assert_all_is_there(lab, working, words)


def holds_a_process(pid: int) -> bool:
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any("pidfd" in link for link in links)


def assert_all_is_there(lab: Lab, id: str, words: str) -> None:
    assert lab.ok("last-message", id) == "what was said before"
    assert SLEEP in lab.ok("logs", id)
    assert [row["status"] for row in lab.run("list", "--json").json] == ["exited"]
    status = lab.run("status", id)
    assert (status.code, status.out) == (0, "exited\n")
    assert words in status.err
    sent = lab.run("send", id, "are you there?")
    assert sent.code == 5
    assert f"next: dev-sessions revive {id}" in sent.err
    assert lab.run("wait", id)[:2] == (5, "exited\n")
    assert lab.folder(id).parent.name == "sessions"


def test_after_a_boot_all_are_gone_and_come_back(lab: Lab, working: str) -> None:
    """All processes are killed at once, files that a boot deletes are missing, and other processes have the pids."""
    other = lab.create("--cli", "fake")
    lab.ok("ask", other, "[[reply: the other]]")
    for pid in (
        lab.pid(working),
        lab.pid(other),
        *lab.processes(),
    ):  # the agents first: they report that their terminal was closed
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    lab.until(lambda: not lab.processes(), "the end of all")
    for path in lab.tmux_folder.iterdir():
        shutil.rmtree(path)
    for id in (working, other):
        pretend_an_earlier_boot(lab.folder(id) / "process")
        assert lab.ok("status", id) == "exited"
    assert "the machine was started anew" in lab.run("status", working).err
    assert lab.ok("last-message", other) == "the other"
    assert lab.run("wait", working)[:2] == (5, "exited\n")
    done = lab.ok("revive", "--all").splitlines()
    assert sorted(done) == sorted(
        [f"Revived session {other}", f"Revived session {working} (interrupted: turn 2)"],
    )
    for id, turn in ((working, 3), (other, 2)):
        assert lab.ok("ask", id, f"[[reply: {id} is back]]") == f"{id} is back"
        assert lab.run("wait", id, "--turn", str(turn))[:2] == (0, "completed\n")
    assert lab.run("wait", working, "--turn", "2")[:2] == (5, "interrupted\n")


def pretend_an_earlier_boot(path: Path) -> None:
    """Make the file look written in an earlier boot, with the pid and start time of a process that runs now."""
    own = Path(f"/proc/{os.getpid()}/stat").read_text()
    path.write_text(f"{os.getpid()}\n{own.rstrip()}\n01234567-89ab-cdef-0123-456789abcdef\n")
