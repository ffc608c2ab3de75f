"""The state table, row by row, on the real Claude Code: the words, exit codes and JSON of `status`, `wait` and `list`.

Each row of `state_rows.ROWS` has a scene here: a generator that brings a session into the row's situation and out of it
again, and stops before the situation, in the middle of it, and at its end. Only the row defines the expected results,
and the checks are the same for all rows.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Done, Lab, subagent
from state_rows import DEATH, ROWS, Row

Scene = Callable[["Stage"], Iterator[None]]
SCENES: dict[str, Scene] = {}


class Stage:
    """One session in a lab, and the actions of a scene on it.

    Attributes:
        before: how many turns of earlier rows the session has.
        a, b: gates of this row alone, at which the model holds back its answer.
    """

    def __init__(self, lab: Lab, row: Row, id: str = "") -> None:
        self.lab, self.row = lab, row
        self.id = id or self._create()
        self.before = self.asked = int(lab.run("status", self.id, "--json").json["turn"] or 0)
        self.a, self.b = f"a-{self.before}", f"b-{self.before}"
        self.resets_at: int | None = None
        self.waits: list[subprocess.Popen[str]] = []

    def _create(self) -> str:
        if not self.row.hooks:
            settings = self.lab.home / ".claude" / "settings.json"
            settings.parent.mkdir(exist_ok=True)
            settings.write_text(json.dumps({"disableAllHooks": True}))
        if self.row.login:
            self.lab.log_in()
        options = ("--permissions", self.row.permissions, "--env", "CLAUDE_CODE_MAX_RETRIES=2", *self.row.options)
        return self.lab.create(*options)

    def wait(self, *options: str) -> subprocess.Popen[str]:
        """Start a `wait` in the background."""
        self.waits.append(self.lab.start("wait", self.id, *options))
        return self.waits[-1]

    def close(self) -> None:
        """End the waits that a failed test left running."""
        for wait in self.waits:
            wait.kill()
            wait.communicate()

    def send(self, text: str, receipt: str = "started") -> None:
        self.asked += 1
        assert self.lab.ok("send", self.id, text) == f"{receipt} (turn {self.asked})"

    def held(self, name: str) -> None:
        """Wait until the model holds back its answer."""
        assert self.lab.model.wait_until_blocked(name, 30)

    def think(self, rest: str) -> None:
        """Send a message whose answer is held back until `go`."""
        self.send(f"[[hold: {self.a}]]{rest}")
        self.held(self.a)

    def go(self) -> None:
        self.lab.model.release(self.a)

    def run_tool(self, rest: str) -> None:
        """Send a message that makes the agent run a command until `end_tool`."""
        self.send(f"[[bash: {self.command('tool')}]]{rest}")
        self.runs("tool")

    def runs(self, name: str) -> None:
        """Wait until a command is running."""
        self.lab.until(self._path(name, "runs").exists, f"the {name} runs")

    def end_tool(self, name: str = "tool") -> None:
        self._path(name, "end").touch()

    def _path(self, name: str, end: str) -> Path:
        return self.lab.project / f"{name}-{self.before}.{end}"

    def command(self, name: str) -> str:
        """A shell command that runs until `end_tool`."""
        code = f"""
import os, time
open("{self._path(name, "runs")}", "w").close()
while not os.path.exists("{self._path(name, "end")}"):
    time.sleep(0.05)"""
        path = self._path(name, "py")
        path.write_text(code)
        return f"python3 {shlex.quote(path.name)}"

    def sees(self, words: str) -> None:
        """Wait until a line of the screen begins with these words, ignoring the TUI's marks."""
        self.lab.until(
            lambda: any(line.lstrip("●⏺❯ ").startswith(words) for line in self.lab.screen(self.id).splitlines()), words
        )

    def status(self) -> str:
        return self.lab.ok("status", self.id)

    def reach_limit(self, seconds: int, rest: str = "") -> None:
        """Like `think`, but the answer is a limit that resets in this many seconds."""
        self.resets_at = int(time.time()) + seconds
        self.think(f"[[limit: {self.resets_at}]]{rest}")

    def paused(self) -> None:
        """Wait until the agent is reported to wait for a limit to reset."""

        def is_paused() -> bool:
            state = json.loads(self.lab.ok("status", self.id, "--json"))
            return (state["status"], state["reason"], state["resets_at"]) == ("working", "limit", self.resets_at)

        self.lab.until(is_paused, "the agent waits for a limit to reset")

    def becomes(self, status: str) -> None:
        """Wait for a change that none of our `wait` commands covers."""
        self.lab.until(lambda: self.status() == status, f"status {status}")


