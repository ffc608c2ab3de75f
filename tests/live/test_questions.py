"""Questions as data in every command that shows a session, and answers after all our processes were restarted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from lab import Lab, subagent
from soak import size


def test_a_question_is_told_of_everywhere(shared: Lab, asker: str) -> None:
    lab, id = shared, asker
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
    assert [event["question"] for event in events if event["event"] == "asked"][-1] == asked
    shown = lab.run("wait", id)
    assert asked["text"] in shown.err
    assert f"dev-sessions respond {id}" in shown.err
    refused = lab.run("send", id, "and now?")
    assert refused.code == 6
    assert "--allow" in refused.err
    lab.ok("respond", id, "--deny", "not there")
    assert lab.ok("wait", id) == "completed"


def test_an_answer_in_the_morning(shared: Lab, asker: str) -> None:
    """None of our processes runs meanwhile; a new process answers, without tmux pressing a key."""
    lab, id = shared, asker
    lab.ok("send", id, "[[bash: touch morning]][[reply: Made.]]")
    assert lab.run("wait", id).code == 6
    assert lab.running("dev_sessions") == []
    settings = json.loads((lab.folder(id) / "agent" / "settings.json").read_text())
    command = settings["hooks"]["PermissionRequest"][0]["hooks"][0]["command"]
    assert os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + "/dev_sessions" not in command
    log, folder = lab.path / "tmux.log", lab.path / "bin"
    folder.mkdir()
    real = subprocess.run(["which", "tmux"], env=lab.env, capture_output=True, text=True, check=True).stdout.strip()
    (folder / "tmux").write_text(f'#!/bin/sh\necho "$@" >>{log}\nexec {real} "$@"\n')
    (folder / "tmux").chmod(0o755)
    wrapped = {"PATH": f"{folder}:{lab.env['PATH']}"}
    lab.ok("attach", id, "--json", env=wrapped)
    lab.ok("respond", id, "--allow", env=wrapped)
    logged = log.read_text() if log.exists() else ""
    assert all(word not in logged for word in ("send-keys", "paste-buffer", "set-buffer")), logged
    assert lab.ok("wait", id) == "completed"
    assert (lab.project / "morning").exists()


def test_a_dialog_is_answered_with_a_key(shared: Lab, asker: str) -> None:
    """A dialog of the program: its screen is shown, and a key is pressed only while the screen shows a choice."""
    lab, id = shared, asker
    refused = lab.run("respond", id, "--key", "Enter")
    assert refused.code == 1
    assert "no key was pressed" in refused.err
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


def test_a_subagents_question_is_open_while_the_agent_rests_and_works_on_something_else(
    shared: Lab, asker: str
) -> None:
    """There is no dialog for it, and Claude's status does not show it (2.1.332)."""
    lab, id = shared, asker

    def said(words: str) -> bool:
        reports = [json.loads(path.read_text()) for path in (lab.folder(id) / "facts").glob("[!.]*.json")]
        return words in [one.get("last_assistant_message") for one in reports if one["hook_event_name"] == "Stop"]

    lab.ok("send", id, subagent("[[bash: touch one]][[replytool]]", "touch a file") + "[[reply: started it]]")
    (asked,) = lab.pending("touch one")
    assert (asked["kind"], asked["agent"]["type"], asked["agent"]["task"]) == (
        "permission",
        "general-purpose",
        "touch a file",
    )
    lab.until(lambda: said("started it"), "the end of the agent's own turn")
    lab.keys(id, "[[reply: theirs]] ")
    lab.until(lambda: "theirs" in lab.screen(id), "the typed prompt")
    lab.keys(id, "Enter")
    lab.until(lambda: said("theirs"), "the end of a person's turn")
    lab.until(lambda: time.time() > asked["since"] + 3, "a while")
    assert lab.pending("touch one") == [asked]
    del asked["session"]
    assert json.loads(lab.ok("status", id, "--json"))["question"] == asked
    assert [row["status"] for row in json.loads(lab.ok("list", "--json"))] == ["waiting_for_input"]
    waited = lab.run("wait", id, "--json")
    assert (waited.code, waited.json["question"]) == (6, asked)
    events = [json.loads(line) for line in lab.ok("events", id).splitlines()]
    assert [event["question"] for event in events if event["event"] == "asked"][-1] == asked
    refused = lab.run("send", id, "and now?")
    assert (refused.code, asked["id"] in refused.err) == (6, True)
    assert "asks (permission of its subagent general-purpose: touch a file, " in lab.ok("pending")
    done = lab.ok("respond", id, "--question", asked["id"], "--allow")
    assert done == "answered (permission of its subagent general-purpose: touch a file)"
    lab.until((lab.project / "one").exists, "what was allowed")
    assert lab.ok("wait", id) == "completed"
    assert (lab.pending(), lab.hooks()) == ([], [])


