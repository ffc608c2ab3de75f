"""The main job, as a user would do it."""

from __future__ import annotations

from lab import Lab


def test_create_send_wait_read_kill(lab: Lab) -> None:
    created = lab.run("create", "--description", "fix the parser")
    assert created.code == 0
    assert created.out.startswith("Created session ")
    id = created.out.split()[-1]
    assert lab.ok("status", id) == "idle"
    assert lab.ok("send", id, "[[hold: a]][[reply: It is\\nfixed.]]") == "started (turn 1)"
    assert lab.model.wait_until_blocked("a")
    assert lab.ok("status", id) == "working"
    waiting = lab.start("wait", id)
    lab.model.release("a")
    assert lab.finish(waiting)[:2] == (0, "completed\n")
    assert lab.ok("last-message", id) == "It is\nfixed."
    assert lab.ok("ask", id, "[[reply: Sure.]]") == "Sure."
    assert lab.ok("kill", id) == f"Killed session {id}"
    assert lab.ok("list") == ""
    assert lab.processes() == []
