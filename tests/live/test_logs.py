"""`logs`, `inspect` and `events` with the real Claude Code: tools, users and reminders each have their own role."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from lab import Lab
from soak import size

LONG = "a very long briefing. " * 1500


def said(lab: Lab, id: str, *more: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = lab.run("logs", id, "--json", *more).json
    return entries


def short(entries: list[dict[str, Any]]) -> list[tuple[str, str, str, int | None]]:
    return [(one["role"], one["kind"], one["text"], one["turn"]) for one in entries if one["kind"] != "thinking"]


def test_a_whole_conversation(shared: Lab) -> None:
    id = shared.create()
    tool = "[[bash: printf 'a\\nb']] [[reply: Done with it.]]"
    shared.ok("ask", id, tool)
    assert short(said(shared, id)) == [
        ("user", "message", tool, 1),
        ("tool", "call", "printf 'a\\nb'", 1),
        ("tool", "result", "a\nb", 1),
        ("assistant", "message", "Done with it.", 1),
    ]
    call, result = (entry for entry in said(shared, id) if entry["role"] == "tool")
    assert (call["tool"], call["input"]["command"]) == ("Bash", "printf 'a\\nb'")
    assert (result["tool"], result["call"], result["failed"]) == ("Bash", call["call"], False)
    shared.ok("ask", id, f"{LONG}[[reply: Read.]]")
    message, *rest = (entry for entry in said(shared, id) if entry["turn"] == 2)
    assert (message["role"], message["via"], message["text"]) == ("user", "file", f"{LONG}[[reply: Read.]]")
    assert [entry["role"] for entry in rest if entry["kind"] == "message"] == ["assistant"]
    shared.keys(id, "-l", "[[reply: to a person]]")
    shared.keys(id, "Enter")
    shared.until(lambda: shared.ok("last-message", id) == "to a person", "the reply to the person")
    assert short(said(shared, id))[-2:] == [
        ("user", "message", "[[reply: to a person]]", None),
        ("assistant", "message", "to a person", None),
    ]
    text = shared.ok("logs", id)
    assert text.startswith(
        f"user (turn 1):\n{tool}\n\ntool Bash:\nprintf 'a\\nb'\n\n"
        "tool Bash, result:\na\nb\n\nassistant (turn 1):\nDone with it.\n"
    )
    assert "system-reminder" not in text
    shared.ok("kill", id)


@pytest.mark.soak
def test_the_reply_is_there_as_soon_as_the_turn_is_over(shared: Lab, talker: str) -> None:
    for number in range(size(2, 50)):
        shared.ok("ask", talker, f"[[reply: asked {number}]]")
        assert said(shared, talker)[-1]["text"] == f"asked {number}"
        texts = [entry["text"] for entry in said(shared, talker) if entry["role"] == "assistant"]
        assert texts.count(f"asked {number}") == 1
        shared.ok("send", talker, f"[[reply: sent {number}]]")
        shared.ok("wait", talker)
        assert said(shared, talker)[-1]["text"] == f"sent {number}"


def test_messages_during_a_turn_and_an_interrupt(shared: Lab, talker: str) -> None:
    before = len(said(shared, talker))
    first = shared.run("send", talker, "[[hold: h]] [[reply: First.]]", "--json").json["turn"]
    second = shared.run("send", talker, "[[reply: Second.]]", "--json").json["turn"]
    shared.model.release("h")
    shared.ok("wait", talker)
    assert short(said(shared, talker)[before:]) == [
        ("user", "message", "[[hold: h]] [[reply: First.]]", first),
        ("assistant", "message", "First.", first),
        ("user", "message", "[[reply: Second.]]", second),
        ("assistant", "message", "Second.", second),
    ]
    third = shared.run("send", talker, "[[bash: python3 -c 'import time; time.sleep(60)']]", "--json").json["turn"]
    shared.until(lambda: said(shared, talker)[-1]["kind"] == "call", "the tool")
    shared.ok("interrupt", talker)

    def noted() -> list[dict[str, Any]]:
        return [entry for entry in said(shared, talker) if entry["turn"] == third and entry["kind"] == "notice"]

    (note,) = shared.until(noted, "the note of the interrupt")
    assert note["role"] == "tool"
    assert note["text"].startswith("[Request interrupted")


def test_following_until_the_agent_is_killed(shared: Lab) -> None:
    id = shared.create()
    logs, events = shared.start("logs", id, "--follow", "--json"), shared.start("events", id, "--follow")
    try:
        shared.ok("ask", id, "[[bash: echo x]] [[reply: Followed.]]")
        found: list[dict[str, Any]] = []
        while not found or found[-1]["text"] != "Followed.":
            found.append(json.loads(read(logs)))
        assert [entry["role"] for entry in found if entry["kind"] != "thinking"] == [
            "user",
            "tool",
            "tool",
            "assistant",
        ]
        shared.ok("kill", id)
        assert shared.finish(logs) == (0, "", "")
        told = [json.loads(line) for line in shared.finish(events).out.splitlines()]
        assert [event["event"] for event in told if "turn" not in event] == ["created", "alive", "gone", "killed"]
        (ended,) = (event for event in told if event["event"] == "ended")
        assert (ended["turn"], ended["turns"], ended["reply"]) == (1, [1], "Followed.")
        assert sorted(event["event"] for event in told if event.get("turn") == 1) == [
            *("accepted", "attempted", "ended", "message", "receipt"),
        ]
    finally:
        for process in (logs, events):
            process.kill()


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    line = process.stdout.readline()
    assert line, "it has ended"
    return line


def test_a_dead_session_can_still_be_read_and_inspected(shared: Lab) -> None:
    id = shared.create()
    shared.ok("ask", id, "[[reply: Last words.]]")
    alive = shared.run("inspect", id, "--json").json
    assert alive["missing"] == []
    assert alive["files"]["transcript"].endswith(".jsonl")
    assert alive["reported"] is True
    shared.tmux("kill-session", "-t", f"=dev-{id}")
    shared.until(lambda: shared.ok("status", id) == "exited", "its end")
    assert short(said(shared, id)) == [
        ("user", "message", "[[reply: Last words.]]", 1),
        ("assistant", "message", "Last words.", 1),
    ]
    dead = shared.run("inspect", id, "--json").json
    assert (dead["status"], dead["turns"], dead["pid"], dead["files"]) == ("exited", 1, alive["pid"], alive["files"])
    shared.ok("kill", id)
