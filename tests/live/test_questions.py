"""Questions as data, wherever a session is looked at, and answers after all of ours was restarted."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lab import Lab


def test_a_question_is_told_of_everywhere(lab: Lab) -> None:
    id = lab.create("--permissions", "ask")
    outside = lab.path / "outside.txt"
    lab.ok("send", id, f"[[write: {outside}|what to write]][[reply: Written.]]")
    waited = lab.run("wait", id, "--json")
    assert waited.code == 6
    asked = waited.json["question"]
    assert asked["kind"] == "permission"
    assert str(outside) in asked["text"]
    assert "what to write" in asked["text"]
    assert json.loads(lab.ok("status", id, "--json"))["question"] == asked
    assert json.loads(lab.ok("pending", "--json")) == [{"session": id, **asked}]
    assert [row["status"] for row in json.loads(lab.ok("list", "--json"))] == ["waiting_for_input"]
    assert json.loads(lab.ok("inspect", id, "--json"))["status"] == "waiting_for_input"
    events = [json.loads(line) for line in lab.ok("events", id).splitlines()]
    assert [event["question"] for event in events if event["event"] == "asked"] == [asked]
    shown = lab.run("wait", id)
    assert asked["text"] in shown.err
    assert f"dev-sessions respond {id}" in shown.err
    refused = lab.run("send", id, "and now?")
    assert refused.code == 6
    assert "--allow" in refused.err


def test_an_answer_in_the_morning(lab: Lab) -> None:
    """Nothing of ours runs meanwhile, and the command that answers is none that was there before."""
    id = lab.create("--permissions", "ask")
    lab.ok("send", id, "[[bash: touch one]][[reply: Made.]]")
    assert lab.run("wait", id).code == 6
    ours = [pid for pid in lab.processes() if b"dev_sessions\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert ours == []
    settings = json.loads((lab.folder(id) / "agent" / "settings.json").read_text())
    command = settings["hooks"]["PermissionRequest"][0]["hooks"][0]["command"]
    assert os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + "/dev_sessions" not in command
    lab.ok("respond", id, "--allow")
    assert lab.ok("wait", id) == "completed"
    assert (lab.project / "one").exists()


def test_a_dialog_is_answered_with_a_key(lab: Lab) -> None:
    """A dialog of the program: its screen is told, and a key goes only to a screen that shows a choice."""
    id = lab.create()
    refused = lab.run("respond", id, "--key", "Enter")
    assert refused.code == 1
    assert "asks nothing" in refused.err
    lab.keys(id, "-l", "/model")
    lab.until(lambda: "/model" in lab.screen(id), "the command in the box")
    lab.keys(id, "Enter")
    lab.until(lambda: json.loads(lab.ok("pending", "--json")), "the dialog")
    (dialog,) = json.loads(lab.ok("pending", "--json"))
    assert dialog["kind"] == "dialog"
    assert "model" in dialog["text"].lower()
    assert lab.run("respond", id, "--allow").code == 2
    assert lab.run("respond", id, "--key", "C-c").code == 2
    lab.ok("respond", id, "--key", "Escape", "--question", dialog["id"])
    lab.until(lambda: lab.ok("status", id) == "idle", "the end of the dialog")
    assert lab.run("respond", id, "--key", "Escape", "--question", dialog["id"]).code == 1
