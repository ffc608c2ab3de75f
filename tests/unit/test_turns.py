"""The state of a session from acts, facts and a probe: every rule of `turns`, every row of the state table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev_sessions.fold import AWAKE_SECONDS, ENDING_SECONDS, HOLD_GRACE, START_GRACE, UNREPORTED
from dev_sessions.model import (
    COMPLETED,
    EXITED,
    FAILED,
    IDLE,
    INTERRUPTED,
    QUEUED,
    WAITING,
    WORKING,
    Fact,
    Message,
    Probe,
    Question,
    Subagent,
    Turn,
)
from dev_sessions.turns import FLIGHT_SECONDS, batch, reduce, rests, verdict

ASKED = Question("q1", "question", "Which colour?", ("Red", "Blue"), 12.0)
SUB = ASKED._replace(id="q2", since=13.0, agent=Subagent("a1", "Explore"))
SUB_ASKS = Fact("asked", 13, question=SUB, held=True)
DIALOG = Question("dialog-5", "dialog", "Do you trust this folder?", (), 5.0)


def message(number, created=None, **changes):
    """Message `number`, created and attempted at `number` * 10 seconds, with a receipt."""
    created = number * 10.0 if created is None else created
    fields = {"attempted": created + 0.1, "receipt": "started", **changes}
    return Message(number, f"text {number}", "terminal", f"r{number}", created, **fields)


def accepted(number, at, prompt, **more):
    return Fact("accepted", at, text=f"text {number}", prompt=prompt, **more)


def ended(at, prompt, outcome=COMPLETED, **more):
    return Fact("ended", at, prompt=prompt, outcome=outcome, **{"subagents": (), **more})


def idle(since, now=None):
    return Probe(since + 100.0 if now is None else now, True, "idle", since)


def busy(since, now=None):
    return Probe(since + 100.0 if now is None else now, True, "busy", since)


def waiting(since, **more):
    return Probe(since + 100.0, True, "waiting", since, **more)


def gone(now, **more):
    return Probe(now, False, **more)


def states(state):
    return [turn.state for turn in state.turns]


ALIVE = Fact("alive", 1.0)
ONE, TWO, THREE = message(1), message(2), message(3)
TOOK = accepted(1, 10.2, "p1")
DONE = ended(15.0, "p1", reply="It is fixed.")

# name: messages, facts, probe -> status, the turns' states, the current turn
TABLE = {
    "nothing sent": ([], [ALIVE], idle(2), IDLE, [], None),
    "nothing sent, no fact yet": ([], [], Probe(5, True), IDLE, [], None),
    "nothing sent, gone": ([], [ALIVE], gone(5), EXITED, [], None),
    "thinking": ([ONE], [ALIVE, TOOK], busy(10.3), WORKING, [WORKING], 1),
    "a tool runs for minutes": ([ONE], [ALIVE, TOOK], busy(10.3, 1000), WORKING, [WORKING], 1),
    "the agent tells no activity": ([ONE], [ALIVE, TOOK], Probe(500, True), WORKING, [WORKING], 1),
    "liveness unknown": ([ONE], [ALIVE, TOOK], Probe(500, None), WORKING, [WORKING], 1),
    "a status older than the prompt": ([ONE], [ALIVE, TOOK], idle(2, 10.4), WORKING, [WORKING], 1),
    "idle": ([ONE], [ALIVE, TOOK, DONE], idle(15.1), IDLE, [COMPLETED], 1),
    "Stop, and the status still busy": ([ONE], [ALIVE, TOOK, DONE], busy(10.3), WORKING, [WORKING], 1),
    "a turn that no fact told of": ([ONE], [ALIVE, TOOK, DONE], busy(20), WORKING, [COMPLETED], 1),
    "failed": ([ONE], [ALIVE, TOOK, ended(12, "p1", FAILED, error="API 400")], idle(12.1), IDLE, [FAILED], 1),
    "interrupted before output": ([ONE], [ALIVE, TOOK], idle(11), IDLE, [INTERRUPTED], 1),
    "interrupted after output": ([ONE], [ALIVE, TOOK, ended(11, "p1", INTERRUPTED)], idle(11), IDLE, [INTERRUPTED], 1),
    "blocked by a hook of the user's": ([ONE], [ALIVE, TOOK], idle(2, 10.2 + START_GRACE), IDLE, [INTERRUPTED], 1),
    "interrupted, known by the next prompt": (
        [ONE, TWO],
        [TOOK, accepted(2, 20.2, "p2")],
        busy(20.3),
        WORKING,
        [INTERRUPTED, WORKING],
        2,
    ),
    "killed while it works": ([ONE], [ALIVE, TOOK], gone(20), EXITED, [EXITED], 1),
    "killed at rest": ([ONE], [ALIVE, TOOK, DONE], gone(20), EXITED, [COMPLETED], 1),
    "killed before it took the message": ([ONE], [ALIVE], gone(20), EXITED, [EXITED], 1),
    "killed with one queued": (
        [ONE, message(2, attempted=None, queued=True)],
        [ALIVE, TOOK, DONE],
        gone(20),
        EXITED,
        [COMPLETED, QUEUED],
        1,
    ),
    "a person's prompt": ([], [ALIVE, Fact("accepted", 5, text="hi", prompt="x")], busy(5), WORKING, [], None),
    "a person's prompt after our turn": (
        [ONE],
        [ALIVE, TOOK, DONE, Fact("accepted", 30, text="hi", prompt="x")],
        busy(30.1),
        WORKING,
        [COMPLETED],
        1,
    ),
    "a person's prompt is over": (
        [ONE],
        [ALIVE, TOOK, DONE, Fact("accepted", 30, text="hi", prompt="x"), ended(33, "x", FAILED, error="x")],
        idle(33),
        IDLE,
        [COMPLETED],
        1,
    ),
    "background work left": (
        [ONE],
        [ALIVE, TOOK, ended(15, "p1", background=2)],
        Probe(16, True, None),
        IDLE,
        [COMPLETED],
        1,
    ),
    "the agent woke itself": (
        [ONE],
        [ALIVE, TOOK, ended(15, "p1", background=1), Fact("accepted", 40, text="<task-notification>", prompt="w")],
        busy(40.1),
        WORKING,
        [COMPLETED],
        1,
    ),
    "two accepted while busy": (
        [ONE, TWO, THREE],
        [TOOK, accepted(2, 20.2, "p1"), accepted(3, 30.2, "p1")],
        busy(10.3),
        WORKING,
        [WORKING, WORKING, WORKING],
        1,
    ),
    "two joined the running turn": (
        [ONE, TWO, THREE],
        [
            TOOK,
            accepted(2, 20.2, "p1"),
            accepted(3, 30.2, "p1"),
            Fact("joined", 31, text="text 2"),
            Fact("joined", 31, text="text 3"),
            ended(35, "p1", reply="all"),
        ],
        idle(35),
        IDLE,
        [COMPLETED, COMPLETED, COMPLETED],
        3,
    ),
    "one of two follows": (
        [ONE, TWO],
        [TOOK, accepted(2, 20.2, "p1"), ended(25, "p1"), Fact("started", 25.1, text="text 2", prompt="p2")],
        busy(25.1),
        WORKING,
        [COMPLETED, WORKING],
        2,
    ),
    "both that followed ended together": (
        [ONE, TWO, THREE],
        [
            TOOK,
            accepted(2, 20.2, "p1"),
            accepted(3, 30.2, "p1"),
            ended(35, "p1"),
            Fact("started", 35.1, text="text 2", prompt="p2"),
            Fact("started", 35.1, text="text 3", prompt="p3"),
            ended(39, "p3", reply="both"),
        ],
        idle(39),
        IDLE,
        [COMPLETED, COMPLETED, COMPLETED],
        3,
    ),
    "idle for 20 ms between two turns of its queue": (
        [ONE, TWO],
        [TOOK, accepted(2, 20.2, "p1"), ended(25, "p1")],
        idle(25.01, 25.03),
        WORKING,
        [COMPLETED, WORKING],
        2,
    ),
    "taken into the turn without a word": (
        [ONE, TWO],
        [TOOK, accepted(2, 20.2, "p1"), ended(25, "p1", reply="one for both")],
        idle(25.01, 25.01 + HOLD_GRACE),
        IDLE,
        [COMPLETED, COMPLETED],
        2,
    ),
    "queued": (
        [ONE, message(2, attempted=None, queued=True, receipt=None)],
        [TOOK],
        busy(10.3),
        WORKING,
        [WORKING, QUEUED],
        1,
    ),
    "queued at rest": ([message(1, attempted=None, queued=True)], [ALIVE], idle(2), IDLE, [QUEUED], None),
    "queued, being delivered": ([message(1, queued=True, receipt=None)], [], idle(2, 10.5), IDLE, [QUEUED], None),
    "in flight": ([message(1, receipt=None)], [ALIVE], idle(2, 10.5), IDLE, [WORKING], 1),
    "unconfirmed": ([message(1, receipt=None, unconfirmed=True)], [ALIVE], idle(2, 60), IDLE, [FAILED], 1),
    "its sender was killed": (
        [message(1, receipt=None)],
        [ALIVE],
        idle(2, 10.2 + FLIGHT_SECONDS),
        IDLE,
        [FAILED],
        1,
    ),
    "unconfirmed, and it came after all": (
        [message(1, receipt=None, unconfirmed=True)],
        [ALIVE, accepted(1, 55, "p1"), ended(60, "p1")],
        idle(60),
        IDLE,
        [COMPLETED],
        1,
    ),
    "the agent was restarted": ([ONE], [ALIVE, TOOK, Fact("alive", 20)], idle(21), IDLE, [EXITED], 1),
    "restarted and at work again": (
        [ONE, message(3)],
        [ALIVE, TOOK, Fact("gone", 15, error="killed"), Fact("alive", 20), accepted(3, 30.2, "p3")],
        busy(30.3),
        WORKING,
        [EXITED, WORKING],
        3,
    ),
    "compaction leaves the turn alone": ([ONE], [ALIVE, TOOK], busy(12), WORKING, [WORKING], 1),
    "a question": ([ONE], [TOOK, Fact("asked", 12, question=ASKED)], waiting(12.1), WAITING, [WAITING], 1),
    "a question, the status not changed yet": (
        [ONE],
        [TOOK, Fact("asked", 12, question=ASKED)],
        busy(10.3, 12.2),
        WAITING,
        [WAITING],
        1,
    ),
    "a question that was answered": (
        [ONE],
        [TOOK, Fact("asked", 12, question=ASKED)],
        busy(14),
        WORKING,
        [WORKING],
        1,
    ),
    "a question that a rule settled at once": (
        [ONE],
        [TOOK, Fact("asked", 12, question=ASKED)],
        busy(10.3, 14),
        WORKING,
        [WORKING],
        1,
    ),
    "declined with Esc": ([ONE], [TOOK, Fact("asked", 12, question=ASKED)], idle(14), IDLE, [INTERRUPTED], 1),
    "killed while it asks": ([ONE], [TOOK, Fact("asked", 12, question=ASKED)], gone(20), EXITED, [EXITED], 1),
    "a subagent asks, the agent works": ([ONE], [TOOK, SUB_ASKS], busy(10.3, 500), WAITING, [WAITING], 1),
    "a subagent asks, the agent's own turn is over": (
        [ONE],
        [TOOK, SUB_ASKS, DONE._replace(subagents=("a1",))],
        busy(10.3, 500),
        WAITING,
        [WAITING],
        1,
    ),
    "a subagent asks, the agent says that it is idle": (
        [ONE],
        [TOOK, DONE, SUB_ASKS],
        idle(15.1),
        WAITING,
        [COMPLETED],
        1,
    ),
    "a subagent's question was answered": (
        [ONE],
        [TOOK, SUB_ASKS, Fact("answered", 14, text="q2")],
        busy(10.3, 500),
        WORKING,
        [WORKING],
        1,
    ),
    "killed while a subagent asks": ([ONE], [TOOK, SUB_ASKS], gone(20), EXITED, [EXITED], 1),
    "a dialog before the first prompt": ([], [], waiting(5, question=DIALOG), WAITING, [], None),
    "a dialog that no fact tells of": ([ONE], [TOOK], waiting(12, question=DIALOG), WAITING, [WAITING], 1),
}


def launched(at, prompt, *ids, **more):
    """An end that leaves subagents running."""
    return ended(at, prompt, reply="launched", subagents=ids, background=len(ids), **more)


def woken(at, prompt, task):
    return Fact("accepted", at, text=f"<task-notification>{task}", prompt=prompt, task=task)


def over(at, prompt, reply, *ids, **more):
    return ended(at, prompt, reply=reply, subagents=ids, background=len(ids), **more)


START = Fact("launched", 12, prompt="p1", task="a")
LEFT = [ALIVE, TOOK, launched(15, "p1", "a")]
BOTH = [ALIVE, TOOK, launched(15, "p1", "a", "b")]
ASIDE = [accepted(2, 20.2, "p2"), over(22, "p2", "an answer", "a")]

# What subagents hold open. name: messages, facts, probe -> status, what became of each turn: its state, its reply
HELD = {
    "a subagent runs": ([ONE], LEFT, busy(10.3), WORKING, [(WORKING, None)]),
    "it has ended, and the agent wakes up in a moment": ([ONE], LEFT, idle(30, 30.1), WORKING, [(WORKING, None)]),
    "it has ended, and nobody was told": ([ONE], LEFT, idle(30, 30 + START_GRACE), IDLE, [(INTERRUPTED, None)]),
    "the agent has woken up": ([ONE], [*LEFT, woken(30, "w", "a")], busy(30.1), WORKING, [(WORKING, None)]),
    "and says what came of it": (
        [ONE],
        [*LEFT, woken(30, "w", "a"), over(33, "w", "done")],
        idle(33.1),
        IDLE,
        [(COMPLETED, "done")],
    ),
    "and fails": (
        [ONE],
        [*LEFT, woken(30, "w", "a"), ended(33, "w", FAILED, error="529")],
        idle(33.1),
        IDLE,
        [(FAILED, None)],
    ),
    "and is interrupted": ([ONE], [*LEFT, woken(30, "w", "a")], idle(31), IDLE, [(INTERRUPTED, None)]),
    "and starts another": (
        [ONE],
        [*LEFT, woken(30, "w", "a"), over(33, "w", "on it", "c")],
        busy(30.1),
        WORKING,
        [(WORKING, None)],
    ),
    "which ends too": (
        [ONE],
        [*LEFT, woken(30, "w", "a"), over(33, "w", "on it", "c"), woken(40, "v", "c"), over(41, "v", "done")],
        idle(42),
        IDLE,
        [(COMPLETED, "done")],
    ),
    "and sends it on": (
        [ONE],
        [*LEFT, woken(30, "w", "a"), over(33, "w", "once more", "a")],
        busy(30.1),
        WORKING,
        [(WORKING, None)],
    ),
    "one of two": (
        [ONE],
        [*BOTH, woken(30, "w", "a"), over(33, "w", "one", "b")],
        busy(30.1),
        WORKING,
        [(WORKING, None)],
    ),
    "two of two": (
        [ONE],
        [*BOTH, woken(30, "w", "a"), over(33, "w", "one", "b"), woken(40, "v", "b"), over(41, "v", "two")],
        idle(42),
        IDLE,
        [(COMPLETED, "two")],
    ),
    "two of two at once": (
        [ONE],
        [*BOTH, woken(30, "w", "a"), woken(30.1, "v", "b"), over(41, "v", "two")],
        idle(42),
        IDLE,
        [(COMPLETED, "two")],
    ),
    "woken once for the first, told of the second meanwhile": (
        [ONE],
        [*BOTH, woken(30, "w", "a"), woken(31, "w", "b"), over(41, "w", "two")],
        idle(42),
        IDLE,
        [(COMPLETED, "two")],
    ),
    "a message between, answered": (
        [ONE, TWO],
        [*LEFT, *ASIDE],
        busy(10.3),
        WORKING,
        [(WORKING, None), (COMPLETED, "an answer")],
    ),
    "and both over": (
        [ONE, TWO],
        [*LEFT, *ASIDE, woken(30, "w", "a"), over(33, "w", "done")],
        idle(34),
        IDLE,
        [(COMPLETED, "done"), (COMPLETED, "an answer")],
    ),
    "told of it in the turn between": (
        [ONE, TWO],
        [*LEFT, accepted(2, 20.2, "p2"), woken(21, "p2", "a"), over(22, "p2", "both")],
        idle(23),
        IDLE,
        [(COMPLETED, "both"), (COMPLETED, "both")],
    ),
    "it ends in the turn between, and is told after it": (
        [ONE, TWO],
        [*LEFT, accepted(2, 20.2, "p2"), over(22, "p2", "mine")],
        idle(22.01, 22.1),
        WORKING,
        [(WORKING, None), (COMPLETED, "mine")],
    ),
    "it ends in the turn between, and is never told": (
        [ONE, TWO],
        [*LEFT, accepted(2, 20.2, "p2"), over(22, "p2", "mine")],
        idle(22.01, 22.01 + HOLD_GRACE),
        IDLE,
        [(COMPLETED, "mine"), (COMPLETED, "mine")],
    ),
    "the turn between starts one of its own": (
        [ONE, TWO],
        [*LEFT, accepted(2, 20.2, "p2"), over(22, "p2", "x", "a", "b"), woken(30, "w", "a"), over(31, "w", "one", "b")],
        busy(30.1),
        WORKING,
        [(COMPLETED, "one"), (WORKING, None)],
    ),
    "it ends before the turn does, and is told after it": (
        [ONE],
        [ALIVE, TOOK, START, over(15, "p1", "launched")],
        idle(15.01, 15.1),
        WORKING,
        [(WORKING, None)],
    ),
    "which makes the agent go on": (
        [ONE],
        [ALIVE, TOOK, START, over(15, "p1", "launched"), woken(20, "w", "a"), over(21, "w", "done")],
        idle(22),
        IDLE,
        [(COMPLETED, "done")],
    ),
    "it ends, and is told of, before the turn ends": (
        [ONE],
        [ALIVE, TOOK, START, woken(13, "p1", "a"), over(15, "p1", "all done")],
        idle(15.1),
        IDLE,
        [(COMPLETED, "all done")],
    ),
    "the turn that started it fails": (
        [ONE],
        [ALIVE, TOOK, START, ended(15, "p1", FAILED, error="529")],
        busy(10.3),
        WORKING,
        [(WORKING, None)],
    ),
    "the turn that started it is interrupted, and a person goes on": (
        [ONE],
        [ALIVE, TOOK, START, Fact("accepted", 20, text="hi", prompt="x"), over(22, "x", "theirs", "a")],
        busy(10.3),
        WORKING,
        [(INTERRUPTED, None)],
    ),
    "a person's turn left it": (
        [ONE],
        [ALIVE, Fact("accepted", 5, text="hi", prompt="x"), launched(6, "x", "a"), TOOK, over(15, "p1", "mine", "a")],
        busy(5.1),
        WORKING,
        [(COMPLETED, "mine")],
    ),
    "stopped by a key, of which the agent is told by no task": (
        [ONE],
        [*LEFT, Fact("accepted", 30, text="It was stopped.", prompt="w"), over(33, "w", "well")],
        idle(33.1, 33.1 + HOLD_GRACE),
        IDLE,
        [(COMPLETED, "well")],
    ),
    "a turn that no prompt began left it": ([], [ALIVE, launched(6, "x", "a")], busy(5.1), WORKING, []),
    "a command that runs on holds nothing": (
        [ONE],
        [ALIVE, TOOK, ended(15, "p1", reply="served", background=1, subagents=())],
        Probe(20, True, "idle", 15.1, background=True),
        IDLE,
        [(COMPLETED, "served")],
    ),
    "the agent dies": ([ONE], LEFT, gone(20), EXITED, [(EXITED, None)]),
    "and is started again by a person": ([ONE], [*LEFT, Fact("alive", 30)], idle(31), IDLE, [(EXITED, None)]),
    "and is revived": ([ONE], [*LEFT, Fact("revived", 30)], idle(31), IDLE, [(INTERRUPTED, None)]),
}

AGAIN = ended(19, "p1", reply="better", again=True)
# Ends that the agent took back; as above.
GOES_ON = {
    "a hook makes it go on": ([ONE], [ALIVE, TOOK, DONE], busy(10.3, 16), WORKING, [(WORKING, None)]),
    "and it ends again": ([ONE], [ALIVE, TOOK, DONE, AGAIN], idle(19.1), IDLE, [(COMPLETED, "better")]),
    "and fails": (
        [ONE],
        [ALIVE, TOOK, DONE, ended(19, "p1", FAILED, error="529")],
        idle(19.1),
        IDLE,
        [(FAILED, None)],
    ),
    "an agent that names no turns": (
        [ONE],
        [ALIVE, TOOK._replace(prompt=None), DONE._replace(prompt=None), AGAIN._replace(prompt=None)],
        idle(19.1),
        IDLE,
        [(COMPLETED, "better")],
    ),
    "and asks something": (
        [ONE],
        [ALIVE, TOOK, DONE._replace(subagents=()), Fact("asked", 17, question=ASKED)],
        waiting(17.1),
        WAITING,
        [(WAITING, None)],
    ),
    "and takes one more message": (
        [ONE, TWO],
        [ALIVE, TOOK, DONE, accepted(2, 20.2, "p1"), AGAIN._replace(at=25)],
        busy(10.3),
        WORKING,
        [(WORKING, None), (WORKING, None)],
    ),
    "the next prompt shows that it was an end": (
        [ONE, TWO],
        [ALIVE, TOOK, DONE, accepted(2, 20.2, "p2")],
        busy(10.3),
        WORKING,
        [(COMPLETED, "It is fixed."), (WORKING, None)],
    ),
    "and starts a subagent": (
        [ONE],
        [ALIVE, TOOK, over(15, "p1", "x"), START._replace(at=16)],
        busy(10.3),
        WORKING,
        [(WORKING, None)],
    ),
    "with a subagent": (
        [ONE],
        [*LEFT, ended(19, "p1", reply="on", subagents=("a",), again=True), woken(30, "w", "a"), over(31, "w", "done")],
        idle(32),
        IDLE,
        [(COMPLETED, "done")],
    ),
}


@pytest.mark.parametrize(
    "row", [*HELD.values(), *GOES_ON.values()], ids=[*HELD, *(f"goes on: {one}" for one in GOES_ON)]
)
def test_work_that_outlives_its_end(row):
    messages, facts, probe, status, found = row
    state = reduce(messages, facts, probe)
    assert (state.status, [(turn.state, turn.reply) for turn in state.turns]) == (status, found)


@pytest.mark.parametrize(
    ("facts", "probe", "delegated"),
    [
        (LEFT, busy(10.3), True),
        ([*LEFT, woken(30, "w", "a")], busy(30.1), False),
        ([*LEFT, accepted(2, 20.2, "p2")], busy(10.3), False),
        ([*LEFT, *ASIDE], busy(10.3), True),
        ([ALIVE, TOOK], busy(10.3), False),
        (LEFT, gone(20), False),
    ],
)
def test_whether_subagents_alone_are_at_work(facts, probe, delegated):
    assert reduce([ONE, TWO], facts, probe).delegated is delegated


def test_the_last_turn_is_not_part_of_one_that_subagents_keep_open():
    before = reduce([ONE], LEFT, busy(10.3)).last
    facts = [*LEFT, woken(30, "w", "a"), over(33, "w", "on it", "c")]
    assert before is None
    assert reduce([ONE], facts, busy(30.1)).last is None
    assert reduce([ONE], [*facts, woken(40, "v", "c"), over(41, "v", "done")], idle(42)).last == Turn(
        1, COMPLETED, 10.2, 41, "done", prompt="p1"
    )


def test_subagents_without_a_report_are_named():
    assert reduce([ONE], LEFT, idle(30, 40)).turns[0].error == UNREPORTED


def test_an_agent_is_not_at_rest_while_subagents_run():
    facts = [*LEFT, woken(30, "w", "a"), over(33, "w", "done"), accepted(2, 40, "p2"), ended(45, "p2")]
    assert rests([ONE, TWO], facts) == [33, 45]
    assert rests([ONE], [ALIVE, TOOK, DONE, AGAIN]) == [19]


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_table(row):
    messages, facts, probe, status, turn_states, current = row
    state = reduce(messages, facts, probe)
    assert (state.status, states(state), state.turn) == (status, turn_states, current)


def test_a_reply_and_its_turn():
    state = reduce([ONE], [ALIVE, TOOK, DONE], idle(15.1))
    assert state.turns == (Turn(1, COMPLETED, 10.0, 15.0, "It is fixed.", prompt="p1"),)


def test_a_failed_turn_has_an_error():
    state = reduce([ONE], [TOOK, ended(12, "p1", FAILED, error="API 400")], idle(12.1))
    assert (state.turns[0].reply, state.turns[0].error) == (None, "API 400")


def test_an_interrupt_is_dated_by_the_status():
    assert reduce([ONE], [TOOK], idle(11.5)).turns[0].ended == 11.5


def test_joined_messages_share_the_end_and_the_reply():
    facts = TABLE["two joined the running turn"][1]
    turns = reduce([ONE, TWO, THREE], facts, idle(35)).turns
    assert {(turn.ended, turn.reply) for turn in turns} == {(35, "all")}


def test_following_messages_have_their_own_ends():
    facts = TABLE["both that followed ended together"][1]
    turns = reduce([ONE, TWO, THREE], facts, idle(39)).turns
    assert [(turn.ended, turn.reply) for turn in turns] == [(35, None), (39, "both"), (39, "both")]


def test_a_silently_joined_message_gets_the_end_of_that_turn():
    messages, facts, probe = TABLE["taken into the turn without a word"][:3]
    assert reduce(messages, facts, probe).turns[1] == Turn(2, COMPLETED, 20.0, 25, "one for both", prompt="p1")


def test_a_held_prompt_that_was_dropped_is_interrupted():
    # Held by the agent, and idle ever since, with no end after it.
    facts = [TOOK, ended(15, "p1"), accepted(2, 20.2, None, held=True)]
    assert states(reduce([ONE, TWO], facts, idle(20.3))) == [COMPLETED, INTERRUPTED]


@pytest.mark.parametrize("open_", ["a question", "a question, the status not changed yet"])
def test_an_open_question_is_reported(open_):
    messages, facts, probe = TABLE[open_][:3]
    assert reduce(messages, facts, probe).question == ASKED


@pytest.mark.parametrize(
    "settled",
    ["a question that was answered", "a question that a rule settled at once", "declined with Esc"],
)
def test_a_settled_question_is_not_reported(settled):
    messages, facts, probe = TABLE[settled][:3]
    assert reduce(messages, facts, probe).question is None


@pytest.mark.parametrize(
    ("more", "last"),
    [
        ([], (1, COMPLETED, "one")),
        ([Fact("accepted", 30, text="a person's", prompt="p2")], (1, COMPLETED, "one")),
        (
            [Fact("accepted", 30, text="a person's", prompt="p2"), ended(31, "p2", reply="theirs")],
            (0, COMPLETED, "theirs"),
        ),
        ([ended(31, "p2", reply="untold")], (0, COMPLETED, "untold")),
    ],
)
def test_the_last_turn_may_be_somebody_elses(more, last):
    facts = [accepted(1, 10.2, "p1"), ended(20, "p1", reply="one"), *more]
    found = reduce([message(1)], facts, busy(30) if facts[-1].kind == "accepted" else idle(32)).last
    assert (found.number, found.state, found.reply) == last


def test_a_persons_turn_that_was_stopped_is_the_last_one():
    facts = [Fact("accepted", 10, text="a person's", prompt="p1")]
    found = reduce([], facts, idle(12)).last
    assert (found.number, found.state, found.began) == (0, INTERRUPTED, 10)
    # A second report of its end, when another turn begins, does not make it another turn.
    again = reduce([], [*facts, Fact("accepted", 40, text="another", prompt="p2")], busy(40)).last
    assert (again.began, again.prompt) == (found.began, found.prompt)


def test_a_dead_agent_has_no_open_question():
    for row in ("killed while it asks", "killed while a subagent asks"):
        messages, facts, probe = TABLE[row][:3]
        assert reduce(messages, facts, probe).question is None


OWN_HELD = Fact("asked", 12, question=ASKED, held=True)


@pytest.mark.parametrize(
    ("facts", "probe", "open_"),
    [
        ([SUB_ASKS, OWN_HELD], waiting(12.1, question=DIALOG), [SUB, ASKED]),
        ([SUB_ASKS, Fact("asked", 12, question=ASKED)], waiting(12.1), [SUB, ASKED]),  # one at a time, each agent
        ([SUB_ASKS, OWN_HELD], busy(12.5), [SUB]),  # the agent goes on, the subagent waits
        ([SUB_ASKS, OWN_HELD, DONE], busy(10.3), [SUB]),
        ([SUB_ASKS, DONE, Fact("accepted", 30, text="a person's", prompt="p2")], busy(30.1), [SUB]),
        ([SUB_ASKS, DONE, Fact("accepted", 30, text="<task-notification>", prompt="p2")], busy(30.1), [SUB]),
        ([SUB_ASKS, OWN_HELD, Fact("answered", 12, text="q2")], waiting(12.1), [ASKED]),
        ([SUB_ASKS, Fact("revived", 30)], busy(31), []),
    ],
)
def test_a_subagents_question_stays_until_it_is_answered(facts, probe, open_):
    assert list(reduce([ONE], [TOOK, *facts], probe).questions) == open_


def test_a_reported_question_takes_precedence_over_the_probe():
    state = reduce([ONE], [TOOK, Fact("asked", 12, question=ASKED)], waiting(12.1, question=DIALOG))
    assert state.question == ASKED


@pytest.mark.parametrize(
    ("facts", "probe", "error"),
    [
        ([TOOK], gone(20, detail="the agent's process is gone"), "the agent's process is gone"),
        ([TOOK], gone(20), "the agent ended"),
        ([TOOK, Fact("gone", 15, error="it quit")], gone(20, detail="no process"), "it quit"),
    ],
)
def test_the_error_of_an_exited_agent(facts, probe, error):
    state = reduce([ONE], facts, probe)
    assert (state.error, state.turns[0].error) == (error, error)


def test_a_message_that_a_dead_agent_never_took_has_an_error():
    turn = reduce([ONE], [ALIVE], gone(20)).turns[0]
    assert turn.ended == 10.1
    assert "before it took" in (turn.error or "")


def test_a_live_agent_has_no_error():
    assert reduce([ONE], [TOOK, Fact("gone", 15, error="it quit"), Fact("alive", 16)], idle(17)).error is None


def test_background_work_is_counted_until_the_agent_is_at_rest():
    facts = [TOOK, ended(15, "p1", background=2)]
    assert reduce([ONE], facts, Probe(16, True)).background == 2
    assert reduce([ONE], [*facts, ended(40, "w", background=0)], idle(40.1)).background == 0
    assert reduce([ONE], facts, gone(50)).background == 0


def test_equal_texts_are_bound_in_the_order_of_sending():
    messages = [message(1)._replace(wire="again"), message(2)._replace(wire="again")]
    facts = [Fact("accepted", 10.2, text="again", prompt="a"), ended(11, "a", reply="first")]
    assert states(reduce(messages, facts, idle(11, 20.2))) == [COMPLETED, WORKING]
    facts += [Fact("accepted", 20.2, text="again", prompt="b"), ended(21, "b", reply="second")]
    assert [turn.reply for turn in reduce(messages, facts, idle(21)).turns] == ["first", "second"]


def test_a_prompt_from_before_our_attempt_is_not_ours():
    facts = [Fact("accepted", 9.0, text="text 1", prompt="theirs"), ended(9.5, "theirs", reply="for them")]
    assert reduce([ONE], facts, idle(9.6, 10.5)).turns[0].open


def test_a_queued_message_is_not_bound_before_its_attempt():
    queued = message(1, attempted=None, queued=True)
    state = reduce([queued], [accepted(1, 12, "x"), ended(13, "x")], idle(13))
    assert states(state) == [QUEUED]


def test_an_interrupt_that_the_next_prompt_reveals_is_not_in_its_batch():
    # Esc before any output is not recorded; the turn had ended when the next message was created.
    before = reduce([ONE, message(2, receipt=None)], [TOOK], idle(12, 20.1))
    after = reduce([ONE, TWO], [TOOK, accepted(2, 20.3, "p2"), ended(25, "p2")], idle(25))
    assert [turn.number for turn in batch(before.turns)] == [2]
    assert [turn.number for turn in batch(after.turns)] == [2]
    assert verdict(batch(after.turns)).state == COMPLETED


# batch and verdict


def turn(number, state, began, over=None):
    return Turn(number, state, began, over)


@pytest.mark.parametrize(
    ("turns", "numbers"),
    [
        ([], []),
        ([turn(1, COMPLETED, 1, 2)], [1]),
        ([turn(1, COMPLETED, 1, 2), turn(2, COMPLETED, 3, 4)], [2]),
        ([turn(1, COMPLETED, 1, 4), turn(2, COMPLETED, 3, 4)], [1, 2]),
        ([turn(1, WORKING, 1), turn(2, WORKING, 3)], [1, 2]),
        ([turn(1, COMPLETED, 1, 2), turn(2, WORKING, 3), turn(3, QUEUED, 4)], [2, 3]),
        ([turn(1, COMPLETED, 1, 9), turn(2, COMPLETED, 2, 9), turn(3, COMPLETED, 10, 11)], [3]),
        ([turn(1, COMPLETED, 1, 3), turn(2, COMPLETED, 2, 5), turn(3, FAILED, 4, 6)], [1, 2, 3]),
    ],
)
def test_batch(turns, numbers):
    assert [one.number for one in batch(turns)] == numbers


@pytest.mark.parametrize(
    ("turn_states", "worst"),
    [
        ([COMPLETED], 1),
        ([COMPLETED, COMPLETED], 2),
        ([FAILED, COMPLETED], 1),
        ([COMPLETED, INTERRUPTED], 2),
        ([INTERRUPTED, FAILED], 2),
        ([FAILED, EXITED, FAILED], 2),
        ([FAILED, COMPLETED, FAILED], 3),
        ([WAITING, COMPLETED], 1),
        ([WAITING, INTERRUPTED], 2),
    ],
)
def test_verdict(turn_states, worst):
    assert verdict([turn(n, state, n, n + 1.0) for n, state in enumerate(turn_states, 1)]).number == worst


def test_only_queued_running_and_waiting_turns_are_open():
    open_ = {
        state for state in (QUEUED, WORKING, WAITING, COMPLETED, FAILED, INTERRUPTED, EXITED) if turn(1, state, 1).open
    }
    assert open_ == {QUEUED, WORKING, WAITING}
    assert not turn(1, WORKING, 1, 2).open


# Anything at all, in any order

MOMENTS = st.integers(0, 400).map(float)
TEXTS = st.sampled_from(["text 1", "text 2", "text 3", "text 4", "else"])
PROMPTS = st.sampled_from([None, "p1", "p2", "p3"])
QUESTIONS = st.builds(Question, st.just("q"), st.just("question"), st.just("?"), st.just(()), MOMENTS)
FACTS = st.builds(
    Fact,
    st.sampled_from(["accepted", "accepted", "joined", "started", "ended", "ended", "asked", "alive", "gone", "new"]),
    MOMENTS,
    text=TEXTS,
    prompt=PROMPTS,
    outcome=st.sampled_from([COMPLETED, FAILED, INTERRUPTED]),
    reply=st.none() | st.just("r"),
    error=st.none() | st.just("e"),
    background=st.integers(0, 2),
    question=QUESTIONS,
    held=st.booleans(),
)
PROBES = st.builds(
    Probe,
    MOMENTS,
    st.sampled_from([True, True, False, None]),
    st.sampled_from([None, "busy", "idle", "waiting"]),
    MOMENTS,
    st.none() | st.just("detail"),
    st.none() | QUESTIONS,
)


@st.composite
def acts(draw, taken=False):
    found = []
    for number in range(1, draw(st.integers(0, 4)) + 1):
        created = draw(MOMENTS)
        attempted = created if taken else draw(st.none() | st.just(created))
        receipt = "started" if taken else draw(st.sampled_from([None, "started", "accepted"]))
        found.append(message(number, created, attempted=attempted, receipt=receipt, queued=draw(st.booleans())))
    return found


@given(acts(), st.lists(FACTS, max_size=12), PROBES)
def test_total_and_deterministic(messages, facts, probe):
    state = reduce(messages, facts, probe)
    assert [one.number for one in state.turns] == [one.number for one in messages]
    assert reduce(list(messages), iter(facts), probe) == state
    assert state.status in (IDLE, WORKING, WAITING, EXITED)
    assert (state.question is not None) == (state.status == WAITING)
    assert (state.error is not None) == (state.status == EXITED)
    assert state.turn is None or state.turn in [one.number for one in messages]
    for one in state.turns:
        assert one.open == (one.ended is None)
    if state.turns:
        assert verdict(batch(state.turns)) in batch(state.turns)
        assert batch(state.turns)[-1] == state.turns[-1]


@given(acts(taken=True), st.lists(FACTS, max_size=8), st.lists(FACTS, max_size=8))
def test_what_the_agent_ended_stays_ended(messages, facts, later):
    probe = Probe(1.0, True)
    first = reduce(messages, facts, probe)
    second = reduce(messages, [*facts, *later], probe)
    for before, after in zip(first.turns, second.turns, strict=True):
        assert before.open or before == after


@given(acts(), st.lists(FACTS, max_size=10))
def test_a_dead_agent_leaves_no_turn_running(messages, facts):
    state = reduce(messages, facts, gone(500))
    assert {turn.state for turn in state.turns if turn.open} <= {QUEUED}


@st.composite
def stories(draw):
    """A possible history of a session: (messages, facts), each ordered by time."""
    now, messages, facts, running, held = 1.0, [], [Fact("alive", 0.5)], None, []
    for step in draw(st.lists(st.sampled_from(["send", "end", "fail", "interrupt", "ask", "join"]), max_size=12)):
        now += draw(st.sampled_from([0.5, 3.0]))
        if step == "send":
            number = len(messages) + 1
            messages.append(message(number, now))
            prompt = running or f"p{number}"
            facts.append(accepted(number, now + 0.2, prompt))
            held += [number] if running else []
            running = prompt
        elif running and step == "join" and held:
            facts.append(Fact("joined", now, text=f"text {held.pop(0)}"))
        elif running and step == "ask":
            facts.append(Fact("asked", now, question=ASKED._replace(since=now)))
        elif running and step in ("end", "fail", "interrupt"):
            outcome = {"end": COMPLETED, "fail": FAILED, "interrupt": INTERRUPTED}[step]
            facts.append(ended(now, running, outcome))
            running = f"q{held[-1]}" if held else None
            facts += [Fact("started", now + 0.1, text=f"text {number}", prompt=f"q{number}") for number in held]
            held = []
    return messages, facts


@given(stories())
def test_a_wait_before_during_or_after_the_end_returns_the_same_turns(story):
    messages, facts = story
    if not messages:
        return
    last = messages[-1].created
    moments = [last, *(fact.at for fact in facts if fact.at >= last)]
    spoken = set()
    for now in moments:
        known = [fact for fact in facts if fact.at <= now]
        state = reduce([one for one in messages if one.created <= now], known, Probe(now, True))
        spoken.add(tuple(one.number for one in batch(state.turns)))
    assert len(spoken) == 1


@pytest.mark.parametrize(
    ("probe", "state"),
    [
        (idle(9, 10.5), WORKING),  # its sender is at work
        (idle(9, 500), FAILED),  # its sender was killed before it pressed a key
        (gone(11), EXITED),
    ],
)
def test_a_message_that_its_sender_never_delivered(probe, state):
    turn = reduce([ONE._replace(attempted=None, receipt=None)], [ALIVE], probe).turns[0]
    assert turn.state == state
    assert turn.open == (state == WORKING)


# An agent that was restarted.

REVIVED = Fact("revived", 30.0)
UP, UP_AGAIN = Fact("alive", 1.0), Fact("alive", 31.0)


@pytest.mark.parametrize("word", [[UP_AGAIN], []], ids=["it says so", "without a word"])
@pytest.mark.parametrize("probe", [Probe(31.5, True), idle(31.2, 31.5), busy(31.2, 31.5)], ids=["none", "idle", "busy"])
def test_a_revival_interrupts_the_open_turn(word, probe):
    state = reduce([message(1)], [UP, accepted(1, 10.2, "p1"), REVIVED, *word], probe)
    assert (state.turns[0].state, state.turns[0].ended) == (INTERRUPTED, 30.0)
    assert "was restarted" in state.turns[0].error


def test_a_revival_does_not_change_an_ended_turn():
    facts = [UP, accepted(1, 10.2, "p1"), ended(11, "p1", reply="done"), REVIVED, UP_AGAIN]
    assert reduce([message(1)], facts, idle(31.2)).turns[0][1:5] == (COMPLETED, 10.0, 11, "done")


def test_a_revival_fails_an_untaken_message_and_keeps_a_queued_one():
    messages = [message(1, receipt=None), message(2, receipt="started"), message(3, 25.0, attempted=None, queued=True)]
    state = reduce(messages, [UP, REVIVED, UP_AGAIN], idle(31.2, 31.5))
    assert states(state) == [FAILED, INTERRUPTED, QUEUED]
    assert "before it took the message" in state.turns[0].error


def test_a_later_revival_does_not_change_turns_that_an_earlier_one_interrupted():
    messages = [message(1, receipt=None), message(2, receipt="started")]
    once, again = [UP, REVIVED, UP_AGAIN], [UP, REVIVED, UP_AGAIN, Fact("revived", 500.0), Fact("alive", 501.0)]
    first = reduce(messages, once, idle(31.2, 31.5)).turns
    assert [turn.ended for turn in first] == [30.0, 30.0]
    assert reduce(messages, again, idle(501.2, 501.5)).turns == first


@pytest.mark.parametrize("late", [31.5, 30.0 + AWAKE_SECONDS])
def test_a_revived_agent_may_report_its_start_after_its_first_prompt(late):
    messages = [message(1), message(2, 31.1, attempted=31.1)]
    facts = [UP, accepted(1, 10.2, "p1"), REVIVED, accepted(2, 31.2, "p2"), Fact("alive", late)]
    assert states(reduce(messages, facts, busy(31.2, late))) == [INTERRUPTED, WORKING]


def test_a_later_start_by_somebody_else_ends_the_running_turn():
    messages = [message(1), message(2, 31.1, attempted=31.1)]
    facts = [UP, REVIVED, UP_AGAIN, accepted(2, 31.2, "p2"), Fact("alive", 31.0 + AWAKE_SECONDS)]
    assert states(reduce(messages[1:], facts, idle(31.0 + AWAKE_SECONDS)))[0] == EXITED


def test_a_revival_closes_questions_and_a_dialog_at_the_start_is_reported_at_once():
    facts = [UP, accepted(1, 10.2, "p1"), Fact("asked", 12.0, prompt="p1", question=ASKED), REVIVED]
    state = reduce([message(1)], facts, Probe(30.5, True, "waiting", 30.4, question=DIALOG))
    assert (state.status, state.question) == (WAITING, DIALOG)
    assert reduce([message(1)], facts, idle(31.2)).question is None


def test_the_error_of_an_earlier_end_is_forgotten():
    facts = [UP, Fact("gone", 20.0, error="the agent ended itself"), REVIVED, UP_AGAIN]
    assert reduce([], facts, idle(31.2)).error is None
    assert reduce([], facts, gone(40, detail="killed")).error == "killed"


# An agent that says it ends.


def test_an_agent_that_reports_its_end_has_exited_even_if_its_process_runs():
    facts = [UP, accepted(1, 10.2, "p1"), Fact("gone", 20.0, error="by a signal")]
    state = reduce([message(1)], facts, busy(10.3, 20.1))
    assert (state.status, states(state), state.error) == (EXITED, [EXITED], "by a signal")


def test_an_agent_that_still_runs_later_has_not_exited():
    facts = [UP, accepted(1, 10.2, "p1"), Fact("gone", 20.0, error="by a signal")]
    assert reduce([message(1)], facts, busy(10.3, 20.1 + ENDING_SECONDS)).status == WORKING
