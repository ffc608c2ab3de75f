"""What the documents show is what happens: the README's first session, and the fields that docs/protocol.md lists."""

from __future__ import annotations

import re
import subprocess

from lab import ROOT, Lab

README, PROTOCOL = ((ROOT / name).read_text() for name in ("README.md", "docs/protocol.md"))


def test_first_session_of_the_readme_runs_as_it_stands(lab: Lab) -> None:
    (example,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        ["bash", "-euc", example],
        env=lab.env,
        cwd=lab.project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    started, completed, *reply, killed = done.stdout.splitlines()
    assert (started, completed) == ("started (turn 1)", "completed")
    assert "the parser" in " ".join(reply)  # without a script, the offline model says the message again
    assert killed.startswith("Killed session ")
    assert lab.processes() == []


def test_json_has_the_fields_that_the_protocol_lists(lab: Lab) -> None:
    session = lab.run("create", "--json").json
    assert session.keys() == table("**A session**")
    id = session["id"]
    receipt = lab.run("send", id, "[[reply: one]]", "--json").json
    assert receipt.keys() == sentence("**A receipt**")
    outcome = lab.run("wait", id, "--json").json
    assert outcome.keys() == table("**An outcome**")
    assert outcome["turns"] == [{"turn": 1, "outcome": "completed", "reply": "one", "error": None}]
    answer = lab.run("ask", id, "[[reply: two]]", "--json").json
    assert answer.keys() == {*table("**An outcome**"), "receipt", "via", "reply"}
    assert lab.run("status", id, "--json").json.keys() == sentence("**A status**")
    (row,) = lab.run("list", "--json").json
    assert row.keys() == {*table("**A session**"), "last_used"}
    assert lab.run("last-message", id, "-n", "2", "--json").json == ["one", "two"]
    at_rest = {"session": id, "interrupted": [], "status": "idle", "was": "idle"}
    assert lab.run("interrupt", id, "--json").json == at_rest
    assert lab.run("attach", id, "--json").json.keys() == {"session", "argv"}
    assert lab.run("kill", id, "--json").json == [{"session": id, "outcome": "killed"}]


def table(heading: str) -> set[str]:
    """The names in the first column of the first table behind a heading."""
    block = PROTOCOL.partition(heading)[2].partition("\n| ")[2].partition("\n\n")[0]
    cells = [row.lstrip("| ").partition(" | ")[0] for row in block.splitlines()]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def sentence(heading: str) -> set[str]:
    """The names that stand in a sentence behind a heading, without those in brackets."""
    block = PROTOCOL.partition(heading)[2].partition(": ")[2].partition("\n\n")[0]
    return set(re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", block)))
