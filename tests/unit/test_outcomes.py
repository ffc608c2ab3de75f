"""The outcomes of `wait` and `interrupt`."""

from __future__ import annotations

import pytest

from dev_sessions.errors import UsageError
from dev_sessions.model import Fact, Message, Probe, Question, State, Turn
from dev_sessions.service import outcomes
from dev_sessions.service.interruption import outcome as outcome_of_interrupt
from dev_sessions.turns import reduce

BEGUN = [Fact("alive", 1.0), Fact("accepted", 10.0, text="one", prompt="p1")]
HELD = [*BEGUN, Fact("accepted", 11.0, text="two", prompt="p1")]
CUT, DONE = (Fact("ended", 20.0, prompt="p1", outcome=outcome) for outcome in ("interrupted", "completed"))
BUSY, IDLE, GONE = Probe(30.0, True, "busy", 10.1), Probe(30.0, True, "idle", 20.1), Probe(30.0, False)


@pytest.mark.parametrize(
    ("before", "facts", "probe", "outcome"),
    [
        (BEGUN, BEGUN, BUSY, None),
        (BEGUN, BEGUN, IDLE, "interrupted"),
        (BEGUN, [*BEGUN, CUT], IDLE, "interrupted"),
        (BEGUN, [*BEGUN, DONE], IDLE, "completed"),
        (BEGUN, BEGUN, GONE, "exited"),
        # What waited in the agent's queue goes on at once.
        (HELD, HELD, BUSY, None),
        (
            HELD,
            [*HELD, CUT, Fact("started", 20.1, text="two", prompt="p2")],
            Probe(30.0, True, "busy", 20.2),
            "interrupted",
        ),
        # Nothing ran.
        ([*BEGUN, DONE], [*BEGUN, DONE], IDLE, None),
    ],
)
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "a person's"])
def test_the_outcome_of_an_interrupt(before, facts, probe, outcome, ours):
    texts = ("one", "two") if ours else ()
    messages = [
        Message(number, text, "terminal", f"r{number}", 9.0 + number, attempted=9.0 + number, receipt="started")
        for number, text in enumerate(texts, 1)
        if any(fact.text == text for fact in before)
    ]
    ran = Probe(30.0, True, "busy", 10.1) if not any(fact.kind == "ended" for fact in before) else IDLE
    assert outcome_of_interrupt(reduce(messages, before, ran), reduce(messages, facts, probe)) == outcome


class _Session:
    """What a condition needs of a session: its id, and a backend that knows its goal."""

    id = "fizz-top"

    def __init__(self, *goals):
        self._goals = list(goals)

    def require(self, capability, name):
        assert name == "goal"
        return self

    def goal(self, session):
        return self._goals.pop(0) if len(self._goals) > 1 else self._goals[0]


QUESTION = Question("q1", "question", "which?", (), 9.0)
FIRST = Turn(1, "completed", 1.0, 5.0, reply="one")
SECOND = Turn(2, "failed", 4.0, 6.0, error="no model", reason="limit", resets_at=99.0)
BROKEN = Turn(3, "failed", 7.0, 9.0)
RUNS, ASKS, WAITS = Turn(3, "working", 7.0), Turn(3, "waiting_for_input", 7.0), Turn(4, "queued", 8.0)


def _state(status, *turns, **more):
    last = next((turn for turn in reversed(turns) if turn.ended is not None), None)
    turn = next((turn.number for turn in turns if turn.open), None)
    question = QUESTION if status == "waiting_for_input" else None
    return State(status, turns, turn, question, more.pop("background", 0), last=more.pop("last", last), **more)


def _outcome(state, turn=None, settled=False):
    return outcomes.condition([], turn, settled, goal=False, next_turn=False)(_Session(), state)


