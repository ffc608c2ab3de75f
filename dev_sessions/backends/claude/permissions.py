"""What Claude Code is told to allow from now on, when a request is allowed for good. Pure."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Tools that change files: Claude offers no rule for them, but a mode (2.1.150 to 2.1.330).
_OF_FILES = ("Bash", "Edit", "MultiEdit", "NotebookEdit", "Write")
# What stands for more than itself in a rule.
_WILD = ("*", "?", "[", "{", "\\")


def always(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """What allows the very same from now on, and no more, for as long as this agent lives.

    Claude offers rules that it would keep in the project's settings, for every session there; or, of what changes
    files, a mode in which no change of any file is asked about: a rule of ours is narrower. Empty if there is none, or
    nothing is offered. An offer of another kind is taken whole.
    """
    offers = fields.get("permission_suggestions")
    offered = [one for one in offers if isinstance(one, dict)] if isinstance(offers, list) else []
    if not offered:
        return []
    named = [one for one in offered if one.get("type") == "addRules" and one.get("behavior") == "allow"]
    if not named and fields.get("tool_name") in _OF_FILES:
        own = _rule(str(fields["tool_name"]), fields.get("tool_input"))
        named = [{"type": "addRules", "rules": [own], "behavior": "allow"}] if own else []
        offered = []
    return [{**one, "destination": "session"} for one in named] or offered


def _rule(tool: str, given: Any) -> dict[str, str] | None:
    """A rule for this command, or for changes of this file."""
    given = given if isinstance(given, dict) else {}
    what = given.get("command") or given.get("file_path") or given.get("notebook_path")
    if not isinstance(what, str) or any(sign in what for sign in _WILD):
        return None
    if tool == "Bash":
        return {"toolName": "Bash", "ruleContent": what}
    if os.path.isabs(what):
        return {"toolName": "Edit", "ruleContent": f"/{what}"}  # two slashes: from the root, not from the project
    return None
