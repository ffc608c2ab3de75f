"""The plan that Claude Code asks to carry out. From 2.1.330 on (if not before) the model writes it to a file, and the
request does not hold it; the transcript names the file.
"""

from __future__ import annotations

import json

from . import container_files, hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...model import Fact

_MARK = b'"planFilePath"'


def told(facts: list[Fact], transcript: str | None) -> list[Fact]:
    """The facts, with the plan in full where an open question is one."""
    answered = {fact.text for fact in facts if fact.kind == "answered"}
    open = (one for one in reversed(facts) if one.question is not None and one.question.id not in answered)
    asked = next((one for one in open if one.question and one.question.kind == "plan"), None)
    if asked is None or asked.question is None or asked.question.text != hooks.PLAN_UNTOLD or transcript is None:
        return facts
    plan = _plan(transcript)
    whole = asked._replace(question=asked.question._replace(text=plan))
    return [whole if one is asked else one for one in facts] if plan else facts


def _plan(transcript: str) -> str:
    """What the plan's file holds; empty if the transcript names none, or it was never written."""
    path = None
    try:
        with container_files.opened(transcript) as file:
            for line in file:
                if _MARK in line:
                    path = _named(line) or path
    except OSError:
        return ""
    content = container_files.read(path) if path and container_files.may_read(path, transcript) else None
    return (content or b"").decode(errors="replace").strip()


def _named(line: bytes) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    attached = entry.get("attachment") if isinstance(entry, dict) else None
    path = attached.get("planFilePath") if isinstance(attached, dict) else None
    return path if isinstance(path, str) and path and "\0" not in path else None
