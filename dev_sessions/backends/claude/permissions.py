"""The rules for Claude Code when a request is allowed permanently. Pure."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# For tools that change files, Claude offers a mode instead of a rule (2.1.221 to 2.1.330).
_CHANGES_FILES = ("Bash", "Edit", "MultiEdit", "NotebookEdit", "Write")
_WILDCARDS = ("*", "?", "[", "{", "\\")


def always(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The permissions that allow only this same request from now on, while this agent runs.

    Claude would store the rules that it offers in the project's settings, for every session there; ours apply to this
    session only. For tools that change files, it offers a mode in which it does not ask about any change; our rule is
    narrower. The result is empty if there is no such rule or Claude offers nothing. Offers of another kind are used
    unchanged.
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