def scene(*names: str) -> Callable[[Scene], Scene]:
    """Mark the scene of these rows."""

    def keep(play: Scene) -> Scene:
        SCENES.update(dict.fromkeys(names, play))
        return play

    return keep


@scene("nothing ever sent")
def nothing_sent(stage: Stage) -> Iterator[None]:
    yield
    yield


@scene("idle")
def idle(stage: Stage) -> Iterator[None]:
    stage.think("[[reply: done]]")
    yield
    stage.go()
    stage.becomes("idle")
    yield


@scene("thinking")
def thinking(stage: Stage) -> Iterator[None]:
    yield
    stage.think("[[reply: done]]")
    yield
    stage.go()


@scene("a tool runs for minutes")
def tool(stage: Stage) -> Iterator[None]:
    yield
    stage.run_tool("[[reply: done]]")
    yield
    stage.end_tool()


@scene("a question open")
def question(stage: Stage) -> Iterator[None]:
    stage.think("[[ask: Which colour?|Red|Blue]][[reply: thanks]]")
    yield
    stage.go()
    stage.becomes("waiting_for_input")
    asked = json.loads(stage.lab.ok("status", stage.id, "--json"))["question"]
    assert asked["text"] == "Which colour?"
    assert [option["label"] for option in asked["options"]] == ["Red", "Blue"]
    stage.sees("1. Red")
    yield
    stage.lab.keys(stage.id, "2")
    stage.becomes("idle")


@scene("a permission prompt open")
def permission(stage: Stage) -> Iterator[None]:
    stage.think("[[bash: touch x]][[reply: done]]")
    yield
    stage.go()
    stage.becomes("waiting_for_input")
    assert "touch x" in json.loads(stage.lab.ok("status", stage.id, "--json"))["question"]["text"]
    stage.sees("1. Yes")
    yield
    assert not (stage.lab.project / "x").exists()
    stage.lab.keys(stage.id, "1")
    stage.becomes("idle")
    assert (stage.lab.project / "x").exists()


@scene("interrupted by us")
def interrupted(stage: Stage) -> Iterator[None]:
    yield
    stage.think("[[reply: never]]")
    yield
    assert stage.lab.ok("interrupt", stage.id) == "interrupted"


@scene("interrupted by us in a tool")
def interrupted_tool(stage: Stage) -> Iterator[None]:
    yield
    stage.run_tool("[[reply: never]]")
    yield
    assert stage.lab.ok("interrupt", stage.id) == "interrupted"


@scene("Esc before any output")
def escape_before(stage: Stage) -> Iterator[None]:
    yield
    stage.think("[[reply: never]]")
    yield
    stage.lab.keys(stage.id, "Escape")


@scene("Esc after some output")
def escape_after(stage: Stage) -> Iterator[None]:
    yield
    stage.send(f"[[stream: Half of the answer]][[hold: {stage.a}]][[stream: never]]")
    stage.held(stage.a)
    stage.sees("Half of the answer")
    yield
    stage.lab.keys(stage.id, "Escape")


@scene("Esc in a tool")
def escape_tool(stage: Stage) -> Iterator[None]:
    yield
    stage.run_tool("[[reply: never]]")
    yield
    stage.lab.keys(stage.id, "Escape")


@scene("accepted while a tool runs")
def joined(stage: Stage) -> Iterator[None]:
    yield
    stage.run_tool("[[reply: one]]")
    stage.send("[[reply: two]]", "accepted")
    stage.send("[[reply: three]]", "accepted")
    yield
    stage.end_tool()