@pytest.mark.parametrize(
    ("state", "asked", "expected"),
    {
        "nothing was sent": (_state("idle"), {}, (None, "idle", [])),
        "nothing was sent, and it works for a person": (_state("working"), {}, (None, "idle", [])),
        "nothing was sent, and it has exited": (_state("exited", error="killed"), {}, (None, "exited", [])),
        "nothing was sent, and it asks": (_state("waiting_for_input"), {}, (None, "waiting_for_input", [])),
        "one turn is over": (_state("idle", FIRST), {}, (1, "completed", [1])),
        "the worst of a batch": (_state("idle", FIRST, SECOND), {}, (2, "failed", [1, 2])),
        "only the batch of the newest": (
            _state("idle", FIRST, RUNS._replace(state="failed", ended=9.0)),
            {},
            (3, "failed", [3]),
        ),
        "a turn runs": (_state("working", FIRST, RUNS), {}, None),
        "a turn is queued": (_state("idle", FIRST, WAITS), {}, None),
        "the running turn asks": (_state("waiting_for_input", FIRST, ASKS), {}, (3, "waiting_for_input", [3])),
        "it exited with a turn queued": (_state("exited", FIRST, WAITS, error="killed"), {}, (4, "exited", [4])),
        "the turn asked for is over": (_state("working", FIRST, RUNS), {"turn": 1}, (1, "completed", [1])),
        "the turn asked for runs": (_state("working", FIRST, RUNS), {"turn": 3}, None),
        "work is left": (_state("idle", FIRST, background=1), {}, (1, "completed", [1])),
        "work is left that is to settle": (_state("idle", FIRST, background=1), {"settled": True}, None),
        "work has settled": (_state("idle", FIRST), {"settled": True}, (1, "completed", [1])),
        "work is left by an agent that asks": (
            _state("waiting_for_input", FIRST, background=1),
            {"settled": True},
            (1, "completed", [1]),
        ),
    }.values(),
)
def test_the_outcome_of_sent_messages(state, asked, expected):
    found = _outcome(state, **asked)
    if expected is None:
        assert found is None
        return
    turn, word, turns = expected
    assert (found["session"], found["turn"], found["outcome"]) == ("fizz-top", turn, word)
    assert [one["turn"] for one in found["turns"]] == turns
    asks = word == "waiting_for_input" and QUESTION.to_json()
    assert found["question"] == (asks or None)


def test_the_reply_after_work_has_settled_is_the_later_one():
    state = _state("idle", FIRST._replace(later="two"))
    assert _outcome(state)["turns"][0]["reply"] == "one"
    assert _outcome(state, settled=True)["turns"][0]["reply"] == "two"


def test_an_outcome_has_an_error():
    failed = _outcome(_state("idle", SECOND))
    assert (failed["error"], failed["reason"], failed["resets_at"]) == ("no model", "limit", 99.0)
    assert failed["turns"] == [
        {"turn": 2, "outcome": "failed", "reply": None, "error": "no model", "reason": "limit", "resets_at": 99.0}
    ]
    assert _outcome(_state("exited", RUNS, error="killed"))["error"] == "killed"
    assert (
        _outcome(_state("idle", RUNS._replace(state="interrupted", ended=9.0)))["error"] == "the turn was interrupted"
    )
    assert _outcome(_state("idle", FIRST))["error"] is None


def test_a_turn_that_does_not_exist():
    with pytest.raises(UsageError, match="fizz-top has no turn 7"):
        _outcome(_state("idle", FIRST), turn=7)


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ({"turn": 1, "goal": True}, "--turn and --goal"),
        ({"settled": True, "next_turn": True}, "--settled and --next-turn"),
        ({"turn": 1, "settled": True, "goal": True}, "--turn and --settled and --goal"),
        ({"goal": True, "next_turn": True}, "--goal and --next-turn"),
    ],
)
def test_conditions_that_exclude_each_other(given, flags):
    asked = {"turn": None, "settled": False, "goal": False, "next_turn": False, **given}
    with pytest.raises(UsageError, match=f"^{flags} exclude each other$"):
        outcomes.condition([], **asked)


