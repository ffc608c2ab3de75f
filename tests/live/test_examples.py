"""The documentation matches what happens: every shell example is run, and the protocol's fields exist.

The examples run unchanged, with the real agents; NOT_RUN lists the commands that are left out, with the reason.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from codex_lab import CodexLab
from examples import NOT_RUN, command, examples
from lab import ROOT, Lab
from soak import only_in_soak

PROTOCOL = (ROOT / "docs/protocol.md").read_text()
EXAMPLES = {
    name: "\n".join(line for line in block.splitlines() if command(line) not in NOT_RUN)
    for name, block in examples().items()
}
# Files in these examples whose reply is not waited for.
UNHEARD = {"OBJECTIVE.md", "HANDOFF.md"}
# Examples whose session must continue to run afterwards.
GO_ON = ("skills/claude/handoff-1", "docs/codex-1", "docs/recipes-4")
# What the examples print, in this order; the offline model repeats a message that is not a script.
SHOWN = {
    "README-2": "installed: .*/[.]claude/skills/delegate/SKILL.md.* ok +tmux: .* ok +claude: .* ok +codex: ",
    "README-3": r"started \(turn 1\) completed .*the parser.* Killed session ",
    "README-4": "make install-skills .* make bootstrap ",
    "docs/codex-1": "active .* complete complete ",
    "docs/recipes-1": "the parser drops the last line.* read BRIEF.md",
    "docs/recipes-2": "## parser: completed read parser.md ## printer: completed read printer.md ## join: completed ",
    "docs/recipes-4": "## claude: completed .* ## codex: completed .* has taken over",
    "docs/recipes-5": "consult built-in .* name: task .* Fix the parser.* make test",
    "skills/claude/fan-out-2": "## parser: completed read parser.md ## printer: completed read printer.md ## join: ",
    "skills/claude/fan-out-1": "started .* started .* completed .* completed read parser.md read printer.md Killed ",
    "skills/claude/handoff-1": "Say in five lines: .* started ",
}
# An objective is reached when the agent reports that.
REACHED = """[[tool: update_goal {"status":"complete"}]][[reply: read OBJECTIVE.md]]"""


@pytest.fixture(scope="module")
def both(claude: str, codex: str) -> Iterator[CodexLab]:
    """One lab for the examples, with both agents."""
    with CodexLab(codex, "examples", claude) as made:
        yield made


# `test_recipes.py` and `test_skill_scenarios.py` cover these too.
LONG = ("docs/recipes-1", "docs/recipes-2", "skills/claude/fan-out-1", "skills/claude/fan-out-2")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=only_in_soak if name in LONG else ()) for name, text in EXAMPLES.items() if text.strip()],
)
def test_example_runs_as_it_stands(both: CodexLab, name: str) -> None:
    files = set(re.findall(r"--file (\S+)", EXAMPLES[name]))
    for tasks in re.findall(r"fan-out ((?:\w+\.md )+)", EXAMPLES[name]):
        files |= {*tasks.split()}
    for file in files:
        (both.project / file).write_text(REACHED if file == "OBJECTIVE.md" else f"[[reply: read {file}]]")
    both.run("kill", "--all")  # sessions that a failed test has left
    done = subprocess.run(
        # Make targets are those of the checkout.
        ["bash", "-euc", f'make() {{ command make -C "{ROOT}" "$@"; }}\n{EXAMPLES[name]}'],
        env=both.env,
        cwd=both.project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    shown = " ".join(done.stdout.split())
    assert re.search(SHOWN.get(name) or "started .* completed .*Killed session ", shown), done.stdout
    assert all(f"read {file}" in shown for file in files - UNHEARD)
    left = both.run("list", "--json").json
    for session in left:
        both.ok("kill", session["id"])
    assert len(left) == (name in GO_ON)  # no other session is left


def test_json_has_the_fields_that_the_protocol_lists(lab: Lab) -> None:
    session = lab.run("create", "--cli", "fake", "--json").json
    assert session.keys() == table("**A session**")
    id = session["id"]
    receipt = lab.run("send", id, "[[reply: one]]", "--json").json
    assert receipt.keys() == sentence("**A receipt**")
    outcome = lab.run("wait", id, "--json").json
    assert outcome.keys() == table("**An outcome**")
    (turn,) = outcome["turns"]
    assert turn == {"turn": 1, "outcome": "completed", "reply": "one", "error": None, "reason": None, "resets_at": None}
    answer = lab.run("ask", id, "[[reply: two]]", "--json").json
    assert answer.keys() == {*table("**An outcome**"), "receipt", "via", "reply"}
    assert lab.run("status", id, "--json").json.keys() == sentence("**A status**")
    (row,) = lab.run("list", "--json").json
    assert row.keys() == {*table("**A session**"), "last_used"}
    assert lab.run("last-message", id, "-n", "2", "--json").json == ["one", "two"]
    at_rest = {"session": id, "interrupted": [], "status": "idle", "was": "idle", "outcome": None}
    assert lab.run("interrupt", id, "--json").json == at_rest
    assert lab.run("attach", id, "--json").json.keys() == {"session", "argv"}
    assert lab.run("kill", id, "--json").json == [{"session": id, "outcome": "killed"}]


def table(heading: str) -> set[str]:
    """The names in the first column of the first table after a heading."""
    block = PROTOCOL.partition(heading)[2].partition("\n| ")[2].partition("\n\n")[0]
    cells = [row.lstrip("| ").partition(" | ")[0] for row in block.splitlines()]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def sentence(heading: str) -> set[str]:
    """The names in a sentence after a heading, except those in brackets."""
    block = PROTOCOL.partition(heading)[2].partition(": ")[2].partition("\n\n")[0]
    return set(re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", block)))
