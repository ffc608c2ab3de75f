"""`templates`, and `--template` of the commands that say something to a session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Commands


@pytest.fixture
def id(run: Commands) -> Iterator[str]:
    made = run.create()
    yield made
    run.ok("kill", made)


def said(run: Commands, id: str) -> str:
    """What the session was told last."""
    return [entry["text"] for entry in run.json("logs", id) if entry["role"] == "user"][-1]


def test_list(run: Commands) -> None:
    names = [one["name"] for one in run.json("templates", "list")]
    assert names == ["consult", "handoff", "investigate", "review", "synthesis", "task"]
    shown = run.ok("templates", "list").splitlines()
    assert [line.split()[:2] for line in shown] == [[name, "built-in"] for name in names]


def test_show(run: Commands) -> None:
    text = run.ok("templates", "show", "task")
    assert text.startswith("---\nname: task\n")
    assert run.json("templates", "show", "task")["text"].rstrip("\n") == text.rstrip("\n")


def test_render_here_and_as_a_session_gets_it(run: Commands, id: str) -> None:
    here = run.ok("templates", "render", "task", "Fix it.", "--var", "check=make test")
    assert "Fix it." in here
    assert "make test" in here
    assert str(run.lab.project) in here
    assert f"the session {id}" in run.ok("templates", "render", "task", "Fix it.", "--session", id)
    assert run.json("list")[0]["status"] == "idle"  # nothing was sent


def test_send_and_ask_and_create(run: Commands, id: str, tmp_path: Path) -> None:
    check = tmp_path / "check.txt"
    check.write_text("what it says\n")
    run.ok("send", id, "[[reply: one]]", "--template", "task", "--var", f"check=@{check}", "--var", "context=@@home")
    assert run.ok("wait", id) == "completed"
    assert f"the session {id}" in said(run, id)
    assert "what it says" in said(run, id)
    assert "@home" in said(run, id)
    assert run.ok("ask", id, "--template", "task", "--var", "task=[[reply: two]]") == "two"
    made = json.loads(run.ok("create", "--cli", "fake", "--template", "task", "--var", "task=[[reply: 3]]", "--json"))
    assert made["message"]["receipt"] == "started"
    assert run.ok("wait", made["id"]) == "completed"
    assert f"the session {made['id']}" in said(run, made["id"])
    run.ok("kill", made["id"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["x", "--template", "nope"], "no template called 'nope'"),
        (["--template", "task"], "needs a value for task"),
        (["x", "--template", "task", "--var", "bogus=1"], "no variable bogus"),
        (["x", "--template", "task", "--var", "id=1"], "told of the session itself"),
        (["x", "--var", "a=1"], "--template NAME"),
        (["x", "--template", "task", "--var", "check"], "NAME=VALUE"),
        (["x", "--template", "task", "--var", "check=@/nonexistent"], "cannot read /nonexistent"),
    ],
)
def test_what_does_not_fit_is_an_error_and_nothing_is_sent(run: Commands, id: str, words: list[str], why: str) -> None:
    done = run("send", id, *words)
    assert done.code == 2, done
    assert why in done.err
    assert "next: " in done.err
    assert run.json("logs", id) == []


def test_a_damaged_template_names_file_and_line_and_harms_no_other(run: Commands) -> None:
    folder = Path(run.lab.env["DEV_SESSIONS_HOME"], "templates")
    folder.mkdir()
    (folder / "mine.md").write_text("---\nname: mine\ndescription: d\n---\n${nobody}\n")
    done = run("templates", "show", "mine")
    assert (done.code, f"{folder}/mine.md:5: " in done.err) == (2, True)
    assert run("templates", "show", "task").code == 0
    (folder / "mine.md").unlink()
    folder.rmdir()
