"""A Codex session that starts sessions from its own shell, with the real program on both sides."""

from __future__ import annotations

import json
import sys

from codex_lab import CodexLab

DS = f"{sys.executable} -m dev_sessions"


def test_with_full_permissions_it_creates_asks_reads_and_kills(codex_lab: CodexLab) -> None:
    parent = codex_lab.create()
    script = (
        f"c=$({DS} create -q --cli codex --permissions plan) && "
        f'{DS} ask $c "what is it?" && {DS} last-message $c && {DS} list --json > list.json && {DS} kill $c'
    )
    shown = codex_lab.ok("ask", parent, f"[[bash: {script}]][[replytool]]")
    assert shown.count("echo: what is it?") == 2
    assert "Killed session" in shown
    rows = {row["id"]: row for row in json.loads((codex_lab.project / "list.json").read_text())}
    (child,) = [row for row in rows.values() if row["id"] != parent]
    assert (child["parent"], child["depth"]) == (parent, 2)
    assert rows[parent]["status"] == "working"  # it is running a command, and `list` shows that
    assert codex_lab.ok("status", parent) == "idle"


def test_its_child_may_be_a_claude(codex: str, claude: str) -> None:
    with CodexLab(codex, "parent-of-claude", claude) as lab:
        parent = lab.create()
        script = (
            f"c=$({DS} create -q) && {DS} send $c '[''[reply: from the child]''] now' && {DS} wait $c && "
            f"{DS} last-message $c && {DS} list --json > list.json && {DS} kill $c"
        )
        shown = lab.ok("ask", parent, f"[[bash: {script}]][[replytool]]")
        assert "completed\nfrom the child\nKilled session" in shown
        rows = {row["id"]: row for row in json.loads((lab.project / "list.json").read_text())}
        (child,) = [row for row in rows.values() if row["id"] != parent]
        assert (child["cli"], child["parent"], child["status"]) == ("claude", parent, "idle")
        assert lab.ok("list", "--json").count('"id"') == 1


def test_in_its_sandbox_it_gets_an_error_with_the_remedy(codex_lab: CodexLab) -> None:
    parent, other = codex_lab.create("--permissions", "edit"), codex_lab.create()
    commands = ("create --cli codex", f"send {other} hello", f"kill {other}", f"interrupt {other}")
    script = "; ".join(f"{DS} {words}; echo rc=$?" for words in commands)
    shown = codex_lab.ok("ask", parent, f"[[bash: {script}]][[replytool: 20000]]")
    for words in ("rc=1", "error: cannot write", "next:", "run the command outside it"):
        assert shown.count(words) == len(commands), words
    assert codex_lab.ok("status", other) == "idle"


def test_in_its_sandbox_it_creates_no_claude_either(codex: str, claude: str) -> None:
    with CodexLab(codex, "parent-in-sandbox", claude) as lab:
        parent = lab.create("--permissions", "edit")
        shown = lab.ok("ask", parent, f"[[bash: {DS} create; echo rc=$?]][[replytool]]")
        assert "rc=1" in shown
        assert "run the command outside it" in shown
        assert lab.ok("list", "--json").count('"id"') == 1


def test_in_its_sandbox_it_reads_true_states(codex_lab: CodexLab) -> None:
    parent, other = codex_lab.create("--permissions", "edit"), codex_lab.create()
    codex_lab.ok("send", other, "[[hold: other]][[reply: x]]")
    assert codex_lab.model.wait_until_blocked("other")
    shown = codex_lab.ok("ask", parent, f"[[bash: {DS} status {parent}; {DS} status {other}]][[replytool]]")
    assert shown.split() == ["working", "working"]
    codex_lab.model.release("other")
    assert codex_lab.ok("wait", other) == "completed"
