"""`logs`, `inspect` and `events` with the real Codex."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from codex_lab import CodexLab


def said(lab: CodexLab, id: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = lab.run("logs", id, "--json").json
    return entries


def short(entries: list[dict[str, Any]]) -> list[tuple[str, str, str, int | None]]:
    return [(one["role"], one["kind"], one["text"], one["turn"]) for one in entries]


def test_a_whole_conversation(codex_shared: CodexLab) -> None:
    id, tool = codex_shared.create(), "[[bash: printf 'a\\nb'; exit 3]][[reply: Done with it.]]"
    assert said(codex_shared, id) == []
    codex_shared.ok("ask", id, tool)
    assert short(said(codex_shared, id)) == [
        ("user", "message", tool, 1),
        ("tool", "call", "printf 'a\\nb'; exit 3", 1),
        ("tool", "result", "a\nb", 1),
        ("assistant", "message", "Done with it.", 1),
    ]
    call, result = (entry for entry in said(codex_shared, id) if entry["role"] == "tool")
    assert (call["tool"], result["tool"], result["call"], result["failed"]) == (
        *["exec_command"] * 2,
        call["call"],
        True,
    )
    codex_shared.ok("send", id, "[[hold: h]][[reply: x]]")
    assert codex_shared.model.wait_until_blocked("h")
    codex_shared.ok("send", id, "[[reply: both]]")
    codex_shared.model.release("h")
    codex_shared.ok("wait", id)
    told = [entry for entry in short(said(codex_shared, id))[4:] if entry[2] != "x"]
    assert told == [
        ("user", "message", "[[hold: h]][[reply: x]]", 2),
        ("user", "message", "[[reply: both]]", 3),
        ("assistant", "message", "both", 2),
    ]
    codex_shared.ok("send", id, "[[hold: i]][[reply: never]]")
    assert codex_shared.model.wait_until_blocked("i")
    codex_shared.ok("interrupt", id)
    assert short(said(codex_shared, id))[-1] == ("tool", "notice", "the turn was interrupted", 4)
    assert "user (turn 4):\n[[hold: i]]" in codex_shared.ok("logs", id)


def test_following_until_the_session_is_killed(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    logs, events = codex_lab.start("logs", id, "--follow", "--json"), codex_lab.start("events", id, "--follow")
    codex_lab.ok("ask", id, "[[reply: Followed.]]")
    assert logs.stdout
    assert [json.loads(logs.stdout.readline())["role"] for _ in range(2)] == ["user", "assistant"]
    codex_lab.ok("kill", id)
    assert codex_lab.finish(logs) == (0, "", "")
    told = [json.loads(line) for line in codex_lab.finish(events).out.splitlines()]
    assert [event["event"] for event in told if "turn" not in event] == ["created", "killed"]
    (ended,) = (event for event in told if event["event"] == "ended")
    assert (ended["turn"], ended["turns"], ended["reply"]) == (1, [1], "Followed.")


def test_inspect_names_its_files(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    told = codex_lab.run("inspect", id, "--json").json
    assert told["missing"] == []
    assert {"rollout", "config", "socket", "settings"} <= set(told["files"])
    assert (told["version"], told["terminal"], told["status"]) == ("0.171.0", None, "idle")


def test_a_thread_that_was_archived_can_still_be_read(codex_lab: CodexLab, codex: str) -> None:
    id = codex_lab.create()
    codex_lab.ok("ask", id, "[[reply: Last words.]]")
    archive = [codex, "archive", codex_lab.private(id)["thread"]]
    subprocess.run(archive, env=codex_lab.env, cwd=codex_lab.project, check=True, capture_output=True)
    assert codex_lab.ok("status", id) == "exited"
    assert codex_lab.ok("last-message", id) == "Last words."
    assert [one["text"] for one in said(codex_lab, id)] == ["[[reply: Last words.]]", "Last words."]
    assert codex_lab.ok("wait", id) == "completed"
    codex_lab.ok("kill", id)
    assert codex_lab.processes() == []
