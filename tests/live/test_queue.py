"""`send --queue` with the real Claude Code: each queued message arrives once, in order, as a separate turn."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from lab import Lab
from soak import only_in_soak

QUEUED = [f"[[reply: reply {word}]]\nqueued {word}\nwith\nfour lines" for word in ("one", "two")]


def couriers(lab: Lab) -> list[int]:
    """Pids of the couriers that are running in a lab."""
    return lab.running("dev_sessions", "courier")


def no_courier(lab: Lab) -> None:
    lab.until(lambda: not couriers(lab), "the end of the courier")


def hold_and_queue(lab: Lab, id: str, gate: str, after: str = "[[reply: first]]") -> int:
    """Hold a turn at `gate` and queue two messages after it; return the first turn's number."""
    told = lab.run("send", id, "--json", f"[[hold: {gate}]]{after}").json
    first = int(told["turn"])
    assert lab.model.wait_until_blocked(gate)
    for number, text in enumerate(QUEUED, 1):
        queued = lab.run("send", id, "--queue", "--json", text)
        assert queued.code == 0
        assert queued.json == {
            "session": id,
            "turn": first + number,
            "receipt": "queued",
            "via": "terminal",
            "request_id": queued.json["request_id"],
        }
    status = lab.run("status", id, "--json").json
    assert (status["status"], status["turn"]) == ("working", first)
    assert status["queued"] == [first + 1, first + 2]
    return first


def check_delivered(lab: Lab, id: str, first: int, before: list[str], outcome: str) -> None:
    """Check that all is over: two separate turns, in order, each with its own reply; no courier is left running."""
    # The transcript may have a note about the first turn's interrupt, or nothing.
    ours = ("[[hold", "[Request interrupted")
    lab.until(lambda: QUEUED[-1] in lab.prompts(id)[len(before) :], "the last prompt in the transcript")
    assert [prompt for prompt in lab.prompts(id)[len(before) :] if not prompt.startswith(ours)] == QUEUED
    status = lab.run("status", id)
    assert (status.out, status.err) == ("idle\n", "")
    assert lab.run("status", id, "--json").json["queued"] == []
    own = [lab.run("wait", id, "--turn", str(first + number), "--json") for number in range(3)]
    assert [done.json["outcome"] for done in own] == [outcome, "completed", "completed"]
    assert [done.code for done in own] == [0 if outcome == "completed" else 5, 0, 0]
    replies = [done.json["turns"][0]["reply"] for done in own[1:]]
    assert replies == ["reply one", "reply two"]
    assert own_turns(lab) == QUEUED
    no_courier(lab)


def own_turns(lab: Lab) -> list[str]:
    """The queued prompts as the model received them, each as the last text of a request."""
    prompts = [request.prompt for request in lab.model.requests if not request.side]
    newest = [prompt for prompt in prompts if prompt in QUEUED]
    return newest[-len(QUEUED) :]


def test_behind_a_turn_that_ends(shared: Lab, talker: str) -> None:
    before = shared.prompts(talker)
    first = hold_and_queue(shared, talker, "ends")
    early = shared.start("wait", talker, "--json")
    shared.model.release("ends")
    over = shared.finish(early)
    late = shared.run("wait", talker, "--json")
    assert over.code == late.code == 0
    assert json.loads(over.out) == late.json
    assert late.json["outcome"] == "completed"
    assert late.json["turn"] == first + 2
    assert late.json["turns"] == [
        {
            "turn": first + number,
            "outcome": "completed",
            "reply": reply,
            "error": None,
            "reason": None,
            "resets_at": None,
        }
        for number, reply in enumerate(("first", "reply one", "reply two"))
    ]
    check_delivered(shared, talker, first, before, "completed")


def test_behind_a_turn_that_a_person_ends_with_esc(shared: Lab, talker: str) -> None:
    before = shared.prompts(talker)
    first = hold_and_queue(shared, talker, "escaped", "[[reply: never]]")
    early = shared.start("wait", talker, "--json")
    shared.keys(talker, "Escape")
    over = shared.finish(early)
    assert over.code == 5, over
    told = json.loads(over.out)
    assert (told["outcome"], told["turn"]) == ("interrupted", first)
    assert [turn["outcome"] for turn in told["turns"]] == ["interrupted", "completed", "completed"]
    assert shared.run("wait", talker, "--json").json == told
    check_delivered(shared, talker, first, before, "interrupted")


