"""The state table on the real Codex: `state_rows.ROWS` without the rows only for Claude Code, and its own.

The checks are those of `test_states.py`; only the scenes that lead to a row's situation are specific to Codex.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from codex_lab import CodexLab, copy_of
from state_rows import DEATH, ROWS, TURNS, Row

# A copy, so that its scenes can be replaced.
TABLE = copy_of(Path(__file__).with_name("test_states.py"), "codex_state_table")
SHARED = (
    "nothing ever sent",
    "idle",
    "thinking",
    "a tool runs for minutes",
    "a question open",
    "a permission prompt open",
    "interrupted by us",
    "interrupted by us in a tool",
    "accepted while a tool runs",
    "Esc before any output",
    "Esc in a tool",
    "a person's own prompt",
    "a person's own prompt, nothing ever sent",
)
ROW = {row.name: row for row in ROWS}
OWN = (
    ROW["accepted while no tool runs"]._replace(
        name="accepted while the model thinks",
        end="they join the running turn: one end, and one reply, for all three",
        reply=((1, "three"), (2, "three"), (3, "three")),
    ),
    ROW["a usage limit"]._replace(login=False),
    ROW["killed at work"]._replace(
        name="the server killed at work",
        end="the app-server is killed with signal 9",
        after="idle",
        wait="interrupted",
        later="interrupted",
        turns=((1, "interrupted"),),
        error="the Codex app-server ended",
    ),
    Row(
        "the server killed when idle",
        DEATH,
        "the app-server was killed with signal 9 after its last turn had ended",
        "it goes on so",
        "idle",
        "idle",
        "idle",
        "completed",
        "completed",
        blocks=False,
        reply=((1, "done"),),
    ),
    Row(
        "a command left running",
        TURNS,
        "the turn has ended, and a command that it started goes on",
        "the command ends, and nothing happens",
        "working",
        "idle",
        "idle",
        "completed",
        "completed",
        blocks=False,
        background=1,
        reply=((1, "started it"),),
    ),
)
CODEX_ROWS = (*(ROW[name] for name in SHARED), *OWN)
scene = TABLE.scene


def answer(stage: Any, words: str, key: str) -> None:
    """Answer the TUI's question until the turn is over: it may ignore a key right after it has drawn the question."""
    pressed = 0.0

    def is_over() -> bool:
        nonlocal pressed
        if words in stage.lab.screen(stage.id) and time.monotonic() > pressed + 2.0:
            pressed = time.monotonic()
            stage.lab.keys(stage.id, key)
        return bool(stage.lab.ok("status", stage.id) == "idle")

    stage.lab.until(is_over, f"the end of the turn that asks {words}")


@scene("a question open")
def question(stage: Any) -> Iterator[None]:
    stage.think("[[ask: Which colour?|Red|Blue]][[reply: thanks]]")
    yield
    stage.go()
    stage.becomes("waiting_for_input")
    yield
    stage.lab.sit_down(stage.id)
    answer(stage, "1. Red", "Enter")
    stage.becomes("idle")


@scene("a permission prompt open")
def permission(stage: Any) -> Iterator[None]:
    stage.think("[[bash: touch allowed; echo it $((1 + 1)) ran]][[reply: done]]")
    yield
    stage.go()
    stage.becomes("waiting_for_input")
    yield
    stage.lab.sit_down(stage.id)
    answer(stage, "Yes, proceed", "y")
    # Codex first runs an allowed command in its sandbox, and runs it outside only if it fails there soon
    # (docs/codex.md). Under load it may fail too late, and then there is no file.
    rollout = Path(stage.lab.private(stage.id)["rollout"]).read_text()
    assert "it 2 ran" in rollout, rollout[-3000:]
    stage.becomes("idle")


def escaped(stage: Any, begin: Callable[[str], None]) -> Iterator[None]:
    stage.lab.sit_down(stage.id)
    yield
    begin("[[reply: never]]")
    yield
    stage.lab.until(lambda: "esc to interrupt" in stage.lab.screen(stage.id), "the turn in the TUI")
    stage.lab.keys(stage.id, "Escape")


@scene("Esc before any output")
def escape(stage: Any) -> Iterator[None]:
    yield from escaped(stage, stage.think)


@scene("Esc in a tool")
def escape_tool(stage: Any) -> Iterator[None]:
    yield from escaped(stage, stage.run_tool)


@scene("a person's own prompt", "a person's own prompt, nothing ever sent")
def person(stage: Any) -> Iterator[None]:
    if stage.row.turns:
        stage.send("[[reply: ours]]")
        stage.becomes("idle")
    stage.lab.sit_down(stage.id)
    yield
    stage.lab.type(stage.id, "[[hold: theirs]][[reply: theirs]]")
    stage.held("theirs")
    yield
    stage.lab.model.release("theirs")
    stage.becomes("idle")


scene("accepted while the model thinks")(TABLE.following)


def kill_server(stage: Any) -> None:
    (pid,) = stage.lab.servers()
    os.kill(pid, signal.SIGKILL)


@scene("the server killed at work")
def killed(stage: Any) -> Iterator[None]:
    yield
    stage.think("[[reply: never]]")
    yield
    kill_server(stage)


@scene("the server killed when idle")
def killed_idle(stage: Any) -> Iterator[None]:
    stage.send("[[reply: done]]")
    stage.becomes("idle")
    yield
    kill_server(stage)
    yield


@scene("a command left running")
def left_running(stage: Any) -> Iterator[None]:
    stage.think(f"[[bash_bg: {stage.command('job')}]][[reply: started it]]")
    yield
    stage.go()
    stage.runs("job")
    stage.becomes("idle")
    yield
    stage.end_tool("job")


# Scenes in which a person attaches; their terminal stays open.
SEATED = ("a question open", "Esc before any output", "Esc in a tool", "a person's own prompt")
left = TABLE.left


@pytest.fixture
def stage(codex: str, row: Row, left: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    shared = left if TABLE.can_share(row) and row.name not in SEATED else None
    yield from TABLE.staged(lambda: CodexLab(codex, "states"), row, shared, request)


@pytest.mark.parametrize("row", CODEX_ROWS, ids=lambda row: row.name)
def test_codex_row(stage: Any, row: Row) -> None:
    TABLE.test_row(stage, row)