@scene("accepted while no tool runs")
def following(stage: Stage) -> Iterator[None]:
    yield
    stage.think("[[reply: one]]")
    stage.send("[[reply: two]]", "accepted")
    stage.send("[[reply: three]]", "accepted")
    yield
    stage.go()


@scene("a person's own prompt", "a person's own prompt, nothing ever sent")
def person(stage: Stage) -> Iterator[None]:
    if stage.row.turns:
        assert stage.lab.ok("ask", stage.id, "[[reply: ours]]") == "ours"
    yield
    stage.lab.keys(stage.id, f"[[hold: {stage.a}]][[reply: theirs]] ")
    stage.lab.until(lambda: "theirs" in stage.lab.screen(stage.id), "the typed prompt")
    stage.lab.keys(stage.id, "Enter")
    stage.held(stage.a)
    yield
    stage.go()
    stage.becomes("idle")
    assert stage.lab.ok("last-message", stage.id) == "theirs"


@scene("the API fails at once")
def fails(stage: Stage) -> Iterator[None]:
    yield
    stage.think("[[error: 400]]")
    yield
    stage.go()


@scene("the API fails after retries")
def fails_late(stage: Stage) -> Iterator[None]:
    yield
    # The third request, which is the second and last retry of this session, is held back.
    stage.send(f"[[error: 529 x2]][[hold: {stage.a}]][[error: 429]]")
    stage.held(stage.a)
    yield
    stage.go()


@scene("a usage limit")
def limited(stage: Stage) -> Iterator[None]:
    yield
    stage.reach_limit(3600)
    yield
    stage.go()


@scene("a usage limit, to go on at its reset")
def limited_for_now(stage: Stage) -> Iterator[None]:
    yield
    stage.reach_limit(-100, "[[reply: went on]]")  # Claude checks every 30 seconds
    stage.go()
    stage.paused()
    yield


@scene("a usage limit, to go on at its reset, interrupted")
def limited_and_interrupted(stage: Stage) -> Iterator[None]:
    yield
    stage.reach_limit(3600)
    stage.go()
    stage.paused()
    yield
    assert stage.lab.ok("interrupt", stage.id) == "failed"  # the outcome of the turn


def kill_agent(stage: Stage) -> None:
    os.kill(stage.lab.pid(stage.id), signal.SIGKILL)


@scene("killed at work")
def killed(stage: Stage) -> Iterator[None]:
    yield
    stage.think("[[reply: never]]")
    yield
    kill_agent(stage)


@scene("killed when idle", "killed, nothing ever sent")
def killed_idle(stage: Stage) -> Iterator[None]:
    if stage.row.turns:
        assert stage.lab.ok("ask", stage.id, "[[reply: done]]") == "done"
    yield
    kill_agent(stage)
    stage.becomes("exited")
    yield


@scene("its tmux session killed")
def session_killed(stage: Stage) -> Iterator[None]:
    yield
    stage.think("[[reply: never]]")
    yield
    stage.lab.tmux("kill-session", "-t", f"=dev-{stage.id}")


@scene("the tmux server killed")
def server_killed(stage: Stage) -> Iterator[None]:
    yield
    stage.think("[[reply: never]]")
    yield
    stage.lab.tmux("kill-server")


@scene("a subagent's question open")
def subagent_asks(stage: Stage) -> Iterator[None]:
    asks = subagent("[[bash: touch x]][[reply: touched]]")
    stage.think(f"{asks}[[hold: {stage.b}]][[bash: ls]][[reply: done]]")
    yield
    stage.go()
    (asked,) = stage.lab.pending("touch x")
    assert asked["agent"]["task"] == "a helper"
    yield
    stage.lab.ok("respond", stage.id, "--allow")
    stage.lab.until((stage.lab.project / "x").exists, "the subagent goes on")

    def reported() -> bool:
        """The agent learns that the subagent has ended."""
        return "<task-notification>" in json.dumps(stage.lab.transcript(stage.id))

    stage.held(stage.b)
    stage.lab.until(reported, "the end of the subagent")
    stage.lab.model.release(stage.b)
    stage.becomes("idle")


