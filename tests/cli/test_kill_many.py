"""`kill` and `wait` by condition: groups, all sessions, sessions not used for long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from lab import Lab

if TYPE_CHECKING:
    from conftest import Commands


@pytest.fixture
def run(run: Commands) -> Iterator[Commands]:
    """Commands in a lab for one test: `--all` means all."""
    with Lab(name="many") as lab:
        yield type(run)(lab)


def there(run: Commands) -> set[str]:
    return {row["id"] for row in run.json("list")}


def age(run: Commands, id: str, seconds: float) -> None:
    """Make a session look as if it had been created so long ago."""
    path = run.lab.state / "sessions.json"
    registry = json.loads(path.read_text())
    registry["sessions"][id]["created_at"] -= seconds
    path.write_text(json.dumps(registry))


@pytest.mark.gateway
def test_kill_all(run: Commands) -> None:
    ids = {run.create(), run.create()}
    done = run("kill", "--all")
    assert (done.code, done.err) == (0, "")
    assert set(done.out.splitlines()) == {f"Killed session {id}" for id in ids}
    assert there(run) == set()
    done = run("kill", "--all")
    assert (done.code, done.out) == (0, "")
    assert "nothing was killed" in done.err
    done = run("kill", "--all", "--json")
    assert (done.code, done.json) == (0, [])


@pytest.mark.gateway
def test_kill_a_group(run: Commands) -> None:
    one, two, other = run.create("--group", "g"), run.create("--group", "g"), run.create("--group", "h")
    assert {row["session"] for row in run.json("kill", "--group", "g")} == {one, two}
    assert there(run) == {other}
    done = run("kill", "--group", "nobody")
    assert (done.code, done.out) == (0, "")
    assert "nothing was killed" in done.err


@pytest.mark.gateway
def test_kill_sessions_not_used_for_long(run: Commands) -> None:
    old, fresh, busy, used = run.create(), run.create(), run.create("--group", "g"), run.create()
    older = run.create("--group", "g")
    run.ok("send", busy, "[[hold: never]]")
    run.ok("ask", used, "[[reply: of use]]")
    for id in (old, busy, used):
        age(run, id, 3 * 3600)
    age(run, older, 3 * 86_400)
    assert run.json("kill", "--older-than", "4h", "--group", "nobody") == []
    assert run.json("kill", "--older-than", "2h", "--group", "g") == [{"session": older, "outcome": "killed"}]
    assert run.json("kill", "--older-than", "7d") == []
    assert run.json("kill", "--older-than", "200m") == []
    assert run.json("kill", "--older-than", "150m") == [{"session": old, "outcome": "killed"}]
    assert there(run) == {fresh, busy, used}
    assert run("status", busy) == (0, "working\n", "")


@pytest.mark.gateway
@pytest.mark.parametrize("words", [[], ["--group", "g"], ["--older-than", "0m"]])
def test_it_spares_the_callers_session_and_its_parents(run: Commands, words: list[str]) -> None:
    root = run.create("--group", "g")
    child = run.create("--group", "g", env={"DEV_SESSIONS_ID": root, "DEV_SESSIONS_DEPTH": "1"})
    asker = run.create("--group", "g", env={"DEV_SESSIONS_ID": child, "DEV_SESSIONS_DEPTH": "2"})
    sibling = run.create("--group", "g", env={"DEV_SESSIONS_ID": root, "DEV_SESSIONS_DEPTH": "1"})
    done = run("kill", *(words or ["--all"]), env={"DEV_SESSIONS_ID": asker})
    assert (done.code, done.out) == (0, f"Killed session {sibling}\n")
    assert all(id in done.err for id in (root, child, asker))
    assert there(run) == {root, child, asker}
    # Who names itself means it.
    assert run("kill", asker, env={"DEV_SESSIONS_ID": asker}).code == 0
    assert there(run) == {root, child}


def test_the_callers_session_may_be_unknown(run: Commands) -> None:
    id = run.create()
    assert run.ok("kill", "--all", env={"DEV_SESSIONS_ID": "long-gone"}) == f"Killed session {id}"


def test_a_failed_kill_does_not_stop_the_others(run: Commands) -> None:
    one, stuck, two = run.create("--id", "a-one"), run.create("--id", "b-stuck"), run.create("--id", "c-two")
    record = json.loads((run.lab.state / "sessions.json").read_text())["sessions"][stuck]
    path = run.lab.state / "sessions.json"
    registry = json.loads(path.read_text())
    registry["sessions"][stuck] |= {"cli": "uninstalled", "adapter": "uninstalled:Backend"}
    path.write_text(json.dumps(registry))
    done = run("kill", one, stuck, two)
    assert done.code == 1
    assert done.out == f"Killed session {one}\nKilled session {two}\n"
    assert done.err.startswith("error: 1 of 3 sessions could not be killed: b-stuck: no agent called 'uninstalled'")
    assert "next: " in done.err
    assert there(run) == {stuck}
    three = run.create()
    error = run("kill", "--all", "--json")
    assert error.code == 1
    data = error.json["error"]["data"]
    assert data["killed"] == [{"session": three, "outcome": "killed"}]
    assert [(row["session"], row["error"]["code"]) for row in data["failed"]] == [(stuck, "usage")]
    registry = json.loads(path.read_text())
    registry["sessions"][stuck] = record
    path.write_text(json.dumps(registry))
    run.ok("kill", stuck)


@pytest.mark.parametrize("age", ["3", "h", "3y", "-1h", "1h30m", "1 h", "", "nan", "1e3h", "٣h"])
def test_an_invalid_age(run: Commands, age: str) -> None:
    done = run("kill", f"--older-than={age}")
    assert (done.code, done.out) == (2, "")
    assert "30m, 72h or 7d" in done.err
    assert "next: dev-sessions kill --older-than 72h" in done.err
    assert run("kill", f"--older-than={age}", "--json").json["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "words", [[], ["x", "--all"], ["x", "--group", "g"], ["x", "--older-than", "1h"], ["x", "y", "--all", "--json"]]
)
def test_ids_and_conditions_do_not_go_together(run: Commands, words: list[str]) -> None:
    done = run("kill", *words)
    assert done.code == 2
    assert "dev-sessions kill ID" in done.out + done.err


@pytest.mark.gateway
def test_wait_for_a_group(run: Commands) -> None:
    one, two, other = run.create("--group", "g"), run.create("--group", "g"), run.create()
    run.ok("send", one, "[[reply: x]]")
    run.ok("send", two, "[[error: no]]")
    run.ok("send", other, "[[hold: never]]")
    done = run("wait", "--group", "g")
    assert (done.code, set(done.out.splitlines())) == (5, {f"{one} completed", f"{two} failed"})
    assert {row["session"] for row in run.json("wait", "--group", "g")} == {one, two}


def test_wait_for_a_group_of_one_is_a_list(run: Commands) -> None:
    id = run.create("--group", "g")
    assert [row["session"] for row in run.json("wait", "--group", "g")] == [id]
    assert run("wait", "--group", "g") == (0, f"{id} idle\n", "")


def test_wait_for_the_first_of_a_group(run: Commands) -> None:
    slow, quick = run.create("--group", "g"), run.create("--group", "g")
    run.ok("send", slow, "[[hold: never]]")
    run.ok("ask", quick, "[[reply: x]]")
    found = run.json("wait", "--group", "g", "--any")
    assert (found["session"], found["outcome"]) == (quick, "completed")


def test_wait_without_sessions(run: Commands) -> None:
    done = run("wait", "--group", "nobody")
    assert (done.code, done.out) == (3, "")
    assert "nobody" in done.err
    for words in ([], ["x", "--group", "g"]):
        done = run("wait", *words)
        assert (done.code, done.out) == (2, "")
        assert "next: " in done.err
