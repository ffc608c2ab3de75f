"""`templates`, and `--template` of the commands that send messages."""

from __future__ import annotations

import json
import os
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
    """The last message of the session."""
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


@pytest.mark.gateway
def test_render_here_and_for_a_session(run: Commands, id: str) -> None:
    here = run.ok("templates", "render", "task", "Fix it.", "--var", "check=make test")
    assert "Fix it." in here
    assert "make test" in here
    assert str(run.lab.project) in here
    assert f"the session {id}" in run.ok("templates", "render", "task", "Fix it.", "--session", id)
    assert run.json("list")[0]["status"] == "idle"  # nothing was sent


@pytest.mark.gateway
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
        (["x", "--template", "task", "--var", "id=1"], "filled from the session"),
        (["x", "--var", "a=1"], "--template NAME"),
        (["x", "--template", "task", "--var", "check"], "NAME=VALUE"),
        (["x", "--template", "task", "--var", "check=@/nonexistent"], "cannot read /nonexistent"),
    ],
)
def test_values_that_do_not_fit_are_an_error_and_nothing_is_sent(
    run: Commands, id: str, words: list[str], why: str
) -> None:
    done = run("send", id, *words)
    assert done.code == 2, done
    assert why in done.err
    assert "next: " in done.err
    assert run.json("logs", id) == []


def test_a_damaged_template_is_named_with_its_line_and_affects_no_other(run: Commands) -> None:
    folder = Path(run.lab.env["DEV_SESSIONS_HOME"], "templates")
    folder.mkdir()
    (folder / "mine.md").write_text("---\nname: mine\ndescription: d\n---\n${nobody}\n")
    done = run("templates", "show", "mine")
    assert (done.code, f"{folder}/mine.md:5: " in done.err) == (2, True)
    assert run("templates", "show", "task").code == 0
    (folder / "mine.md").unlink()
    folder.rmdir()


@pytest.fixture
def of_project(run: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The templates folder of the project in which the commands run."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").touch()
    monkeypatch.setattr(run.lab, "project", tmp_path)
    folder = tmp_path / ".dev-sessions/templates"
    folder.mkdir(parents=True)
    return folder


BOMB = f"[&a0 [x], {', '.join(f'&a{n} [' + f'*a{n - 1}, ' * 9 + ']' for n in range(1, 10))}]\n"


@pytest.mark.parametrize("kind", ["bomb", "device", "pipe", "long", "nested"])
def test_a_huge_or_endless_template_is_an_error(run: Commands, of_project: Path, kind: str) -> None:
    path = of_project / "task.md"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        bomb = f"---\nname: task\ndescription: d\nversion: {BOMB}---\n"
        nested = f"---\nname: task\nvariables: {'[' * 900}\n---\n"
        path.write_text({"bomb": bomb, "nested": nested, "long": "x" * 1_000_001}[kind])
    whys = {"bomb": "aliases are not", "nested": "nested more than", "long": "longer than"}
    why = whys.get(kind, "not a regular file")
    for words in (["list"], ["show", "task"], ["render", "task", "x"], ["show", "nope"]):
        done = run("templates", *words)
        assert (done.code, str(path) in done.err, why in done.err) == (2, True, True), done


def test_a_template_of_the_project_is_always_named_as_such(run: Commands, of_project: Path, id: str) -> None:
    told = f"the template task comes with this project: {of_project}/task.md, instead of the built-in one\n"
    (of_project / "task.md").write_text("---\nname: task\ndescription: d\x1b[31m\u202e\n---\n[[reply: theirs]]\x9b\n")
    (of_project / "own.md").write_text("---\nname: own\ndescription: d\n---\nx\n")
    plan = of_project / "plan.yaml"
    plan.write_text("branches: [{name: a, template: task}, {name: b, template: task}]")
    asked = run("ask", id, "--template", "task")
    assert (asked.code, asked.out, told in asked.err) == (0, "theirs\n", True)
    fanned = run("fan-out", str(plan), "--cli", "fake")
    assert (fanned.code, fanned.err.count(told)) == (0, 1)
    for words in (["create", "--cli", "fake"], ["sync-delegate", "--cli", "fake"]):
        done = run(*words, "--template", "task", "--json")
        assert (done.code, told in done.err) == (0, True)
    run.ok("kill", run.json("list")[0]["id"])
    for words in (["show", "task"], ["render", "task"]):
        shown = run("templates", *words)
        assert (shown.code, told in shown.err, "\x1b" in shown.out, "\x9b" in shown.out) == (0, True, False, False)
    assert run("templates", "show", "own").err.endswith("own.md\n")
    assert "comes with" not in run("templates", "show", "review").err
    assert {one["description"] for one in run.json("templates", "list") if one["source"] == "project"} == {"d"}
