"""Which questions of Claude Code are open: by the pipes of their hooks, the status and the transcripts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dev_sessions.backends.claude import hooks, paths, questions
from dev_sessions.model import Fact, Probe
from dev_sessions.state.folder import Folder, Payload


class Desk:
    """A session's folder with pipes in it, the reports so far, and the transcripts of its agents."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(str(path))
        self.pipes = Path(paths.questions(self.folder))
        self.pipes.mkdir(parents=True)
        self.transcript = path / "conversation.jsonl"
        self.reports: list[tuple[Payload, dict[str, Any]]] = []
        self.waiting: dict[str, int] = {}
        self.now = 100.0

    def report(self, name: str, **fields: Any) -> None:
        self.now += 10
        fields = {"transcript_path": str(self.transcript), **fields}
        self.reports.append((Payload(f"{name}.json", self.now, b""), fields))

    def ask(self, name: str, command: str = "", agent: str | None = None, wrote: bool = True) -> None:
        """`name` is asked, its hook waits, and its call is in the transcript, if Claude `wrote` it by now."""
        of = {"agent_id": agent, "agent_type": "Explore"} if agent else {}
        given = {"command": command or name}
        self.report(name, hook_event_name="PermissionRequest", tool_name="Bash", tool_input=given, **of)
        os.mkfifo(self.pipes / name)
        self.waiting[name] = os.open(self.pipes / name, os.O_RDWR)
        if wrote:
            self.write(agent, {"type": "tool_use", "id": f"call {name}", "name": "Bash", "input": given})

    def write(self, agent: str | None, block: dict[str, Any], **more: Any) -> None:
        path = Path(questions.transcript_of({"transcript_path": str(self.transcript), "agent_id": agent}) or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = f"1970-01-01T00:{int(self.now) // 60:02d}:{int(self.now) % 60:02d}.000Z"
        entry = {"type": "assistant", "timestamp": stamp, "message": {"content": [block]}, **more}
        with path.open("a") as file:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")

    def result(self, name: str, agent: str | None = None) -> None:
        self.write(agent, {"type": "tool_result", "tool_use_id": f"call {name}"})

    def decided(self, name: str, agent: str | None = None) -> None:
        attached = {"type": "hook_permission_decision", "toolUseID": f"call {name}"}
        self.write(agent, {}, type="attachment", attachment=attached)

    def kill(self, name: str) -> None:
        """Its hook is killed."""
        os.close(self.waiting.pop(name))

    def through(self, name: str) -> None:
        """Its hook comes to its end."""
        self.kill(name)
        (self.pipes / name).unlink()

    def note(self, agent: str, call: str, task: str = "look around") -> None:
        """What Claude notes of a subagent."""
        path = Path(str(questions.transcript_of({"transcript_path": str(self.transcript), "agent_id": agent})))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".meta.json").write_text(json.dumps({"toolUseId": call, "description": task}))

    def open(self, activity: str = "busy", since: float = 50.0) -> str:
        probe = Probe(self.now + 100, True, activity, since)
        over = {fact.text for fact in questions.answered(self.folder, self.reports, probe)}
        asked = [payload.name for payload, fields in self.reports if "tool_name" in fields]
        return " ".join(name.removesuffix(".json") for name in asked if name.removesuffix(".json") not in over)


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    made = Desk(tmp_path)
    yield made
    for descriptor in made.waiting.values():
        os.close(descriptor)


def test_the_agents_own_question_is_open_until_its_hook_has_ended(desk: Desk) -> None:
    desk.ask("a")
    assert desk.open("waiting") == "a"
    desk.through("a")
    assert desk.open("waiting") == ""


def test_a_hook_that_was_killed_leaves_the_question_to_the_dialog(desk: Desk) -> None:
    desk.ask("a")
    desk.kill("a")
    assert (desk.open("waiting"), desk.open("busy")) == ("a", "")
    desk.ask("b")  # the agent has gone on
    assert desk.open("waiting") == "b"


