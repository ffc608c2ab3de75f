"""The fast path answers exactly like Typer, and leaves unknown forms to it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dev_sessions.cli import fast

if TYPE_CHECKING:
    from conftest import Commands
    from lab import Done

# Runs command lines, one per line of standard input with its words separated by blanks, through one of the two; prints
# code, stdout and stderr of each. One process for all: Typer takes longer to come up than any of them to run.
DRIVER = """
import contextlib, json, os, sys, tempfile
from dev_sessions import cli
from dev_sessions.cli import input
run = {"fast": cli.run, "typer": input.run}[sys.argv[1]]
for line in sys.stdin.read().splitlines():
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(json.loads(line))
        out.flush(), err.flush()
        said = [os.pread(stream.fileno(), 1 << 20, 0).decode() for stream in (out, err)]
    sys.__stdout__.write(json.dumps([code, *said]) + "\\n")
"""

ACCEPTED = [
    ["list"],
    ["list", "--json"],
    *[[*words, *json] for words in (["status", "ID"], ["last-message", "ID"]) for json in ([], ["--json"])],
    ["--json", "status", "ID"][1:],
    ["status", "--json", "ID"],
    ["last-message", "-n", "2", "ID"],
    ["last-message", "ID", "-n", "2"],
    ["last-message", "ID", "--count", "1", "--json"],
    ["last-message", "ID", "-n", "1", "-n", "2"],
    ["last-message", "ID", "-n", "007"],
    ["wait", "ID", "-t", "0"],
    ["wait", "ID", "--timeout", "0.01"],
    ["wait", "ID", "-t", "0", "--json"],
    ["wait", "ID", "OTHER", "-t", "0"],
    ["wait", "-t", "0", "ID", "--json", "OTHER"],
    ["wait", "ID", "ID", "-t", "0"],
    ["wait", "ID", "-t", "0.", "--json"],
    ["wait", "ID", "-t", ".01"],
    ["wait", "ID", "--goal"],
    ["wait", "ID", "--next-turn", "-t", "0"],
    ["wait", "ID", "--goal", "--next-turn", "--json"],
    ["wait", "nobody"],
    ["status", "nobody", "--json"],
    ["last-message", "nobody"],
    ["send", "nobody", "hi"],
    ["send", "nobody", "hi", "--json"],
    ["send", "nobody", "--file", "/nowhere"],
    ["send", "nobody", "-f", "-"],
    ["send", "nobody", "hi", "-f", "x"],
    ["send", "nobody", "--queue"],
    ["send", "ID", "--queue"],
    ["send", "ID", " "],
    ["kill", "nobody"],
    ["kill", "nobody", "ID", "--json"],
    ["pending"],
    ["pending", "--json"],
    ["respond", "ID", "--allow"],
    ["respond", "ID", "--allow", "--deny", "--json"],
    ["respond", "nobody", "--deny", "not yet"],
    ["respond", "nobody", "not yet", "--always"],
    ["respond", "ID", "--choose", "1", "--question", "q"],
    ["respond", "ID", "--text", "a b", "--json"],
    ["respond", "ID"],
]
REFUSED = [
    [],
    [""],
    ["-h"],
    ["--help"],
    ["--version", "--json"],
    ["--version", "x"],
    ["list", "--group", "g"],
    ["list", "--status", "idle"],
    ["list", "ID"],
    ["list", "--help"],
    ["list", "--json=1"],
    ["list", "-n", "1"],
    ["status"],
    ["status", "ID", "OTHER"],
    ["status", "-h"],
    ["send", "ID"],
    ["send", "ID", "--", "hi"],
    ["send", "ID", "-hi"],
    ["send", "ID", "a", "b"],
    ["send", "ID", "hi", "--interrupt"],
    ["send", "ID", "hi", "--request-id", "r"],
    ["send", "ID", "--file"],
    ["send", "ID", "--file", "--queue"],
    ["kill"],
    ["kill", "--all"],
    ["kill", "-h"],
    ["pending", "--group", "g"],
    ["pending", "ID"],
    ["respond"],
    ["respond", "ID", "--choose", "1.1", "--choose", "2.1"],
    ["respond", "ID", "--text", "-x"],
    ["respond", "ID", "--text"],
    ["respond", "ID", "--key", "1"],
    ["respond", "ID", "--answers", "-"],
    ["respond", "ID", "--allow", "--request-id", "r"],
    ["status", "--", "ID"],
    ["status", ""],
    ["status", "--jso", "ID"],
    ["last-message"],
    ["last-message", "ID", "-n"],
    ["last-message", "ID", "-n", "x"],
    ["last-message", "ID", "-n", "-1"],
    ["last-message", "ID", "-n", "0"],
    ["last-message", "ID", "-n", "1.5"],
    ["last-message", "ID", "-n2"],
    ["last-message", "ID", "--count=2"],
    ["last-message", "ID", "-n", "+1"],
    ["last-message", "ID", "-n", ""],
    ["wait"],
    ["wait", "--json"],
    ["wait", "ID", "-t"],
    ["wait", "ID", "-t", "--json"],
    ["wait", "ID", "-t", "-1"],
    ["wait", "ID", "-t", "nan"],
    ["wait", "ID", "-t", "1e3"],
    ["wait", "ID", "--goal", "--next-turn=1"],
    ["wait", "ID", "--any"],
    ["wait", "ID", "--turn", "1"],
    ["wait", "ID", "--settled"],
    ["wait", "ID", "-i", "1"],
    ["wait", "ID", ""],
    ["create"],
    ["LIST"],
    ["lis"],
]
# Forms that the two might read differently; the answer must be the same.
ODD = [
    ["--version"],
    ["last-message", "ID", "-n", "\u0662"],
    ["last-message", "ID", "-n", "\u00b2"],
    ["wait", "ID", "-t", "\u0660"],
    ["wait", "ID", "-t", "."],
    ["wait", "ID", "-t", "1_0"],
    ["last-message", "ID", "-n", "99999999999999999999"],
    ["wait", "nobody", "-t", "9" * 400],
    ["status", "\u00e9"],
    ["status", "a b"],
    ["status", "\x1b[31m"],
    ["status", "list"],
    ["--json"],
    ["--json", "list"],
]


@pytest.fixture(scope="module")
def ids(run: Commands, idle: str, busy: str) -> dict[str, str]:
    return {"ID": idle, "OTHER": busy}


@pytest.fixture(scope="module")
def answers(run: Commands, ids: dict[str, str]) -> dict[str, list[Done]]:
    """The answers of both ways to all of `ACCEPTED` and `ODD`."""
    import json

    from lab import Done

    lines = "".join(json.dumps(put(words, ids)) + "\n" for words in ACCEPTED + ODD)
    found = {}
    for way in ("fast", "typer"):
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, way],
            input=lines,
            env=run.lab.env,
            cwd=run.lab.project,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""
        found[way] = [Done(*json.loads(line)) for line in done.stdout.splitlines()]
    return found


def put(words: list[str], ids: dict[str, str]) -> list[str]:
    return [ids.get(word, word) for word in words]


@pytest.mark.parametrize("words", ACCEPTED, ids=" ".join)
def test_it_accepts_the_frequent_forms(ids: dict[str, str], words: list[str]) -> None:
    assert fast.parse(put(words, ids)) is not None


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_it_leaves_all_other_forms_to_typer(ids: dict[str, str], words: list[str]) -> None:
    assert fast.parse(put(words, ids)) is None


@pytest.mark.parametrize(
    "number", range(len(ACCEPTED + ODD)), ids=lambda number: ascii(" ".join((ACCEPTED + ODD)[number]))[:60]
)
def test_both_ways_give_the_same_answer(answers: dict[str, list[Done]], number: int) -> None:
    assert answers["fast"][number] == answers["typer"][number]


def test_the_compared_answers_are_not_errors(answers: dict[str, list[Done]]) -> None:
    """Otherwise two broken answers could be equal."""
    codes = [done.code for done in answers["fast"]]
    assert codes[:4] == [0, 0, 0, 0]
    assert {0, 2, 3, 124} <= set(codes)
    assert not any("unexpected" in done.err + done.out for done in answers["fast"])


def test_a_hot_read_does_not_load_typer(run: Commands, ids: dict[str, str]) -> None:
    script = "import sys; from dev_sessions.cli import run; run(sys.argv[1:]); sys.exit('typer' in sys.modules)"
    for words in (["list"], ["status", ids["ID"]], ["wait", ids["ID"]], ["last-message", ids["ID"]], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *words], env=run.lab.env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), words