@only_in_soak
def test_behind_a_turn_that_fails(shared: Lab, talker: str) -> None:
    before = shared.prompts(talker)
    first = hold_and_queue(shared, talker, "fails", "[[error: 400]]")
    shared.model.release("fails")
    over = shared.run("wait", talker, "--json")
    assert over.code == 5, over
    assert (over.json["outcome"], over.json["turn"]) == ("failed", first)
    assert "scripted error 400" in over.json["error"]
    assert [turn["outcome"] for turn in over.json["turns"]] == ["failed", "completed", "completed"]
    assert shared.run("wait", talker, "--json").json == over.json
    check_delivered(shared, talker, first, before, "failed")


def kill_courier(lab: Lab, id: str) -> None:
    """Kill the courier as a crash would, once its pid is known."""

    def known() -> Any:
        path = lab.folder(id) / "courier.json"
        return path.exists() and json.loads(path.read_text())["pid"] in couriers(lab)

    lab.until(known, "the courier's name")
    os.kill(json.loads((lab.folder(id) / "courier.json").read_text())["pid"], signal.SIGKILL)
    no_courier(lab)


def test_killed_courier_is_told_and_replaced_by_the_named_command(shared: Lab, talker: str) -> None:
    before = shared.prompts(talker)
    first = hold_and_queue(shared, talker, "killed-1")
    kill_courier(shared, talker)
    shared.model.release("killed-1")
    shared.until(lambda: shared.run("status", talker, "--json").json["status"] == "idle", "the end of the turn")
    status = shared.run("status", talker)
    assert (status.code, status.out) == (0, "idle\n")
    command = f"dev-sessions send {talker} --queue"
    assert "2 queued" in status.err
    assert command in status.err
    assert len(shared.prompts(talker)) == len(before) + 1
    told = shared.run(*command.split()[1:], "--json")
    assert told.code == 0
    assert (told.json["receipt"], told.json["turn"]) == ("queued", first + 2)
    assert shared.ok("wait", talker) == "completed"
    check_delivered(shared, talker, first, before, "completed")


def test_killed_courier_is_replaced_by_a_plain_wait(shared: Lab, talker: str) -> None:
    before = shared.prompts(talker)
    first = hold_and_queue(shared, talker, "killed-2")
    early = shared.start("wait", talker)
    kill_courier(shared, talker)
    shared.model.release("killed-2")
    assert shared.finish(early)[:2] == (0, "completed\n")
    check_delivered(shared, talker, first, before, "completed")


@only_in_soak
def test_killed_courier_is_replaced_by_the_next_queued_send(shared: Lab, talker: str) -> None:
    before = shared.prompts(talker)
    first = hold_and_queue(shared, talker, "killed-3")
    kill_courier(shared, talker)
    again = shared.run("send", talker, "--queue", "--json", "[[reply: reply three]]").json
    assert (again["receipt"], again["turn"]) == ("queued", first + 3)
    shared.model.release("killed-3")
    over = shared.run("wait", talker, "--json")
    assert [turn["reply"] for turn in over.json["turns"]] == [
        "first",
        "reply one",
        "reply two",
        "reply three",
    ]
    assert shared.prompts_since(talker, before, 4)[1:] == [*QUEUED, "[[reply: reply three]]"]
    no_courier(shared)


def test_courier_killed_between_two_messages(shared: Lab, talker: str) -> None:
    """It is killed while the first queued message runs: that message is not sent again, and the others are not lost."""
    before = shared.prompts(talker)
    shared.ok("send", talker, "[[hold: between]][[reply: first]]")
    assert shared.model.wait_until_blocked("between")
    texts = ["[[hold: second]][[reply: b]]", "[[reply: c]]"]
    for text in texts:
        shared.ok("send", talker, "--queue", text)
    shared.model.release("between")
    assert shared.model.wait_until_blocked("second")
    kill_courier(shared, talker)
    shared.model.release("second")
    assert shared.ok("wait", talker) == "completed"
    assert shared.ok("last-message", talker) == "c"
    assert shared.prompts_since(talker, before, 3)[1:] == texts
    no_courier(shared)


def test_queue_on_an_idle_session_delivers_at_once(shared: Lab, talker: str) -> None:
    shared.ok("wait", talker)
    before = shared.prompts(talker)
    told = shared.run("send", talker, "--queue", "--json", "[[reply: at once]]").json
    assert told["receipt"] == "started"
    assert shared.ok("wait", talker) == "completed"
    assert shared.ok("last-message", talker) == "at once"
    assert shared.prompts_since(talker, before, 1) == ["[[reply: at once]]"]
    assert couriers(shared) == []


