"""Subagents of a Codex session: which there are, and when a turn with subagents is over; recorded and made up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dev_sessions.backends.codex import rollout, subagents
from dev_sessions.backends.codex.rollout import DIED, Event
from dev_sessions.backends.codex.subagents import Span, Thread, Whole
from dev_sessions.model import Message, Probe, Subagent
from dev_sessions.turns import reduce

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(path.parent.name for path in DATA.glob("codex-*/agents.jsonl"))
FOREVER = float("inf")


def thread_of(path: Path) -> str:
    with path.open() as file:
        return str(json.loads(file.readline())["payload"]["id"])


@pytest.fixture(params=VERSIONS)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A CODEX_HOME with a recorded session and its first subagent."""
    folder = tmp_path / "sessions" / "2026" / "01" / "01"
    folder.mkdir(parents=True)
    for name in ("agents", "agent"):
        recorded = DATA / request.param / f"{name}.jsonl"
        shutil.copy(recorded, folder / f"rollout-2026-01-01T00-00-00-{thread_of(recorded)}.jsonl")
    return tmp_path


def test_recorded_ones_are_found_and_named(home: Path) -> None:
    (own,) = [path for path in home.rglob("*.jsonl") if b"spawn_agent" in path.read_bytes()]
    story = rollout.read(str(own))
    assert len(story.agents) == 2
    (found,) = subagents.family(str(home), {}, story)  # the other has no rollout here
    assert found.id == story.agents[0]
    named = subagents.subagent(found)
    assert named is not None
    assert (named.id, named.task) == (found.id, "")
    assert named.type  # a nickname that Codex has made up
    assert subagents.subagent(found._replace(own=True)) is None


def test_the_recorded_turn_lasts_as_long_as_its_subagent(home: Path) -> None:
    """The second message came while it worked: one turn, whose reply is the last one."""
    (own,) = [path for path in home.rglob("*.jsonl") if b"spawn_agent" in path.read_bytes()]
    story = rollout.read(str(own))
    found = subagents.family(str(home), {}, story)
    (span,) = subagents.spans(found, ())
    prompts = [event for event in story.events if event.kind == "prompt"]
    messages = [
        Message(number, event.text, "rpc", str(number), event.at - 0.1, attempted=event.at - 0.05, receipt="started")
        for number, event in enumerate(prompts, 1)
    ]
    for count in range(len(story.events) + 1):  # what a reader sees while it lasts
        part = Whole(story.events[:count], [span._replace(ended=FOREVER)])
        assert all(event.kind != "ended" for event in part.events)
    whole = Whole(story.events, [span], found)
    state = reduce(messages, rollout.facts(whole.events), Probe(story.events[-1].at, True, "idle"))
    first, second, third = state.turns
    assert (first.state, first.reply, first.ended) == ("completed", "meanwhile", span.ended)
    assert (second.state, second.reply, second.ended) == ("completed", "meanwhile", span.ended)
    assert third.ended is not None
    assert third.ended > span.ended


# Made up: a turn of the agent's own, and spans of its subagents. Ends as (turn, time, outcome, text).


def turn(name: str, began: float, ended: float | None, outcome: str = "completed", root: str = "") -> list[Event]:
    events = [Event("began", began, name, root=root or name)]
    if ended is not None:
        events.append(Event("ended", ended, name, name.upper(), outcome=outcome))
    return events


def ends(whole: Whole) -> list[tuple[str | None, float, str, str]]:
    return [(one.turn, one.at, one.outcome, one.text) for one in whole.events if one.kind == "ended"]


@pytest.mark.parametrize(
    ("spans", "end"),
    [
        ([], (2.0, "completed")),
        ([Span(1.5, 1.8)], (2.0, "completed")),
        ([Span(1.5, 4.0)], (4.0, "completed")),
        ([Span(1.5, 4.0), Span(1.6, 3.0)], (4.0, "completed")),
        ([Span(1.5, 4.0), Span(3.5, 6.0)], (6.0, "completed")),  # started by the other
        ([Span(1.5, 4.0), Span(5.0, 6.0)], (4.0, "completed")),  # not by this turn
        ([Span(1.5, 4.0, interrupted=True)], (4.0, "interrupted")),
        ([Span(1.5, 1.8, interrupted=True)], (2.0, "completed")),  # by the agent itself
        ([Span(1.5, 3.0, interrupted=True), Span(1.6, 4.0)], (4.0, "completed")),
        ([Span(1.5, 3.0, died=True)], (3.0, "interrupted")),
        ([Span(0.5, 0.8, died=True)], (2.0, "completed")),  # in a turn before
        ([Span(1.5, FOREVER)], None),
    ],
)
def test_when_a_turn_is_over(spans: list[Span], end: tuple[float, str] | None) -> None:
    whole = Whole(turn("a", 1.0, 2.0), sorted(spans))
    assert ends(whole) == ([("a", end[0], end[1], "A")] if end else [])
    assert whole.open == ([] if end else ["a"])
    assert whole.began == 1.0
    if any(span.died and span.began >= 1.0 for span in spans):
        assert whole.events[-1].error == DIED


def test_a_turn_that_begins_meanwhile_is_part_of_it() -> None:
    events = [*turn("a", 1.0, 2.0), *turn("b", 3.0, 3.5), *turn("c", 9.0, 9.5)]
    whole = Whole(events, [Span(1.5, 5.0)])
    assert ends(whole) == [("a", 5.0, "completed", "B"), ("c", 9.5, "completed", "C")]
    assert Whole(events[:3], [Span(1.5, FOREVER)]).open == ["a", "b"]


def test_a_turn_for_which_a_subagent_wakes_the_agent_is_part_of_it() -> None:
    """Codex 0.171 does so if configured so (`wake_on_agent_messages`), a moment after the subagent has ended."""
    woken = Whole([*turn("a", 1.0, 2.0), *turn("b", 5.1, 6.0, root="a")], [Span(1.5, 5.0)])
    assert ends(woken) == [("a", 6.0, "completed", "B")]


def test_a_turn_that_was_cut_does_not_include_the_next() -> None:
    whole = Whole([*turn("a", 1.0, None), *turn("b", 5.0, 6.0)], [Span(1.5, 2.0, died=True)])
    assert ends(whole) == [("b", 6.0, "completed", "B")]


def test_the_copied_history_of_a_parent_ends_before_a_subagents_turns() -> None:
    """It ends with the turn in which the subagent was started, which has no end there."""
    copied = [*turn("p", 1.0, 1.0), *turn("q", 1.0, None)]
    story = rollout.Story([*copied, *turn("own", 1.1, 3.0)], [], None, 0)
    found = subagents.spans([Thread("t", "", 0, story)], ())
    assert found[-1] == Span(1.1, 3.0)
    assert all(span.ended <= 1.1 for span in found[:-1])


def test_a_subagent_without_a_rollout_has_a_name_too(tmp_path: Path) -> None:
    gone = Thread("t", str(tmp_path / "gone.jsonl"), 0, rollout.Story([], [], None, 0))
    assert subagents.subagent(gone) == Subagent("t", "", "")
