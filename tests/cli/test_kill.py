"""`kill` during other commands, and which processes it ends."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from lab import Done, Lab

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab for one test."""
    with Lab(name="kill") as made:
        yield made


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def create(lab: Lab, *words: str) -> str:
    return lab.create("--cli", "fake", *words)


def listed(lab: Lab) -> dict[str, str]:
    """What `list` says: id -> status."""
    return {row["id"]: row["status"] for row in json.loads(lab.ok("list", "--json"))}


def clear_error(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done
    for word in ("Traceback", "unexpected", "never started"):
        assert word not in done.err, done
    for word in words:
        assert word in done.err, (word, done.err)


def test_two_kills_at_once(lab: Lab) -> None:
    """At least one reports success; the others report success, or that there is no such session."""
    id = create(lab)
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


def test_while_a_wait_is_open(lab: Lab) -> None:
    """A `wait` for a running turn and one for several sessions both end soon, with an outcome."""
    id, other = create(lab), create(lab)
    for one in (id, other):
        lab.ok("send", one, "[[hold: a]][[reply: never]]")
    waits = [lab.start("wait", id), lab.start("wait", id, other, "--any"), lab.start("wait", id, "--json")]
    asking = lab.start("ask", id, "[[reply: nor this]]")
    lab.until(lambda: len(list(lab.folder(id).glob("messages/*/receipt.json"))) == 2, "the second message")
    for process in waits:
        lab.until(lambda process=process: lab.is_waiting(process.pid), "they wait")  # type: ignore[misc]
    lab.ok("kill", id)
    plain, both, in_json = [lab.finish(process, timeout=20) for process in waits]
    assert (plain.code, plain.out) in ((5, "exited\n"), (3, "")), plain
    assert plain.err, "a word on why"
    assert (both.code, both.out) in ((5, f"{id} exited\n"), (3, "")), both
    assert in_json.code == plain.code
    assert in_json.json.get("outcome") == "exited" or in_json.json["error"]["code"] == "not_found"
    asked = lab.finish(asking, timeout=20)
    assert asked.code in (3, 5), asked
    for done in (plain, both, asked):
        clear_error(done, done.code)
    assert lab.ok("status", other) == "working"
    lab.ok("kill", other)
    assert lab.processes() == []


def test_with_messages_queued(lab: Lab) -> None:
    """The courier ends too and delivers nothing more."""
    id = create(lab)
    lab.ok("send", id, "[[hold: a]][[reply: never]]")
    for number in range(2):
        assert lab.ok("send", id, "--queue", f"[[reply: queued {number}]]").startswith("queued")
    lab.until(lambda: list(lab.folder(id).glob("courier.json")), "a courier")
    lab.ok("kill", id)
    assert lab.processes() == []
    assert list(lab.state.glob("sessions/*")) == []
    reports = [json.loads(path.read_text()) for path in (lab.folder(id) / "facts").glob("[!.]*.json")]
    assert [one["text"] for one in reports if one["kind"] == "accepted"] == ["[[hold: a]][[reply: never]]"]


def test_list_while_sessions_come_and_go(lab: Lab) -> None:
    """Readers take no lock, and still answer correctly at any moment."""
    id = create(lab)
    over = lab.path / "over"
    command = " ".join(lab.argv())
    loop = (
        f"while [ ! -e '{over}' ]; do {command} list --json || echo FAILED; "
        f"{command} status {id} >/dev/null || echo FAILED; done"
    )
    reading = subprocess.Popen(["/bin/sh", "-c", loop], env=lab.env, stdout=subprocess.PIPE, text=True)
    try:
        for number in range(4):
            other = create(lab, "--id", f"other-{number}")
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


def test_recycled_pid_is_never_signalled(lab: Lab, bystander: subprocess.Popen[bytes]) -> None:
    """The session's `process` file names a pid that another process has now: only the agent ends."""
    id = create(lab)
    path = lab.folder(id) / "process"
    agent, words = path.read_text().split("\n", 1)
    path.write_text(f"{bystander.pid}\n{words}")
    assert listed(lab) == {id: "exited"}
    assert lab.run("wait", id)[:2] == (5, "exited\n")
    lab.ok("kill", id)
    assert bystander.poll() is None
    assert not os.path.exists(f"/proc/{agent}/exe")
    lab.until(lambda: not lab.processes(), "the end of what the agent had started")


def test_other_tmux_sessions_are_not_affected(lab: Lab) -> None:
    """A person's tmux session on the same server, and another session, of names that begin alike."""
    first, second = create(lab, "--id", "one"), create(lab, "--id", "one-more")
    lab.tmux("new-session", "-d", "-s", "mine", "cat")
    lab.tmux("new-session", "-d", "-s", "dev-onetime", "cat")
    lab.ok("kill", first)
    names = lab.tmux("list-sessions", "-F", "#{session_name}").split()
    assert sorted(names) == ["dev-one-more", "dev-onetime", "mine"]
    assert lab.ok("status", second) == "idle"
    lab.ok("kill", second)
    assert sorted(lab.tmux("list-sessions", "-F", "#{session_name}").split()) == ["dev-onetime", "mine"]
    lab.tmux("kill-server")


def test_with_a_person_attached(lab: Lab) -> None:
    """The session ends, and the person gets the terminal back."""
    id = create(lab)
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
