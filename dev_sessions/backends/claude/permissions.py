"""The rules that Claude Code gets when a request is allowed permanently. Pure."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# For tools that change files Claude offers a mode instead of a rule (2.1.221 to 2.1.330).
_CHANGES_FILES = ("Bash", "Edit", "MultiEdit", "NotebookEdit", "Write")
_WILDCARDS = ("*", "?", "[", "{", "\\")


def always(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The permissions for the same request from now on, and nothing more, for as long as this agent lives.

    Claude offers rules that it would keep in the project's settings, for every session there; or, for tools that change
    files, a mode in which it asks about no change at all: a rule of ours is narrower. Empty if there is none, or
    nothing is offered. An offer of another kind is taken whole.
    """
    offers = fields.get("permission_suggestions")
    offered = [one for one in offers if isinstance(one, dict)] if isinstance(offers, list) else []
    rules = [one for one in offered if one.get("type") == "addRules" and one.get("behavior") == "allow"]
    if rules or not offered or fields.get("tool_name") not in _CHANGES_FILES:
        return [{**one, "destination": "session"} for one in rules] or offered
    given = fields.get("tool_input")
    given = given if isinstance(given, dict) else {}
    what = given.get("command") or given.get("file_path") or given.get("notebook_path")
    if not isinstance(what, str) or any(sign in what for sign in _WILDCARDS):
        return []
    if fields["tool_name"] == "Bash":
        rule = {"toolName": "Bash", "ruleContent": what}
    elif os.path.isabs(what):
        rule = {"toolName": "Edit", "ruleContent": f"/{what}"}  # two slashes: from the root, not from the project
    else:
        return []
    return [{"type": "addRules", "rules": [rule], "behavior": "allow", "destination": "session"}]
