"""The plan that Claude Code asks to carry out. From 2.1.330 on (if not before) the model writes it to a file, and the
request does not hold it; the transcript names the file.
"""

from __future__ import annotations

import json

from ... import files
from . import hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...model import Fact

_MARK = b'"planFilePath"'


def told(facts: list[Fact], transcript: str | None) -> list[Fact]:
    """The facts, with the plan in full where the last question is one."""
    place = next((place for place in reversed(range(len(facts))) if facts[place].question is not None), None)
    if place is None or transcript is None:
        return facts
    question = facts[place].question
    if question is None or question.kind != "plan" or question.text != hooks.PLAN_UNTOLD:
        return facts
    plan = _plan(transcript)
    if not plan:
        return facts
    whole = facts[place]._replace(question=question._replace(text=plan))
    return [*facts[:place], whole, *facts[place + 1 :]]


def _plan(transcript: str) -> str:
    """What the plan's file holds; empty if the transcript names none, or it was never written."""
    path = None
    try:
        with open(transcript, "rb") as file:
            for line in file:
                if _MARK in line:
                    path = _named(line) or path
        content = files.read(path) if path else None
    except OSError:
        return ""
    return (content or b"").decode(errors="replace").strip()


def _named(line: bytes) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    attached = entry.get("attachment") if isinstance(entry, dict) else None
    path = attached.get("planFilePath") if isinstance(attached, dict) else None
    return path if isinstance(path, str) and path and "\0" not in path else None
