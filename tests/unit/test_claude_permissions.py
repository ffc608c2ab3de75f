"""What `--always` has Claude Code allow, given what it offers (2.1.221 to 2.1.330)."""

from __future__ import annotations

from typing import Any

import pytest

from dev_sessions.backends.claude.permissions import always

MODE = {"type": "setMode", "mode": "acceptEdits", "destination": "session"}
FOLDER = {"type": "addDirectories", "directories": ["/p"], "destination": "session"}


def offer(*rules: str, tool: str = "Bash") -> dict[str, Any]:
    named = [{"toolName": tool, "ruleContent": rule} for rule in rules]
    return {"type": "addRules", "rules": named, "behavior": "allow", "destination": "localSettings"}


def asked(tool: str, given: dict[str, Any], *offers: dict[str, Any]) -> list[dict[str, Any]]:
    return always({"tool_name": tool, "tool_input": given, "permission_suggestions": list(offers)})


def test_a_rule_that_is_offered_holds_for_this_agent_only() -> None:
    rule = offer("mkdir -p a/b", "touch a/b/c")
    given = {"command": "mkdir -p a/b && touch a/b/c"}
    assert asked("Bash", given, rule, FOLDER) == [{**rule, "destination": "session"}]


@pytest.mark.parametrize(
    ("tool", "given", "name", "rule"),
    [
        ("Bash", {"command": "touch one"}, "Bash", "touch one"),
        ("Write", {"file_path": "/p/in.txt", "content": "x"}, "Edit", "//p/in.txt"),
        ("Edit", {"file_path": "/p/in.txt"}, "Edit", "//p/in.txt"),
        ("NotebookEdit", {"notebook_path": "/p/n.ipynb"}, "Edit", "//p/n.ipynb"),
    ],
)
def test_instead_of_a_mode_a_rule_for_this_request_is_made(
    tool: str, given: dict[str, Any], name: str, rule: str
) -> None:
    assert asked(tool, given, FOLDER, MODE) == [{**offer(rule, tool=name), "destination": "session"}]


@pytest.mark.parametrize(
    ("tool", "given"),
    [("Bash", {"command": "rm *.log"}), ("Write", {"file_path": "/p/[a].txt"}), ("Write", {"file_path": "in.txt"})],
)
def test_a_request_that_a_rule_would_widen_is_not_allowed_permanently(tool: str, given: dict[str, Any]) -> None:
    assert asked(tool, given, FOLDER, MODE) == []


def test_without_an_offer_there_is_no_rule() -> None:
    assert asked("Bash", {"command": "touch one"}) == []
    assert always({"tool_name": "Bash", "tool_input": None, "permission_suggestions": "x"}) == []


def test_an_offer_of_another_kind_is_taken_whole() -> None:
    assert asked("Read", {"file_path": "/q/x"}, FOLDER) == [FOLDER]