def test_the_next_turn_is_one_that_ends_from_now_on():
    foreign = Turn(0, "completed", 8.0, 9.0, reply="theirs", prompt="p9")
    wait, session = outcomes.NextTurn(), _Session()
    assert wait(session, _state("working", FIRST)) is None
    assert wait(session, _state("working", FIRST, last=FIRST._replace(ended=5.5))) is None  # the same, reported again
    found = wait(session, _state("idle", FIRST, last=foreign))
    assert (found["turn"], found["outcome"], found["turns"][0]["reply"]) == (None, "completed", "theirs")
    both = [SECOND._replace(ended=9.0), Turn(3, "completed", 7.0, 9.0)]
    found = wait(session, _state("idle", FIRST, *both))
    assert (found["turn"], found["outcome"], [one["turn"] for one in found["turns"]]) == (2, "completed", [2, 3])


def test_the_next_turn_is_not_waited_for_when_the_agent_cannot_go_on():
    wait, session = outcomes.NextTurn(), _Session()
    assert wait(session, _state("waiting_for_input", ASKS))["outcome"] == "waiting_for_input"
    assert wait(session, _state("idle")) is None  # no turn has ended yet
    wait = outcomes.NextTurn()
    assert wait(session, _state("exited", FIRST))["outcome"] == "exited"


RESUME = "resume it with: dev-sessions goal fizz-top --resume"


def _goal(status):
    return {"objective": "x", "status": status}


@pytest.mark.parametrize(
    ("status", "last", "error"),
    [
        ("complete", FIRST, None),
        ("paused", FIRST, "the goal is paused; resume it with: dev-sessions goal fizz-top --resume"),
        (
            "blocked",
            SECOND,
            "the agent cannot go on with the goal (no model); resume it with: dev-sessions goal fizz-top --resume",
        ),
        (
            "usageLimited",
            SECOND,
            "the account has reached a limit (no model); resume it with: dev-sessions goal fizz-top --resume",
        ),
        ("budgetLimited", FIRST, "the budget is spent; give it more: dev-sessions goal fizz-top --budget N"),
    ],
)
def test_the_end_of_a_goal_is_its_status(status, last, error):
    session = _Session(_goal(status))
    found = outcomes.condition([session], None, False, goal=True, next_turn=False)(session, _state("idle", last=last))
    assert (found["outcome"], found["error"], found["goal"]) == (status, error, _goal(status))
    limited = status == "usageLimited"
    assert (found["reason"], found["resets_at"]) == (("limit", 99.0) if limited else (None, None))


def test_a_goal_is_waited_for_while_the_agent_works_or_is_between_two_turns():
    session = _Session(_goal("active"))
    wait = outcomes.GoalOver([session])
    assert wait(session, _state("working", RUNS)) is None
    assert wait(session, _state("idle", last=FIRST)) is None


def test_an_active_goal_whose_turn_was_interrupted_has_stalled():
    cut = Turn(0, "interrupted", 1.0, 2.0, error="the agent ended")
    session = _Session(_goal("active"))
    found = outcomes.GoalOver([session])(session, _state("idle", last=cut))
    assert (found["outcome"], found["goal"]["status"]) == ("interrupted", "active")
    assert found["error"] == f"the agent has stopped pursuing the goal (the agent ended); {RESUME}"


def test_a_goal_that_was_cleared_or_never_set():
    session = _Session(_goal("active"), None)
    wait = outcomes.GoalOver([session])
    assert wait(session, _state("working", RUNS)) is None
    found = wait(session, _state("idle"))
    assert (found["outcome"], found["error"], found["goal"]) == ("cleared", "the goal was cleared", None)
    with pytest.raises(UsageError, match="fizz-top has no goal"):
        outcomes.GoalOver([session])(session, _state("idle"))


def test_an_agent_that_asks_or_exits_ends_the_wait_for_its_goal():
    session = _Session(_goal("active"))
    wait = outcomes.GoalOver([session])
    assert wait(session, _state("waiting_for_input", ASKS))["question"] == QUESTION.to_json()
    assert wait(session, _state("exited", error="killed"))["error"] == "killed"