def test_each_of_several_that_ask_at_once_gets_its_own_answer(shared: Lab, asker: str) -> None:
    lab, id = shared, asker
    asking = subagent("[[bash: touch two]][[replytool]]", "second") + subagent("[[bash: touch three]][[reply: 3]]")
    lab.ok("send", id, f"{asking}[[bash: touch four]][[bash: touch five]][[reply: done]]")
    assert lab.run("wait", id).code == 6
    two, three, four = lab.pending("touch two", "touch three", "touch four")
    assert [one["agent"] and one["agent"]["task"] for one in (two, three, four)] == ["second", "a helper", None]
    unclear = lab.run("respond", id, "--allow")
    assert unclear.code == 2
    assert all(one["id"] in unclear.err for one in (two, three, four))
    lab.ok("respond", id, "--question", three["id"], "--allow")
    lab.until((lab.project / "three").exists, "what a subagent was allowed")
    lab.pending("touch two", "touch four")
    lab.ok("respond", id, "--question", four["id"], "--allow")
    lab.pending("touch two", "touch five")
    lab.until(lambda: "1. Yes" in lab.screen(id), "the dialog of the agent itself")

    def pressed() -> bool:
        lab.keys(id, "1")
        return [one["id"] for one in json.loads(lab.ok("pending", "--json"))] == [two["id"]]

    lab.until(pressed, "a person's answer")
    lab.until((lab.project / "five").exists, "what a person allowed")
    lab.keys(id, "C-u")  # a "1" that came too late for the dialog becomes a draft in the input box
    done = lab.run("respond", id, "--question", two["id"], "--deny", "not two", "--json").json
    assert done["agent"] == two["agent"]
    lab.until(lambda: lab.ok("status", id) == "idle", "the end of all")
    assert not (lab.project / "two").exists()
    lab.until(lambda: not lab.hooks(), "the end of all hooks")

    for name in ("a", "b"):
        (lab.path / name).write_text(f"what {name} holds")
    lab.ok("send", id, f"[[read: {lab.path}/a]][[and]][[read: {lab.path}/b]][[reply: both]]")
    one, other = lab.pending(f"{lab.path}/a", f"{lab.path}/b")  # both from one agent, at the same time
    lab.ok("respond", id, "--question", other["id"], "--allow")
    assert lab.pending(f"{lab.path}/a") == [one]
    lab.ok("respond", id, "--allow")
    assert lab.ok("wait", id) == "completed"
    assert lab.ok("last-message", id) == "both"
    assert lab.hooks() == []


def test_a_subagents_question_that_is_settled_otherwise_is_asked_no_more(lab: Lab) -> None:
    """It is settled by a hook of the user, by stopping the subagent, in the dialog, or by the agent's death."""
    allow = {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": {"behavior": "allow"}}}
    theirs = lab.path / "theirs.sh"
    theirs.write_text(
        f"cat >{lab.path}/request\ngrep -q by-rule {lab.path}/request && echo '{json.dumps(allow)}'\nexit 0"
    )
    settings = lab.home / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    hook = {"hooks": [{"type": "command", "command": f"sh {theirs}"}]}
    settings.write_text(json.dumps({"hooks": {"PermissionRequest": [hook]}}))
    id = lab.create("--permissions", "ask")

    lab.ok("send", id, subagent("[[bash: touch by-rule]][[bash: touch one]][[replytool]]") + "[[reply: started it]]")
    lab.pending("touch one")
    assert (lab.project / "by-rule").exists()
    assert len(lab.hooks()) == 2  # our hook was not notified
    assert "ctrl+x" not in lab.screen(id)
    for _ in "twice":
        lab.keys(id, "C-x", "C-k")  # stop the subagents
        lab.until(lambda: "again to stop" in lab.screen(id) or not lab.hooks()[1:], "the key to be read")
    lab.pending()
    lab.until(lambda: lab.ok("status", id) == "idle" and not lab.hooks(), "rest")

    lab.ok("send", id, subagent("[[bash: touch two]][[replytool]]") + "[[reply: started it]]")
    lab.pending("touch two")
    for pid in lab.hooks():
        os.kill(pid, signal.SIGKILL)
    lab.until(lambda: "1. Yes" in lab.screen(id), "the dialog")
    lab.pending("touch two")

    def is_refused() -> bool:
        refused = lab.run("respond", id, "--allow")
        assert refused.code == 1, refused
        return "--key" in refused.err

    lab.until(is_refused, "the refusal that names the key")  # Claude draws the dialog before it reports that it waits
    lab.ok("respond", id, "--key", "1")
    lab.until((lab.project / "two").exists, "what was allowed by key")
    lab.until(lambda: lab.ok("status", id) == "idle", "rest")

    lab.ok("send", id, subagent("[[bash: touch three]][[replytool]]") + "[[reply: started it]]")
    lab.pending("touch three")
    os.kill(lab.pid(id), signal.SIGKILL)
    lab.until(lambda: lab.ok("status", id) == "exited", "its death")
    lab.pending()
    lab.ok("revive", id)
    assert (lab.pending(), lab.hooks(), lab.ok("status", id)) == ([], [], "idle")

    lab.ok("send", id, subagent("[[bash: touch four]][[replytool]]") + "[[reply: started it]]")
    lab.pending("touch four")
    lab.ok("kill", id)
    assert (lab.pending(), lab.hooks()) == ([], [])


@pytest.mark.soak
def test_a_subagent_asks_in_every_mode_that_asks(lab: Lab) -> None:
    for mode in ("plan", "edit")[: size(1, 2)]:
        id = lab.create("--permissions", mode)
        script = f"[[bash: python3 -c \"open('{mode}', 'w')\"]][[replytool]]"
        lab.ok("send", id, subagent(script) + "[[reply: started it]]")
        (asked,) = lab.pending(f"open('{mode}'")
        assert asked["agent"]["type"] == "general-purpose"
        lab.ok("respond", id, "--deny", "not now")
        lab.until(lambda id=id: lab.ok("status", id) == "idle", "the end of all")  # type: ignore[misc]
        assert not (lab.project / mode).exists()
        lab.ok("kill", id)
    id = lab.create()
    lab.ok("send", id, subagent("[[hold: sub]][[reply: done]]") + "[[ask: Which colour?|Red|Blue]][[replytool]]")
    (asked,) = lab.pending("Which colour?")
    assert asked["agent"] is None
    lab.ok("respond", id, "--choose", "2")
    assert lab.model.wait_until_blocked("sub")  # it continues to work
    lab.model.release("sub")
    assert lab.ok("wait", id) == "completed"
    assert "Blue" in lab.ok("last-message", id, "-n", "2")
