"""`respond`: answers through Claude's own channel, for the question that is open."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lab import Done, Lab
from soak import size

# How often a person and `respond` answer at the same moment.
RACES = size(2, 30)


def question(lab: Lab, id: str) -> dict[str, Any]:
    """The open question, as `wait` reports it."""
    waited = lab.run("wait", id, "--json")
    assert waited.code == 6, waited
    found: dict[str, Any] = waited.json["question"]
    return found


def told(lab: Lab, id: str) -> str:
    """The reply that ends the same turn."""
    waited = lab.run("wait", id, "--json")
    assert waited.code == 0, waited
    return str(waited.json["turns"][-1]["reply"])


def shown(lab: Lab, id: str, words: str) -> None:
    lab.until(lambda: words in lab.screen(id), f"the dialog with {words!r}")


def test_permission(shared: Lab, asker: str) -> None:
    lab, id = shared, asker
    lab.ok("send", id, "[[bash: touch one]][[reply: Made.]]")
    asked = question(lab, id)
    assert (asked["kind"], asked["text"]) == ("permission", "Bash: touch one")
    assert [option["label"] for option in asked["options"]] == ["allow", "always", "deny"]
    assert lab.ok("respond", id, "--allow") == "answered (permission)"
    assert told(lab, id) == "Made."
    assert (lab.project / "one").exists()

    lab.ok("send", id, "[[bash: touch two]][[replytool]]")
    question(lab, id)
    lab.ok("respond", id, "--deny", "not before the tests pass")
    assert "not before the tests pass" in told(lab, id)
    assert not (lab.project / "two").exists()

    lab.ok("send", id, "[[bash: touch three]][[bash: touch three]][[bash: touch four]][[reply: Both.]]")
    question(lab, id)
    lab.ok("respond", id, "--always")
    assert question(lab, id)["text"] == "Bash: touch four"  # a question about another command, not the same
    lab.ok("respond", id, "--allow")
    assert told(lab, id) == "Both."
    assert (lab.project / "four").exists()
    assert lab.hooks() == []

    inside, beside = lab.project / "inside.txt", lab.project / "beside.txt"
    lab.ok("send", id, f"[[write: {inside}|1]][[read: {inside}]][[write: {inside}|2]][[write: {beside}|3]][[reply: W]]")
    question(lab, id)
    lab.ok("respond", id, "--always")
    assert str(beside) in question(lab, id)["text"]
    lab.ok("respond", id, "--allow")
    assert told(lab, id) == "W"
    assert inside.read_text() == "2"
    assert not (lab.project / ".claude").exists()  # where Claude would store it for every session
    kept = [path.name for path in (lab.folder(id) / "agent" / "questions").iterdir()]
    assert len(kept) == 1, kept  # only the last answer, because Claude's hooks search the folder


def test_questions(shared: Lab, talker: str) -> None:
    """Asked with any permissions: one and several, single and multiple choice, and with a free text answer."""
    lab, id = shared, talker
    lab.ok("send", id, "[[ask: Which colour?|Red|Blue]][[replytool]]")
    asked = question(lab, id)
    assert asked["kind"] == "question"
    assert [option["label"] for option in asked["parts"][0]["options"]] == ["Red", "Blue"]
    lab.ok("respond", id, "--choose", "2")
    assert "Blue" in told(lab, id)

    lab.ok("send", id, "[[ask: Which colour?|Red|Blue]][[replytool]]")
    question(lab, id)
    lab.ok("respond", id, "--text", 'Green, if it\'s "cheap"')
    assert "Green, if it's" in told(lab, id)

    lab.ok("send", id, f"[[tool: AskUserQuestion {json.dumps({'questions': TWO})}]][[replytool]]")
    asked = question(lab, id)
    assert [part["multiple"] for part in asked["parts"]] == [True, False]
    refused = lab.run("respond", id, "--choose", "1.1")
    assert refused.code == 2
    assert "question 2 of 2" in refused.err
    lab.ok("respond", id, "--choose", "1.1", "--choose", "1.Large", "--choose", "2.2")
    reply = told(lab, id)
    assert "Small, Large" in reply
    assert "Paper" in reply

    lab.ok("send", id, f"[[tool: AskUserQuestion {json.dumps({'questions': TWO})}]][[replytool]]")
    question(lab, id)
    lab.ok("respond", id, "--answers", "-", stdin=json.dumps([["Large"], "Bamboo"]))
    reply = told(lab, id)
    assert "Large" in reply
    assert "Bamboo" in reply


TWO = [
    {
        "question": question,
        "header": "Choice",
        "multiSelect": several,
        "options": [{"label": label, "description": f"Take {label}"} for label in labels],
    }
    for question, several, labels in (
        ("Which sizes?", True, ["Small", "Large"]),
        ("Of what?", False, ["Wood", "Paper"]),
    )
]


def test_plan(lab: Lab) -> None:
    id = lab.create("--permissions", "plan")
    lab.ok("send", id, "[[plan: # First]][[replytool]]")
    assert question(lab, id)["kind"] == "plan"
    lab.ok("respond", id, "--deny", "think again")
    assert "think again" in told(lab, id)
    # The model writes its plan to the file that Claude names; its question does not contain the plan.
    plan = "\n".join(["# Second", *(f"{number}. a step of many" for number in range(200))])
    (written,) = set(re.findall(r"/[^\s\"\\]+/plans/[^\s\"\\]+\.md", json.dumps(lab.model.requests[-1].body)))
    lab.ok("send", id, f"[[write: {written}|{plan}]][[plan: # Second]][[bash: touch planned]][[reply: Done.]]")
    asked = question(lab, id)
    assert (asked["kind"], asked["text"]) == ("plan", plan)
    lab.ok("respond", id, "--allow")
    assert question(lab, id)["text"] == "Bash: touch planned"
    lab.ok("respond", id, "--allow")
    assert told(lab, id) == "Done."


def test_a_person_was_first(shared: Lab, asker: str) -> None:
    lab, id = shared, asker
    lab.ok("send", id, "[[bash: touch first]][[hold: on]][[reply: Made.]]")
    asked = question(lab, id)
    shown(lab, id, "1. Yes")
    pressed(lab, id, "1")
    late = lab.run("respond", id, "--deny", "no", "--question", asked["id"], "--json")
    assert (late.code, late.json["error"]["code"]) == (1, "question_gone")
    lab.until((lab.project / "first").exists, "what the person allowed")
    subprocess.run(["curl", "-s", "-X", "POST", f"{lab.model.url}/control/release/on"], check=True)
    assert told(lab, id) == "Made."
    lab.until(lambda: not lab.hooks(), "the end of the hook that nobody answered")
    assert lab.run("respond", id, "--allow").code == 1


def pressed(lab: Lab, id: str, key: str) -> None:
    """Press a key, as a person does, again if it was too early for the dialog."""

    def gone() -> bool:
        lab.keys(id, key)
        return lab.ok("status", id) != "waiting_for_input"

    lab.until(gone, "the end of the dialog")


@pytest.mark.soak
def test_a_person_and_respond_in_the_same_instant(shared: Lab, asker: str) -> None:
    """One answer counts, and `respond` reports which; neither affects the next question."""
    lab, id = shared, asker
    for number in range(RACES):
        made = lab.project / f"file{number}"
        lab.ok("send", id, f"[[bash: touch {made.name}]][[replytool]]")
        asked = question(lab, id)
        shown(lab, id, "1. Yes")
        with ThreadPoolExecutor(2) as pool:
            answered = pool.submit(lab.run, "respond", id, "--deny", "denied by us", "--question", asked["id"])
            # The command takes some time to start: the key is pressed before, during and after its answer.
            for _ in range(number % 5):
                lab.ok("status", id)
            if lab.run("status", id, "--json").json["question"] is not None:
                lab.keys(id, "1")
            done: Done = answered.result()
        reply = told(lab, id)
        assert (done.code == 0) == ("denied by us" in reply), (number, done, reply)
        assert (done.code == 0) != made.exists(), (number, done)
        lab.keys(id, "C-u")  # a "1" that came too late for the dialog becomes a draft in the input box


def test_the_hook_was_killed(shared: Lab, asker: str) -> None:
    """The question is still reported, and the error names another way to answer it; a key works."""
    lab, id = shared, asker
    lab.ok("send", id, "[[bash: touch hookless]][[reply: Made.]]")
    asked = question(lab, id)
    shown(lab, id, "1. Yes")
    for pid in lab.hooks():
        os.kill(pid, signal.SIGKILL)
    lab.until(lambda: not lab.hooks(), "the end of the hook")
    refused = lab.run("respond", id, "--allow")
    assert refused.code == 1, refused
    assert all(words in refused.err for words in ("nothing was sent", f"dev-sessions attach {id}", "--key"))
    assert [one["id"] for one in json.loads(lab.ok("pending", "--json"))] == [asked["id"]]
    lab.ok("respond", id, "--key", "1")
    assert told(lab, id) == "Made."