@scene("subagents at work")
def subagents(stage: Stage) -> Iterator[None]:
    script = f"[[hold: {stage.b}]][[reply: found [[reply: it is found]]]]"
    stage.think(f"[[agent: helper|{script}]][[reply: a helper is at it]]")
    yield
    stage.go()
    stage.held(stage.b)
    stage.sees("a helper is at it")
    yield
    stage.lab.model.release(stage.b)
    stage.becomes("idle")


@scene("background work")
def background(stage: Stage) -> Iterator[None]:
    stage.think(f"[[bash_bg: {stage.command('job')}]][[reply: started it]]")
    yield
    stage.go()
    stage.runs("job")
    stage.becomes("idle")
    assert stage.lab.ok("last-message", stage.id) == "started it"
    settled = stage.wait("--settled")
    await_armed(stage.lab, settled)
    yield
    assert settled.poll() is None
    stage.end_tool("job")
    # The prompt with which the agent wakes itself is not one of ours, and has no script.
    stage.lab.until(lambda: stage.lab.ok("last-message", stage.id) != "started it", "the agent wakes itself")
    assert stage.lab.finish(settled)[:2] == (0, "completed\n")
    stage.becomes("idle")


def await_armed(lab: Lab, wait: subprocess.Popen[str]) -> None:
    """Wait until a `wait` watches the session for changes: from then on it misses none (Linux)."""
    infos = Path(f"/proc/{wait.pid}/fdinfo")

    def watches() -> bool:
        assert wait.poll() is None, lab.finish(wait)
        for info in list(infos.iterdir()):
            try:
                if "inotify wd:" in info.read_text():
                    return True
            except FileNotFoundError:
                continue
        return False

    lab.until(watches, "the wait is armed")


class Looker:
    """Compares the commands' output with a row."""

    def __init__(self, stage: Stage) -> None:
        self.lab, self.id, self.row, self.stage = stage.lab, stage.id, stage.row, stage

    def status(self, expected: str, question: str = "", background: int = 0) -> None:
        shown = self.lab.run("status", self.id)
        assert shown[:2] == (0, f"{expected}\n")
        found = self.lab.run("status", self.id, "--json").json
        assert (found["session"], found["status"]) == (self.id, expected)
        assert (found["question"] or {}).get("kind", "") == question
        assert found["background"] == background
        assert (found["error"] is not None) == (expected == "exited")
        listed = self.lab.run("list", "--json").json
        assert [(one["id"], one["status"]) for one in listed] == [(self.id, expected)]

    def turn(self) -> int | None:
        """The turn that `status` reports."""
        return self.lab.run("status", self.id, "--json").json["turn"]

    def wait(self, *options: str) -> Done:
        return self.lab.run("wait", self.id, *options)

    def answer(self, done: Done, word: str, code: int) -> dict[str, Any]:
        """Check the answer of one `wait --json`, except its turns."""
        assert done.code == code, done
        found: dict[str, Any] = done.json
        assert (found["session"], found["outcome"]) == (self.id, word)
        assert (found["question"] or {}).get("kind", "") == (self.row.question if word == "waiting_for_input" else "")
        assert (found["error"] is not None) == (word in ("failed", "interrupted", "exited")), found
        return found

    def last(self) -> int | None:
        """The last turn of the row."""
        return self.stage.before + self.row.turns[-1][0] if self.row.turns else None

    def end(self, found: dict[str, Any]) -> None:
        """Check the turns in an answer after the end."""
        row, before = self.row, self.stage.before
        assert [(turn["turn"] - before, turn["outcome"]) for turn in found["turns"]] == list(row.turns)
        assert found["turn"] == self.last()
        assert [(turn["turn"] - before, turn["reply"]) for turn in found["turns"] if turn["reply"]] == list(row.reply)
        assert row.error in (found["error"] or "")
        limit = ("limit", self.stage.resets_at) if row.limit else (None, None)
        for one in (found, *found["turns"], self.lab.run("status", self.id, "--json").json):
            assert (one["reason"], one["resets_at"]) == limit
        for number, outcome in row.turns:
            one = self.answer(self.wait("--turn", str(before + number), "--json"), outcome, row.later_code)
            assert one["turn"] == before + number
            assert [turn for turn in one["turns"] if turn["turn"] == before + number] == [found["turns"][number - 1]]


