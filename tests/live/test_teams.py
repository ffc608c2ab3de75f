"""Agent teams: a teammate in a separate pane is another Claude, with our hooks and with another conversation."""

from __future__ import annotations

import json

from lab import Lab

TEAMS = {"CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS": "1"}
# Its output appears only in its own conversation, and not in any prompt.
MATE = {
    "description": "a teammate",
    "name": "mate",
    "subagent_type": "general-purpose",
    "prompt": "[[bash: echo only-the-mate-$((40+2)) | tee begun]][[reply: the mate is done]]",
}
WOKEN = "Another Claude session sent a message"


def test_a_teammate_in_a_pane_of_its_own(lab: Lab) -> None:
    (lab.home / ".claude").mkdir()
    (lab.home / ".claude" / "settings.json").write_text(json.dumps({"teammateMode": "tmux"}))
    id = lab.create(env=TEAMS)
    (agent,) = panes(lab)
    wait_for_mate = "until [ -e begun ]; do sleep 0.1; done"

    # It starts, works and becomes idle while our turn runs.
    lab.ok("send", id, f"[[tool: Agent {json.dumps(MATE)}]][[bash: {wait_for_mate}]][[reply: one]]")
    assert lab.ok("wait", id) == "completed"
    lab.until(lambda: "the mate is done" in said_by_others(lab, id), "the reply of the teammate", 120)
    assert lab.ok("last-message", id) == "one" or WOKEN in lab.ok("last-message", id)
    (mate,) = panes(lab).keys() - {agent}
    pid = panes(lab)[mate]

    # It reports to our agent that it is idle, which wakes the agent up; then there is a turn of ours.
    lab.until(lambda: WOKEN in lab.ok("last-message", id), "the wake-up", 120)
    assert lab.ok("ask", id, "[[reply: two]]") == "two"
    assert_all_is_ours(lab, id, "two")

    lab.tmux("kill-pane", "-t", mate)
    lab.until(lambda: pid not in lab.running("--agent-id"), "the end of the teammate", 120)
    assert lab.ok("status", id) == "idle"
    assert lab.ok("ask", id, "[[reply: three]]") == "three"
    assert_all_is_ours(lab, id, "three")
    lab.ok("kill", id)


def assert_all_is_ours(lab: Lab, id: str, last: str) -> None:
    assert lab.ok("last-message", id) == last
    assert "only-the-mate-42" in said_by_others(lab, id)
    assert "only-the-mate-42" not in lab.ok("logs", id)
    uuid = json.loads((lab.folder(id) / "record.json").read_text())["backend"]["uuid"]
    assert json.loads(lab.ok("inspect", id, "--json"))["files"]["transcript"].endswith(f"/{uuid}.jsonl")
    reports = [json.loads(file.read_text()) for file in (lab.folder(id) / "facts").glob("*.json")]
    assert {report["session_id"] for report in reports} == {uuid}


def panes(lab: Lab) -> dict[str, int]:
    """The pids of this lab's panes, by pane id."""
    shown = [line.split() for line in lab.tmux("list-panes", "-a", "-F", "#{pane_id} #{pane_pid}").splitlines()]
    return {pane: int(pid) for pane, pid in shown}


def said_by_others(lab: Lab, id: str) -> str:
    """The transcripts of this lab, except that of the session."""
    uuid = json.loads((lab.folder(id) / "record.json").read_text())["backend"]["uuid"]
    paths = (lab.home / ".claude" / "projects").glob("*/*.jsonl")
    return "\n".join(path.read_text() for path in paths if path.stem != uuid)
