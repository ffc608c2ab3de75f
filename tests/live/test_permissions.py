"""What an agent may do without asking: `--permissions full|edit|ask|plan`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from soak import only_in_soak

# A shell command that Claude does not treat as harmless.
WRITING_BASH = "python3 -c \"open('by-bash', 'w').write('x')\""


def outcome(lab: Lab, id: str, text: str) -> dict[str, Any]:
    """Send a message; return the result of `wait`."""
    lab.ok("send", id, text)
    waited = lab.run("wait", id, "--json")
    told: dict[str, Any] = waited.json
    assert waited.code == {"completed": 0, "waiting_for_input": 6}.get(told["outcome"]), waited
    return told


def asked(lab: Lab, id: str, text: str, kind: str, words: str) -> None:
    """Check that the agent asks in these words before it does this; then interrupt the turn."""
    told = outcome(lab, id, text)
    assert told["outcome"] == "waiting_for_input", told
    assert told["question"]["kind"] == kind
    assert words in told["question"]["text"]
    assert lab.ok("status", id) == "waiting_for_input"
    assert lab.ok("interrupt", id) == "interrupted"
    assert lab.ok("status", id) == "idle"


def unasked(lab: Lab, id: str, text: str) -> None:
    told = outcome(lab, id, text)
    assert told["outcome"] == "completed", told


def write(path: Path) -> str:
    return f"[[write: {path}|text]][[reply: Written.]]"


def created(lab: Lab, permissions: str, *words: str) -> str:
    session = json.loads(lab.ok("create", "--json", *words))
    assert session["permissions"] == permissions
    (lab.project / "there.txt").write_text("what stands there\n")
    return str(session["id"])


def test_full_is_the_default_and_asks_nothing(lab: Lab) -> None:
    """Neither for files outside the folder nor for the network."""
    id = created(lab, "full")
    outside = lab.path / "outside.txt"
    bash = f"[[bash: {WRITING_BASH}]][[bash: rm -rf there.txt; : >/dev/tcp/127.0.0.1/{lab.model.server_port}; pwd]]"
    unasked(lab, id, f"[[write: {outside}|text]]{bash}[[reply: All done.]]")
    assert lab.ok("last-message", id) == "All done."
    assert outside.read_text() == "text"
    assert (lab.project / "by-bash").exists()
    assert not (lab.project / "there.txt").exists()
    lab.ok("kill", id)


def test_edit_writes_in_the_folder_and_asks_for_the_rest(lab: Lab) -> None:
    id = created(lab, "edit", "--permissions", "edit")
    made, outside = lab.project / "made.txt", lab.path / "outside.txt"
    unasked(lab, id, write(made))
    assert made.read_text() == "text"
    unasked(lab, id, f"[[read: {lab.project / 'there.txt'}]][[reply: Read.]]")
    asked(lab, id, f"[[bash: {WRITING_BASH}]][[reply: Ran.]]", "permission", "by-bash")
    assert not (lab.project / "by-bash").exists()
    asked(lab, id, write(outside), "permission", str(outside))
    assert not outside.exists()
    lab.ok("kill", id)


def press_until_read(lab: Lab, id: str, key: str) -> None:
    """Answer a dialog with a key, as a person would: Claude ignores keys when a dialog has only just appeared."""
    for tries_left in (3, 2, 1, 0):
        lab.keys(id, key)
        try:
            lab.until(lambda: lab.ok("status", id) != "waiting_for_input", "the key to be read", timeout=4)
        except AssertionError:
            if not tries_left:
                raise
        else:
            return


def test_ask_asks_for_everything_that_changes_something(lab: Lab) -> None:
    id = created(lab, "ask", "--permissions", "ask")
    made = lab.project / "made.txt"
    asked(lab, id, write(made), "permission", str(made))
    assert not made.exists()
    asked(lab, id, f"[[bash: {WRITING_BASH}]][[reply: Ran.]]", "permission", "by-bash")
    assert not (lab.project / "by-bash").exists()
    unasked(lab, id, f"[[read: {lab.project / 'there.txt'}]][[replytool]]")
    assert "what stands there" in lab.ok("last-message", id)
    # A person says yes, and the turn continues until it ends.
    told = outcome(lab, id, write(made))
    assert told["outcome"] == "waiting_for_input"
    lab.until(lambda: re.search(r"❯ *(1\. )?Yes", lab.screen(id)), "the dialog, its mark on Yes")
    press_until_read(lab, id, "Enter")
    assert lab.run("wait", id, "--turn", str(told["turn"])).out == "completed\n"
    assert made.read_text() == "text"
    lab.ok("kill", id)


def test_plan_only_reads(shared: Lab, planner: str) -> None:
    lab, id = shared, planner
    assert [row["permissions"] for row in json.loads(lab.ok("list", "--json"))] == ["plan"]
    (lab.project / "there.txt").write_text("what stands there\n")
    unasked(lab, id, f"[[read: {lab.project / 'there.txt'}]][[replytool]]")
    assert "what stands there" in lab.ok("last-message", id)
    for text, path in ((write(lab.project / "made.txt"), "made.txt"), (f"[[bash: {WRITING_BASH}]]", "by-bash")):
        told = outcome(lab, id, text)
        assert not (lab.project / path).exists(), told
        if told["outcome"] == "waiting_for_input":
            assert path in told["question"]["text"]
            lab.ok("interrupt", id)
    asked(lab, id, "[[plan: 1. Look\\n2. Leap]][[reply: Off.]]", "plan", "")


@pytest.mark.parametrize("session", [pytest.param("asker", marks=only_in_soak), "planner"])
def test_message_by_file_is_readable_unasked(shared: Lab, session: str, request: pytest.FixtureRequest) -> None:
    """A message that a terminal would alter is sent as one of our files, which the agent's Read tool may open."""
    lab, id = shared, request.getfixturevalue(session)
    before = lab.prompts(id)
    lines = [f"line {number}: the quick brown\tfox jumps over the lazy dog" for number in range(40)]
    receipt = json.loads(lab.ok("send", id, "--json", "--file", "-", stdin="\n".join(lines)))
    assert receipt["via"] == "file"
    # The scripted model reads the file with Bash; a real one uses the Read tool, as the next message asks.
    if lab.run("wait", id).code == 6:
        lab.ok("interrupt", id)
    text = lab.folder(id) / "messages" / f"{receipt['turn']:04d}" / "text.md"
    assert str(text) in lab.prompts_since(id, before, 1)[0]
    unasked(lab, id, f"[[read: {text}]][[replytool: 5000]]")
    read = lab.ok("last-message", id)
    assert lines[0] in read
    assert lines[-1] in read
    # It may do nothing else there without asking.
    told = outcome(lab, id, write(text))
    assert told["outcome"] == "waiting_for_input" or text.read_text() == "\n".join(lines)
    assert text.read_text() == "\n".join(lines)
