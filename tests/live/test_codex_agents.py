"""Subagents of the real Codex: our turn is over when theirs are, and the session asks their questions.

Tested with both kinds of subagent tools that Codex has; the model determines which kind Codex offers.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from codex_lab import NEWER_TOOLS, OLDER_TOOLS, CodexLab, subagent
from soak import only_in_soak

KINDS = pytest.mark.parametrize("model", [OLDER_TOOLS, NEWER_TOOLS])
# We end subagents in the same way with either kind of tools.
MOSTLY_NEWER = pytest.mark.parametrize("model", [pytest.param(OLDER_TOOLS, marks=only_in_soak), NEWER_TOOLS])


@pytest.fixture
def lab(codex_shared: CodexLab) -> CodexLab:
    return codex_shared


def status(lab: CodexLab, id: str) -> dict[str, Any]:
    return dict(json.loads(lab.ok("status", id, "--json")))


@KINDS
def test_a_turn_is_over_when_its_subagents_are(lab: CodexLab, model: str) -> None:
    id = lab.create("--model", model)
    hold = f"one-{model}"
    lab.ok("send", id, f"{subagent(model, f'[[hold: {hold}]][[reply: of the subagent]]')}[[reply: so far]]")
    assert lab.model.wait_until_blocked(hold)
    lab.until(lambda: lab.answered(id) == 1, "the agent's own part is over")
    assert status(lab, id)["status"] == "working"
    assert lab.run("wait", id, "--timeout", "0.5").code == 124
    assert lab.run("last-message", id).out == ""
    assert json.loads(lab.ok("send", id, "[[reply: after all]]", "--json"))["receipt"] == "accepted"
    assert json.loads(lab.ok("send", id, "[[reply: last]]", "--queue", "--json"))["receipt"] == "queued"
    lab.until(lambda: lab.answered(id) == 2, "the answer to the second message")
    assert [status(lab, id)[name] for name in ("status", "turn", "queued")] == ["working", 1, [3]]
    wait = lab.start("wait", id, "--json")
    lab.until(lambda: lab.is_waiting(wait.pid), "the wait")
    lab.model.release(hold)
    done = json.loads(lab.finish(wait).out)
    told = [(turn["turn"], turn["outcome"], turn["reply"]) for turn in done["turns"]]
    assert told in (
        [(1, "completed", "after all"), (2, "completed", "after all"), (3, "completed", "last")],
        [(3, "completed", "last")],
    )
    logged = json.loads(lab.ok("logs", id, "--json"))
    said = [(entry["turn"], entry["text"]) for entry in logged if entry["kind"] == "message"]
    assert [text for _, text in said if text in ("so far", "after all", "last")] == ["so far", "after all", "last"]
    assert "of the subagent" not in [text for _, text in said]
    assert status(lab, id)["status"] == "idle"


@KINDS
def test_what_subagents_ask_is_seen_and_answered(lab: CodexLab, model: str) -> None:
    id = lab.create("--model", model, "--permissions", "ask")
    asking, made = "[[bash: python3 -c 'print({})']]", subagent(model, "[[bash: python3 -c 'print(1)']][[replytool]]")
    lab.ok("send", id, f"{made}[[reply: so far]]")
    waited = lab.run("wait", id, "--json")
    assert waited.code == 6
    asked = waited.json["question"]
    assert "print(1)" in asked["text"]
    assert asked["agent"]["id"] != lab.private(id)["thread"]
    name = asked["agent"]["type"]  # with the older tools, Codex invents it
    assert name == "/root/look_up" if model == NEWER_TOOLS else name
    assert json.loads(lab.ok("pending", "--json")) == [{"session": id, **asked}]
    assert lab.run("send", id, "and now?").code == 6
    assert lab.ok("respond", id, "--allow", "--question", asked["id"]) == (
        f"answered (permission of its subagent {name})"
    )
    assert lab.ok("wait", id) == "completed"
    # The agent itself asks something too.
    lab.ok("send", id, f"{made.replace('look_up', 'again')}{asking.format(2)}[[reply: both]]")
    lab.until(lambda: len(json.loads(lab.ok("pending", "--json"))) == 2, "both questions")
    both = {("print(1)" in one["text"]): one for one in json.loads(lab.ok("pending", "--json"))}
    assert both[False]["agent"] is None
    lab.ok("respond", id, "--deny", "--question", both[True]["id"])
    assert [one["id"] for one in json.loads(lab.ok("pending", "--json"))] == [both[False]["id"]]
    lab.ok("respond", id, "--allow", "--question", both[False]["id"])
    assert lab.ok("ask", id, "[[reply: well]]") == "well"
    lab.ok("kill", id)


@MOSTLY_NEWER
def test_an_interrupt_ends_them_too_and_a_kill(lab: CodexLab, model: str) -> None:
    id = lab.create("--model", model)
    for own, number in (("[[reply: so far]]", "6001"), (f"[[hold: own-{model}]]", "6002")):
        lab.ok("send", id, f"{subagent(model, f'[[bash: exec sleep {number}]]', f'a{number}')}{own}")
        lab.until(lambda number=number: lab.running(number), "the subagent's command")
        if own.startswith("[[reply"):
            lab.until(lambda: lab.answered(id) == 1, "the agent's own part is over")
        assert lab.ok("interrupt", id) == "interrupted"
        assert lab.running(number) == []
        assert status(lab, id)["status"] == "idle"
        waited = lab.run("wait", id, "--json")
        assert (waited.code, waited.json["outcome"]) == (5, "interrupted")
    assert lab.ok("ask", id, "[[reply: goes on]]") == "goes on"
    lab.ok("send", id, f"{subagent(model, '[[bash: exec sleep 6003]]', 'b')}[[reply: so far]]")
    lab.until(lambda: lab.running("6003"), "the subagent's command")
    lab.ok("kill", id)
    assert lab.running("6003") == []


@MOSTLY_NEWER
def test_commands_left_running_do_not_hold_the_turn_but_are_counted(lab: CodexLab, model: str) -> None:
    id, gate = lab.create("--model", model), lab.project / f"gate-{model}"
    os.mkfifo(gate)
    task = f"[[bash_bg: cat {gate}]][[reply: left it]]"
    assert lab.ok("ask", id, f"{subagent(model, task)}[[reply: so far]]") == "so far"
    assert [status(lab, id)[name] for name in ("status", "background")] == ["idle", 1]
    assert lab.run("wait", id, "--settled", "--timeout", "0.5").code == 124
    gate.write_text("over")
    assert lab.ok("wait", id, "--settled") == "completed"
    assert lab.ok("ask", id, f"[[bash_bg: cat {gate}]][[reply: left it]]") == "left it"
    assert status(lab, id)["background"] == 1
    gate.write_text("over")
    assert lab.ok("wait", id, "--settled") == "completed"


@MOSTLY_NEWER
def test_the_turn_is_cut_when_the_server_dies_under_them(codex_lab: CodexLab, model: str) -> None:
    lab = codex_lab
    id = lab.create("--model", model)
    lab.ok("send", id, f"{subagent(model, '[[hold: never]]')}[[reply: so far]]")
    assert lab.model.wait_until_blocked("never")
    lab.until(lambda: lab.answered(id) == 1, "the agent's own part is over")
    wait = lab.start("wait", id, "--json")
    lab.until(lambda: lab.is_waiting(wait.pid), "the wait")
    os.kill(lab.servers()[0], signal.SIGKILL)
    done = lab.finish(wait)
    assert (done.code, json.loads(done.out)["error"]) == (5, "the Codex app-server ended in the middle of the turn")
    assert status(lab, id)["status"] == "idle"
    assert lab.ok("ask", id, "[[reply: back]]") == "back"
    turns = lab.run("wait", id, "--turn", "1", "--json").json["turns"]
    assert [turn["outcome"] for turn in turns] == ["interrupted"]
