"""`create --cli codex`: the parameters of a new thread, and the errors when it cannot be started."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from codex_lab import CodexLab

ESCALATED = {"cmd": "touch escalated", "sandbox_permissions": "require_escalated", "justification": "May I?"}


def context(lab: CodexLab, id: str) -> dict[str, object]:
    """The context of the newest turn, as Codex recorded it."""
    return [line["payload"] for line in lab.rollout(id) if line["type"] == "turn_context"][-1]


def test_each_session_has_its_own_environment(codex_shared: CodexLab) -> None:
    one = codex_shared.create("--env", "COLOUR=red", env={"SECRET_TOKEN": "of the first"})
    two = codex_shared.create("--env", "COLOUR=blue")
    show = "[[bash: echo $DEV_SESSIONS_ID $DEV_SESSIONS_DEPTH $COLOUR ${SECRET_TOKEN:-none}]][[replytool]]"
    assert codex_shared.ok("ask", one, show) == f"{one} 1 red of the first"
    assert codex_shared.ok("ask", two, show) == f"{two} 1 blue none"
    secrets = codex_shared.folder(one) / "agent" / "thread.json"
    assert os.stat(secrets).st_mode & 0o077 == 0
    codex_shared.ok("kill", one, two)
    assert not (codex_shared.folder(one) / "agent" / "thread.json").exists()


def test_the_folder_is_the_sessions_own(codex_shared: CodexLab) -> None:
    folder = codex_shared.path / "else where"
    folder.mkdir()
    id = codex_shared.create("--path", str(folder))
    assert codex_shared.ok("ask", id, "[[bash: pwd]][[replytool]]") == str(folder)


def test_no_model_is_named_unless_asked_for(codex_shared: CodexLab) -> None:
    plain, named = codex_shared.create(), codex_shared.create("--model", "gpt-6-sol")
    codex_shared.ok("ask", plain, "[[reply: x]]")
    assert context(codex_shared, plain)["model"] == "gpt-5"  # from the user's config.toml
    codex_shared.ok("ask", named, "[[reply: x]]")
    assert context(codex_shared, named)["model"] == "gpt-6-sol"


def test_a_first_message_goes_with_create(codex_shared: CodexLab) -> None:
    brief = codex_shared.path / "brief.md"
    brief.write_text("[[reply: briefed]]")
    told = json.loads(codex_shared.ok("create", "--cli", "codex", "--file", str(brief), "--json"))
    assert told["message"]["receipt"] == "started"
    assert codex_shared.ok("wait", told["id"]) == "completed"
    assert codex_shared.ok("last-message", told["id"]) == "briefed"


@pytest.mark.parametrize(
    ("permissions", "policy"), [("full", "never"), ("edit", "on-request"), ("ask", "untrusted"), ("plan", "never")]
)
def test_permissions_are_codexs_own(codex_shared: CodexLab, permissions: str, policy: str) -> None:
    id = codex_shared.create("--permissions", permissions)
    codex_shared.ok("ask", id, "[[reply: x]]")
    assert context(codex_shared, id)["approval_policy"] == policy


def test_full_asks_nothing(codex_shared: CodexLab) -> None:
    id, outside = codex_shared.create(), codex_shared.path / "outside"
    assert codex_shared.ok("ask", id, f"[[bash: touch {outside}]][[reply: done]]") == "done"
    assert outside.exists()


def test_edit_writes_in_the_folder_and_asks_for_the_rest(codex_shared: CodexLab) -> None:
    id, outside = codex_shared.create("--permissions", "edit"), codex_shared.path / "not allowed"
    assert codex_shared.ok("ask", id, "[[write: inside.txt|hello]][[reply: done]]") == "done"
    assert (codex_shared.project / "inside.txt").read_text() == "hello\n"
    shown = codex_shared.ok("ask", id, f"[[bash: touch '{outside}']][[replytool]]")
    assert "Read-only file system" in shown
    assert not outside.exists()
    codex_shared.ok("send", id, f"[[tool: exec_command {json.dumps(ESCALATED)}]][[reply: done]]")
    done = codex_shared.run("wait", id, "--json")
    assert (done.code, done.json["question"]["kind"]) == (6, "permission")
    assert "touch escalated" in done.json["question"]["text"]
    assert "May I?" in done.json["question"]["text"]


@pytest.mark.parametrize("work", ["[[bash: touch asked.txt]]", "[[write: asked.txt|hello]]"])
def test_ask_asks(codex_shared: CodexLab, work: str) -> None:
    id = codex_shared.create("--permissions", "ask")
    codex_shared.ok("send", id, f"{work}[[reply: done]]")
    done = codex_shared.run("wait", id, "--json")
    assert (done.code, done.json["outcome"], done.json["question"]["kind"]) == (6, "waiting_for_input", "permission")
    assert not (codex_shared.project / "asked.txt").exists()
    assert codex_shared.ok("interrupt", id) == "interrupted"


def test_plan_reads_only(codex_shared: CodexLab) -> None:
    id = codex_shared.create("--permissions", "plan")
    (codex_shared.project / "there.txt").write_text("readable")
    assert codex_shared.ok("ask", id, "[[bash: cat there.txt]][[replytool]]") == "readable"
    assert "Read-only" in codex_shared.ok("ask", id, "[[bash: touch planned.txt]][[replytool]]")
    assert not (codex_shared.project / "planned.txt").exists()


def test_docker_is_not_supported(codex_shared: CodexLab) -> None:
    assert codex_shared.run("create", "--cli", "codex", "--mode", "docker").code == 4


def nothing_left(lab: CodexLab) -> bool:
    return lab.ok("list", "--json") == "[]" and lab.processes() == []


def test_no_codex(codex_lab: CodexLab) -> None:
    del codex_lab.env["DEV_SESSIONS_CODEX"]
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert "Codex is not installed" in refused.err
    assert "npm install -g @openai/codex" in refused.err
    assert nothing_left(codex_lab)


def test_not_logged_in(codex_lab: CodexLab) -> None:
    (codex_lab.codex_home / "config.toml").write_text("")
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert "not logged in" in refused.err
    assert "next: codex login" in refused.err
    assert nothing_left(codex_lab)


def test_a_broken_configuration(codex_lab: CodexLab) -> None:
    (codex_lab.codex_home / "config.toml").write_text("model = [broken\n")
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert "config.toml" in refused.err
    assert nothing_left(codex_lab)


def test_a_configuration_that_breaks_while_the_server_runs(codex_lab: CodexLab) -> None:
    id = codex_lab.create()
    codex_lab.configure('model_provider = "nosuch"\n[broken\n')
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert "Codex cannot start a thread" in refused.err
    assert [row["id"] for row in json.loads(codex_lab.ok("list", "--json"))] == [id]


def test_a_codex_that_cannot_serve(codex_lab: CodexLab) -> None:
    old = codex_lab.path / "codex"
    old.write_text("#!/bin/sh\necho \"error: unexpected argument '--listen' found\" >&2\nexit 2\n")
    old.chmod(0o755)
    codex_lab.env["DEV_SESSIONS_CODEX"] = str(old)
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert "unexpected argument '--listen' found" in refused.err
    assert "or install Codex 0.146.0 or newer" in refused.err
    assert nothing_left(codex_lab)


def test_a_model_that_the_server_rejects_fails_the_turn(codex_shared: CodexLab) -> None:
    id = codex_shared.create("--model", "nosuch-model")
    done = codex_shared.run("ask", id, "[[error: 404]]", "--json")
    assert (done.code, done.json["outcome"]) == (5, "failed")
    assert "scripted error 404" in done.json["error"]


def test_what_the_agent_left_beside_itself_ends_with_it(codex_lab: CodexLab, tmp_path: Path) -> None:
    id, pid = codex_lab.create(), tmp_path / "pid"
    codex_lab.ok("ask", id, f"[[bash: setsid sleep 300 & echo $! > {pid}]][[reply: started]]")
    assert os.path.exists(f"/proc/{pid.read_text().strip()}")
    codex_lab.ok("kill", id)
    assert codex_lab.processes() == []
