"""`wait --next-turn` with the real Claude Code, for turns begun by us or by a person."""

from __future__ import annotations

import json

from lab import Lab, is_waiting


def test_a_persons_turn_and_ours(lab: Lab) -> None:
    id = lab.create()
    waiting = lab.start("wait", id, "--next-turn", "--interval", "600", "--json")
    lab.until(lambda: is_waiting(waiting.pid), "the wait to begin")
    lab.keys(id, "[[hold: a]][[reply: theirs]] ")
    lab.until(lambda: "theirs" in lab.screen(id), "the typed prompt")
    lab.keys(id, "Enter")
    assert lab.model.wait_until_blocked("a")
    assert waiting.poll() is None
    lab.model.release("a")
    told = lab.finish(waiting).json
    assert (told["outcome"], told["turn"]) == ("completed", None)
    assert [(turn["turn"], turn["reply"]) for turn in told["turns"]] == [(None, "theirs")]
    assert lab.run("wait", id, "--next-turn", "--timeout", "0.1")[:2] == (124, "working\n")  # that turn is over
    waiting = lab.start("wait", id, "--next-turn", "--interval", "600", "--json")
    lab.until(lambda: lab.ok("ask", id, "[[reply: ours]]") and waiting.poll() is not None, "its end")
    told = json.loads(lab.finish(waiting).out)
    assert [(turn["turn"], turn["reply"]) for turn in told["turns"]] == [(told["turn"], "ours")]
    assert lab.run("wait", id, "--goal").code == 4


def test_a_turn_that_a_person_stops(lab: Lab) -> None:
    id = lab.create()
    lab.ok("send", id, "[[hold: a]][[reply: x]]")
    assert lab.model.wait_until_blocked("a")
    waiting = lab.start("wait", id, "--next-turn")
    assert lab.run("wait", id, "--next-turn", "--timeout", "0.5").code == 124
    lab.keys(id, "Escape")
    done = lab.finish(waiting)
    assert (done.code, done.out) == (5, "interrupted\n")
