"""Briefing templates: shipped and invalid ones, and their variables."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from dev_sessions import git, templates
from dev_sessions.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path.stem for path in (ROOT / "templates").glob("*.md"))
FACTS = {"id": "fizz-top", "path": "/p", "branch": "trunk", "parent": "none", "depth": 1}
HEAD = "---\nname: t\nversion: 1\ndescription: d\n"


def made(text: str) -> templates.Template:
    return templates.parse(text, "/x/t.md", "user")


def test_the_shipped_templates() -> None:
    assert SHIPPED == ["consult", "handoff", "investigate", "review", "synthesis", "task"]


@pytest.mark.parametrize("name", SHIPPED)
def test_each_template_is_filled_completely_and_ends_with_the_report(name: str, tmp_path: Path) -> None:
    template = templates.find(name, str(tmp_path), str(tmp_path))
    assert template.source == "built-in"
    assert template.description
    assert all(variable.description for variable in template.variables)
    required = {one.name: f"<{one.name}>" for one in template.variables if one.default is None}
    assert required
    filled = template.fill(required, FACTS)
    assert not re.search(r"\$\{", filled)
    assert all(value in filled for value in required.values())
    block = filled.rpartition("## Report")[2]
    found = templates.report(block)
    assert found is not None
    assert set(found) == {"status", "files_changed", "tests_run", "open_questions"}
    assert all(word in block for word in templates.REPORTS)


@pytest.mark.parametrize("name", SHIPPED)
def test_missing_and_unknown_variables_are_named(name: str, tmp_path: Path) -> None:
    template = templates.find(name, str(tmp_path), str(tmp_path))
    required = sorted(one.name for one in template.variables if one.default is None)
    with pytest.raises(UsageError) as caught:
        template.check({})
    assert caught.value.data["variables"] == required
    given = dict.fromkeys(required, "x")
    with pytest.raises(UsageError, match="no variable bogus, id") as caught:
        template.check({**given, "id": "y", "bogus": "z"})
    assert caught.value.data["next"] == f"dev-sessions templates show {name}"


def test_a_blank_value_does_not_fill_a_required_variable() -> None:
    template = made(f"{HEAD}variables:\n  task: {{description: d}}\n---\n${{task}}\n")
    with pytest.raises(UsageError, match="needs a value for task"):
        template.check({"task": " \n"})


def test_values_are_used_unchanged() -> None:
    template = made(f"{HEAD}variables:\n  a: {{description: d}}\n---\n[${{a}}] $${{a}} ${{id}} $5 $$\n")
    assert template.fill({"a": "${id} $${x} \\1 $a"}, FACTS) == "[${id} $${x} \\1 $a] ${a} fizz-top $5 $$\n"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("no front matter", 1, "front matter"),
        ("---\nname: t\n", 1, "front matter"),
        ("---\nname: [\n---\n", 3, "not YAML"),
        ("---\n- a\n---\n", 1, "key: value"),
        ("---\nname: other\ndescription: d\n---\n", 1, "'other'"),
        ("---\nname: t\n---\n", 1, "no description"),
        (f"{HEAD}author: me\n---\n", 1, "author"),
        (f"{HEAD}variables: [a]\n---\n", 1, "variables"),
        (f"{HEAD}variables:\n  id: {{description: d}}\n---\n", 1, "'id'"),
        (f"{HEAD}variables:\n  A-b: {{description: d}}\n---\n", 1, "'A-b'"),
        (f"{HEAD}variables:\n  a: {{descr: d}}\n---\n", 1, "a has other keys"),
        (f"{HEAD}variables:\n  a: {{required: true, default: x}}\n---\n", 1, "has a default"),
        ("---\nname: t\ndescription: d\nversion: [1]\n---\n", 1, "version"),
        (f"{HEAD}variables:\n  a: {{default: [x]}}\n---\n", 1, "not a text"),
        (f"{HEAD}variables:\n  a: {{required: maybe}}\n---\n", 1, "neither true nor false"),
        (f"{HEAD}variables:\n  a: &x {{default: b}}\n  c: *x\n---\n", 7, "aliases"),
        (f"{HEAD}---\none\n${{nobody}}\n", 7, "${nobody} is not declared"),
    ],
)
def test_an_invalid_template_is_reported_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(text)
    assert caught.value.message.startswith(f"/x/t.md:{line}: "), caught.value.message
    assert why in caught.value.message


def test_the_projects_template_precedes_the_users_and_that_precedes_ours(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    inside = project / "deep" / "down"
    inside.mkdir(parents=True)
    (project / ".git").mkdir()
    (project / ".git" / "HEAD").touch()

    def found() -> tuple[str, str]:
        template = templates.find("task", str(home), str(inside))
        return template.source, template.body

    assert found()[0] == "built-in"
    for folder, source in ((home / "templates", "user"), (project / ".dev-sessions" / "templates", "project")):
        folder.mkdir(parents=True)
        (folder / "task.md").write_text(f"---\nname: task\ndescription: d\n---\n{source}\n")
        assert found() == (source, f"{source}\n")
    (home / "templates" / "own.md").write_text("---\nname: own\ndescription: d\n---\nx\n")
    listed = {one.name: one.source for one in templates.every(str(home), str(inside))}
    assert listed == {**dict.fromkeys(SHIPPED, "built-in"), "task": "project", "own": "user"}


@pytest.mark.parametrize("name", ["nope", "../task", "Task", "", "a/b"])
def test_a_missing_template(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are consult, handoff") as caught:
        templates.find(name, str(tmp_path), str(tmp_path))
    assert caught.value.data["next"] == "dev-sessions templates list"


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ('Done.\n```json\n{"status": "DONE"}\n```', "DONE"),
        ('```json\n{"status": "DONE"}\n```\nNo:\n```json\n{"status": "BLOCKED", "x": 1}\n```\n', "BLOCKED"),
        ('```report\n{"status": "DONE_WITH_CONCERNS"}\n```', "DONE_WITH_CONCERNS"),
        ('```json\n{"status": "FINE"}\n```', None),
        ("```json\n{broken\n```", None),
        ("```json\n[1]\n```", None),
        ("DONE", None),
        (None, None),
    ],
)
def test_the_report_at_the_end_of_a_reply(reply: str | None, status: str | None) -> None:
    found = templates.report(reply)
    assert (found and found["status"]) == status


def test_the_branch_of_a_folder(tmp_path: Path) -> None:
    def run(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    assert git.branch(str(tmp_path)) == "none"
    run("init", "-q", "-b", "trunk")
    assert git.branch(str(tmp_path)) == "trunk"
    run("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")
    run("checkout", "-q", "--detach")
    assert git.branch(str(tmp_path)).startswith("detached at ")
    assert git.branch(str(tmp_path / "nowhere")) == "none"


def test_variables_as_json() -> None:
    template = made(f"{HEAD}variables:\n  a: {{description: d, default: 5}}\n---\n${{a}}\n")
    (shown,) = json.loads(json.dumps(template.to_json()))["variables"]
    assert shown == {"name": "a", "description": "d", "required": False, "default": "5"}
