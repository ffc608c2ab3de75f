"""`create` in odd surroundings and by several at once: tmux servers, ids, repeated requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab for one test."""
    with Lab(name="create") as made:
        yield made


def create(lab: Lab, *words: str, env: dict[str, str] | None = None) -> str:
    return lab.create("--cli", "fake", *words, env=env)


def listed(lab: Lab) -> dict[str, str]:
    """What `list` says: id -> status."""
    return {row["id"]: row["status"] for row in json.loads(lab.ok("list", "--json"))}


def nothing_is_left(lab: Lab) -> None:
    assert (lab.processes(), listed(lab), lab.tmux("list-sessions")) == ([], {}, "")
    assert list(lab.state.glob("sessions/*")) == []


def test_from_inside_tmux(lab: Lab) -> None:
    """The session is on the caller's own server, where `tmux attach` finds it; commands from outside reach it too."""
    socket = lab.tmux_folder / "other server"
    lab.tmux("-f", "/dev/null", "-S", str(socket), "new-session", "-d", "-s", "mine")
    pane = lab.tmux("-S", str(socket), "display-message", "-p", "-t", "=mine:", "#{pid},#{session_id} #{pane_id}")
    where, shown = pane.split()
    id = create(lab, env={"TMUX": f"{socket},{where.replace('$', '')}", "TMUX_PANE": shown})
    sessions = lab.tmux("-S", str(socket), "list-sessions", "-F", "#{session_name}").split()
    assert sorted(sessions) == sorted(["mine", f"dev-{id}"])
    environment = Path(f"/proc/{lab.pid(id)}/environ").read_bytes().decode().split("\0")
    assert any(entry.startswith(f"TMUX={socket},") for entry in environment)
    assert f"TMUX_PANE={shown}" not in environment
    assert lab.ok("ask", id, "[[reply: Heard.]]") == "Heard."
    lab.ok("kill", id)
    assert lab.tmux("-S", str(socket), "list-sessions", "-F", "#{session_name}").split() == ["mine"]
    lab.tmux("-S", str(socket), "kill-server")


def test_the_callers_tmux_server_has_ended(lab: Lab) -> None:
    """A stale TMUX variable, as an agent keeps it whose terminal was closed."""
    id = create(lab, env={"TMUX": f"{lab.path}/no such folder/default,1,0", "TMUX_PANE": "%0"})
    assert lab.ok("ask", id, "[[reply: Heard.]]") == "Heard."
    lab.ok("kill", id)
    nothing_is_left(lab)


def test_broken_tmux_configuration(lab: Lab) -> None:
    """tmux shows the errors of a configuration in a pane that it opens over the first session."""
    (lab.home / ".tmux.conf").write_text("set -g no-such-option on\nthis is no command\nset -g prefix C-a\n")
    id = create(lab)
    assert lab.ok("ask", id, "[[reply: Fine.]]") == "Fine."
    lab.ok("kill", id)
    nothing_is_left(lab)


def test_ids(lab: Lab) -> None:
    """The longest, and one that is the beginning of another: tmux also finds a session by the beginning of its name."""
    long = "a" * 64
    assert create(lab, "--id", long) == long
    assert create(lab, "--id", "a") == "a"
    again = lab.run("create", "--cli", "fake", "--id", "a")
    assert (again.code, "already" in again.err, "next: dev-sessions status a" in again.err) == (2, True, True)
    assert lab.ok("ask", "a", "[[reply: Short.]]") == "Short."
    assert lab.ok("status", long) == "idle"
    lab.ok("kill", "a")
    assert listed(lab) == {long: "idle"}
    lab.ok("kill", long)
    nothing_is_left(lab)


def test_the_same_request_during_the_first(lab: Lab) -> None:
    """A retry and a simultaneous request both return the same session once it is ready."""
    words = ("create", "--cli", "fake", "-q", "--request-id", "r-1")
    first, second = lab.start(*words), lab.start(*words)
    lab.until(lambda: list(lab.state.glob("sessions/*/record.json")), "a record")
    done = [lab.run(*words), lab.finish(first), lab.finish(second)]
    assert [one.code for one in done] == [0, 0, 0], done
    (id,) = listed(lab)
    assert {one.out for one in done} == {f"{id}\n"}
    assert lab.running("dev_sessions_fake.program") == [lab.pid(id)]
    assert lab.ok("send", id, "[[reply: Ready.]]") == "started (turn 1)"
    assert lab.ok("wait", id) == "completed"
    lab.ok("kill", id)
    nothing_is_left(lab)
