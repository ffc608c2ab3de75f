"""The plan that Claude Code asks to carry out, where its request does not hold it (2.1.330)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dev_sessions.backends.claude import hooks, questions
from dev_sessions.model import Fact


def asked(tool: str = "ExitPlanMode", **given: str) -> list[Fact]:
    return [Fact("accepted", 1.0, text="x"), Fact("asked", 2.0, question=hooks.asked("q", tool, dict(given), 2.0))]


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    """It names two plans; the second is the one that is asked about."""
    for name in ("old", "new"):
        (tmp_path / f"{name}.md").write_text(f"# The {name} plan\n\n1. ü\n")
    path = tmp_path / "t.jsonl"
    found = [{"type": "plan_mode", "planFilePath": str(tmp_path / f"{name}.md")} for name in ("old", "new")]
    lines = [json.dumps({"type": "attachment", "attachment": one}) for one in found]
    lines += ['{"type": "user", "message": {"content": "\\"planFilePath\\": nothing"}}', '{"planFilePath', "5"]
    path.write_text("\n".join(lines))
    return path


def text(facts: list[Fact]) -> str:
    question = facts[-1].question
    assert question is not None
    return question.text


def test_the_whole_plan_is_shown(transcript: Path) -> None:
    found = questions.with_plan(asked(), str(transcript))
    assert text(found) == "# The new plan\n\n1. ü"
    assert found[:-1] == asked()[:-1]


def test_a_plan_in_the_request_is_shown(transcript: Path) -> None:
    assert text(questions.with_plan(asked(plan="# Mine"), str(transcript))) == "# Mine"


def test_other_questions_stay_as_they_are(transcript: Path) -> None:
    for facts in (asked("Bash", command="ls"), [Fact("alive", 1.0)], []):
        assert questions.with_plan(facts, str(transcript)) == facts


def test_a_plan_that_was_never_written(transcript: Path) -> None:
    (transcript.parent / "new.md").unlink()
    assert text(questions.with_plan(asked(), str(transcript))) == hooks.PLAN_UNKNOWN
    assert text(questions.with_plan(asked(), "/nowhere")) == hooks.PLAN_UNKNOWN
    assert text(questions.with_plan(asked(), None)) == hooks.PLAN_UNKNOWN


def test_the_whole_plan_is_shown_while_it_is_open_even_if_others_ask_too(transcript: Path) -> None:
    other = Fact("asked", 3.0, question=hooks.asked("r", "Bash", {"command": "ls"}, 3.0))
    found = questions.with_plan([*asked(), other], str(transcript))
    assert (text(found[:-1]), found[-1]) == ("# The new plan\n\n1. ü", other)
    over = [*asked(), other, Fact("answered", 2.0, text="q")]
    assert questions.with_plan(over, str(transcript)) == over