def test_an_earlier_question_is_over_unless_the_transcript_has_both_calls_open(desk: Desk) -> None:
    desk.ask("a")
    desk.ask("b", wrote=False)
    assert desk.open("waiting") == "b"
    desk.write(None, {"type": "tool_use", "id": "call b", "name": "Bash", "input": {"command": "b"}})
    assert desk.open("waiting") == "a b"
    desk.result("a")
    assert desk.open("waiting") == "b"


def test_calls_with_the_same_input_are_counted(desk: Desk) -> None:
    for name in "abc":
        desk.ask(name, "the same")
    assert desk.open("waiting") == "a b c"
    desk.through("b")
    desk.result("c")  # a question does not name its call
    assert desk.open("waiting") == "a c"
    desk.result("a")
    assert desk.open("waiting") == "c"


@pytest.mark.parametrize("event", ["Stop", "StopFailure", "UserPromptSubmit"])
def test_the_end_of_a_turn_ends_its_questions_but_not_a_subagents(desk: Desk, event: str) -> None:
    desk.ask("a")
    desk.ask("s", agent="x")
    desk.report("end", hook_event_name=event)
    assert desk.open("waiting") == "s"


def test_a_subagents_question_is_open_whatever_the_status_says(desk: Desk) -> None:
    desk.ask("s", agent="x", wrote=False)
    assert [desk.open(activity, since) for activity in ("busy", "idle", "waiting") for since in (50, 150)] == ["s"] * 6
    desk.through("s")
    assert desk.open() == ""


def test_the_questions_of_each_agent_are_separate(desk: Desk) -> None:
    desk.ask("s", "the same", agent="x")
    desk.ask("a", "the same")
    desk.ask("t", "the same", agent="y")
    assert desk.open("waiting") == "s a t"
    desk.through("s")
    desk.result("t", "y")
    assert desk.open("waiting") == "a"


@pytest.mark.parametrize("how", [Desk.decided, Desk.result])
def test_a_hook_of_the_users_may_answer_a_subagent(desk: Desk, how: Any) -> None:
    desk.ask("s", agent="x")
    how(desk, "s", "x")
    assert desk.open() == ""


def test_a_killed_hook_of_a_subagent_brings_the_dialog_unless_the_subagent_was_stopped(desk: Desk) -> None:
    desk.ask("s", agent="x")
    desk.kill("s")
    assert (desk.open("busy"), desk.open("waiting")) == ("", "s")
    desk.ask("a")  # that is what the dialog is about
    assert desk.open("waiting") == "a"
    desk.through("a")
    desk.result("s", "x")
    assert desk.open("waiting") == ""


def test_a_subagent_in_the_foreground_was_answered_in_the_dialog_when_the_status_moves_on(desk: Desk) -> None:
    desk.note("x", "call agent")
    desk.write(None, {"type": "tool_use", "id": "call agent", "name": "Agent", "input": {}})
    desk.ask("s", agent="x")
    assert (desk.open("waiting", 111), desk.open("busy", 50), desk.open("busy", 112)) == ("s", "s", "")
    desk.result("agent")  # it runs in the background
    assert desk.open("busy", 112) == "s"


def test_other_files_are_not_opened_as_pipes(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("as it was")
    desk.ask("s", agent="x")
    desk.through("s")
    (desk.pipes / "s").symlink_to(tmp_path / "precious")
    with pytest.raises(FileNotFoundError):
        questions.open_pipe(desk.folder, "s")
    assert desk.open() == ""


def test_a_subagents_question_shows_its_task(desk: Desk) -> None:
    desk.note("x", "call agent")
    desk.ask("s", agent="x")
    payload, fields = desk.reports[-1]
    fact = hooks.fact(payload, fields)
    assert fact is not None
    found = questions.with_task(fact, fields).question
    assert found is not None
    assert found.agent == ("x", "Explore", "look around")
    assert questions.with_task(Fact("ended", 1.0), {"hook_event_name": "Stop"}) == Fact("ended", 1.0)


@pytest.mark.parametrize("id", [5, "", "../x", "a\0b", "a/b", "x" * 5000, None, [], {}])
def test_any_agent_id_is_handled(desk: Desk, id: Any) -> None:
    desk.ask("s")
    desk.reports[-1][1]["agent_id"] = id
    assert desk.open("waiting") == "s"