@only_in_soak
def test_same_request_id_of_a_queued_message(shared: Lab, talker: str) -> None:
    shared.ok("wait", talker)
    before = shared.prompts(talker)
    shared.ok("send", talker, "[[hold: same]][[reply: first]]")
    assert shared.model.wait_until_blocked("same")
    words = ("send", talker, "--queue", "--json", "--request-id", "queued-once", "[[reply: queued once]]")
    first, second = shared.run(*words), shared.run(*words)
    assert first.code == 0
    assert first.json == second.json
    shared.model.release("same")
    assert shared.ok("wait", talker) == "completed"
    later = shared.run(*words)
    assert later.code == 0
    assert later.json["turn"] == first.json["turn"]
    assert shared.ok("wait", talker) == "completed"
    assert shared.prompts_since(talker, before, 2)[1:] == ["[[reply: queued once]]"]
    no_courier(shared)


def test_plain_send_does_not_overtake_or_lose_what_is_queued(shared: Lab, talker: str) -> None:
    """The running turn accepts a plain send while others are queued; each message still arrives once."""
    shared.ok("wait", talker)
    before = shared.prompts(talker)
    shared.ok("send", talker, "[[hold: mixed]][[reply: first]]")
    assert shared.model.wait_until_blocked("mixed")
    queued = shared.run("send", talker, "--queue", "--json", "[[reply: queued]]").json
    joined = shared.run("send", talker, "--json", "[[reply: joined]]").json
    assert (queued["receipt"], joined["receipt"]) == ("queued", "accepted")
    assert joined["turn"] == queued["turn"] + 1
    shared.model.release("mixed")
    over = shared.run("wait", talker, "--json")
    assert over.code == 0
    replies = {turn["turn"]: turn["reply"] for turn in over.json["turns"]}
    assert replies[queued["turn"]] == "queued"
    assert replies[joined["turn"]] == "joined"
    new = shared.prompts_since(talker, before, 3)
    assert sorted(new) == sorted(["[[hold: mixed]][[reply: first]]", "[[reply: joined]]", "[[reply: queued]]"])
    no_courier(shared)


def answer(lab: Lab, id: str, key: str) -> None:
    """Answer an open question as an attached person does; Claude ignores keys when a dialog has only just appeared."""
    pressed = 0.0

    def answered() -> bool:
        nonlocal pressed
        if time.monotonic() - pressed > 1.5 and "❯ 1." in lab.screen(id):
            lab.keys(id, key)
            pressed = time.monotonic()
        return lab.ok("status", id) != "waiting_for_input"

    lab.until(answered, "the end of the question")


def test_queued_behind_a_question(shared: Lab, talker: str) -> None:
    """While a question is open, nothing is typed into it, and the queue continues once it is answered."""
    shared.ok("wait", talker)
    before = shared.prompts(talker)
    shared.ok("send", talker, "[[ask: Left or right?|Left|Right]][[replytool: 200]]")
    assert shared.run("wait", talker).code == 6
    told = shared.run("send", talker, "--queue", "--json", "[[reply: after the question]]")
    assert (told.code, told.json["receipt"]) == (0, "queued")
    asked = shared.run("wait", talker, "--json")
    assert (asked.code, asked.json["outcome"]) == (6, "waiting_for_input")
    assert shared.run("status", talker, "--json").json["queued"] == [told.json["turn"]]
    answer(shared, talker, "2")
    assert shared.ok("wait", talker) == "completed"
    assert shared.ok("last-message", talker) == "after the question"
    assert "Right" in shared.ok("last-message", talker, "-n", "2")
    assert len(shared.prompts_since(talker, before, 2)) == 2
    no_courier(shared)


@only_in_soak
def test_kill_leaves_no_courier(shared: Lab) -> None:
    id = shared.create()
    hold_and_queue(shared, id, "kept")
    shared.until(lambda: couriers(shared), "a courier")
    shared.ok("kill", id)
    no_courier(shared)


def test_agent_dies_with_messages_queued(shared: Lab) -> None:
    id = shared.create()
    first = hold_and_queue(shared, id, "died")
    waiting = shared.start("wait", id)
    os.kill(shared.pid(id), signal.SIGKILL)
    over = shared.finish(waiting)
    assert (over.code, over.out) == (5, "exited\n")
    no_courier(shared)
    status = shared.run("status", id)
    assert (status.code, status.out) == (0, "exited\n")
    assert "2 queued message(s) were not delivered" in status.err
    assert shared.run("status", id, "--json").json["queued"] == [first + 1, first + 2]
    again = shared.run("send", id, "--queue")
    assert again.code == 5
    assert couriers(shared) == []
    shared.ok("kill", id)