# A lab with an idle session that earlier rows left for later ones, with hooks and without.
Left = dict[bool, tuple[Lab, str]]


@pytest.fixture(scope="module")
def left() -> Iterator[Left]:
    rows: Left = {}
    yield rows
    for lab, _ in rows.values():
        lab.close()


def can_share(row: Row) -> bool:
    """True if a row needs no separate session, and leaves its session idle (and no prompt given back, as after Esc)."""
    alike = row.permissions == "full" and not row.login and not row.options
    rests = row.after == "idle" and row.part != DEATH and "Esc before any output" not in row.name
    return alike and bool(row.turns) and rests


def staged(make: Callable[[], Lab], row: Row, left: Left | None, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The session for a row's scene; if the test fails, other rows do not reuse the session."""
    lab, id = left.pop(row.hooks, (None, "")) if left is not None else (None, "")
    lab = lab or make().__enter__()
    failed, stage = request.session.testsfailed, None
    try:
        stage = Stage(lab, row, id)
        yield stage
    finally:
        if stage:
            stage.close()
        if stage and left is not None and request.session.testsfailed == failed:
            left[row.hooks] = lab, stage.id
        else:
            lab.close()


@pytest.fixture
def stage(claude: str, row: Row, left: Left, request: pytest.FixtureRequest) -> Iterator[Stage]:
    yield from staged(lambda: Lab(claude, "states"), row, left if can_share(row) else None, request)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(stage: Stage, row: Row) -> None:
    lab, look = stage.lab, Looker(stage)
    play = SCENES[row.name.removeprefix("no hooks: ")](stage)

    next(play)
    look.status(row.before)
    waits = []
    if row.before == "working":
        waits.append(stage.wait("--json"))
        await_armed(lab, waits[0])

    next(play)
    look.status(row.during, row.question, row.background)
    if row.blocks:
        waits.append(stage.wait("--json"))
        await_armed(lab, waits[-1])
        assert look.wait("--timeout", "0")[:2] == (124, "working\n")
        assert look.turn() == stage.before + 1
        waits.append(stage.wait("--json"))  # it begins to watch at some time between here and the end
    else:
        assert look.wait()[:2] == (row.code, f"{row.wait}\n")
        waits.append(stage.wait("--json"))
        answers = [look.answer(lab.finish(wait), row.wait, row.code) for wait in waits]

    assert next(play, "over") == "over"
    if row.blocks:
        answers = [look.answer(lab.finish(wait), row.wait, row.code) for wait in waits]
    assert all(answer == answers[0] for answer in answers)

    after = look.answer(look.wait("--json"), row.later, row.later_code)
    assert look.wait()[:2] == (row.later_code, f"{row.later}\n")
    if row.wait == row.later:
        assert after == answers[0]
    look.end(after)
    look.status(row.after)
    assert look.turn() == look.last()
    if row.after == "idle":
        # Nothing of the situation is left that would be added to the next message.
        assert lab.ok("ask", stage.id, f"[[reply: what after {look.last()}?]]") == f"what after {look.last()}?"
        last = [f"[[reply: what after {look.last()}?]]"]
        lab.until(lambda: lab.prompts(stage.id)[-1:] == last, "the transcript has it alone")
    else:
        assert lab.run("send", stage.id, "[[reply: nobody]]").code == 5


def test_every_row_has_a_scene() -> None:
    assert {row.name.removeprefix("no hooks: ") for row in ROWS} == set(SCENES)
    assert len({row.name for row in ROWS}) == len(ROWS)
