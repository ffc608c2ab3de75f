"""Plans from YAML and task files, and the errors for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev_sessions import templates
from dev_sessions.errors import UsageError
from dev_sessions.recipes import plan

TEMPLATES = {
    "task": templates.parse(
        "---\nname: task\ndescription: x\nvariables: {task: {}, check: {default: none}}\n---\n${task} ${check}",
        "/t/task.md",
        "user",
    ),
    "synthesis": templates.parse(
        "---\nname: synthesis\ndescription: x\nvariables: {replies: {}, style: {default: short}}\n---\n${replies}",
        "/t/synthesis.md",
        "user",
    ),
    "greedy": templates.parse(
        "---\nname: greedy\ndescription: x\nvariables: {replies: {}, topic: {}}\n---\n${replies} ${topic}",
        "/t/greedy.md",
        "user",
    ),
}


def find(name: str) -> templates.Template:
    if name not in TEMPLATES:
        raise UsageError(f"no template called {name!r}", next="dev-sessions templates list")
    return TEMPLATES[name]


def defaults(**changes: object) -> plan.Defaults:
    given = plan.Defaults({"cli": "fake", "permissions": "full", "path": "/"}, timeout=9.0)
    return given._replace(**changes)


def read(text: str, **changes: object) -> plan.Plan:
    return plan.from_yaml("p.yaml", text, defaults(**changes), find, ["claude", "fake"])


def one(line: str) -> str:
    """A plan with one branch that has this further line, which is the third."""
    return f"branches:\n  - {{name: a, task: b,\n  {line}}}"


KEYS = "cli, model, permissions, trust, description, path, template, vars, timeout, settled"


@pytest.mark.parametrize(
    ("text", "line", "why", "remedy"),
    [
        ("", 1, "the plan is empty", "write branches: with a name and a task each"),
        ("# nothing", 1, "the plan is empty", "write branches: with a name and a task each"),
        (
            "- a",
            1,
            "the plan is not a list of `key: value`",
            "its keys are defaults, branches, join, max_parallel, worktree",
        ),
        ("\n[1]: 2", 2, "a key of the plan is not a word", "its keys are defaults, branches"),
        ("max_parallel: 2", 1, "the plan has no branches", "write branches: with a name and a task each"),
        ("branches:", 1, "the plan has no branches", "write branches: with a name and a task each"),
        ("\nbranches: []", 2, "branches is not a list", "write a line `- name: ...` for each branch"),
        ("\nbranches: {a: b}", 2, "branches is not a list", "write a line `- name: ...` for each branch"),
        ("branches: [{}]\ntasks: []", 2, "the plan has an unknown key 'tasks'", "its keys are defaults, branches"),
        ("branches:\n  - a", 2, "a branch is not a list of `key: value`", f"its keys are name, task, {KEYS}"),
        (one("modle: c"), 3, "a branch has an unknown key 'modle'", f"its keys are name, task, {KEYS}"),
        (one("task: c"), 3, "a branch has the key task twice", "remove one of the two"),
        ("branches:\n  - name: a", 2, "the branch a has no task", "add task:, or a template: with its vars:"),
        ("branches:\n  - name: a\n    task:", 2, "the branch a has no task", "add task:, or a template: with its"),
        ("branches:\n  - task: a", 2, "a branch has no name", "add name: and a word"),
        (
            "branches:\n  - {task: b,\n  name: a b}",
            3,
            "invalid name 'a b': it must be letters, digits, - and _",
            "write name: parser",
        ),
        (
            "branches:\n  - {task: b,\n  name: 5}",
            3,
            "invalid name '5': it must be letters, digits, - and _",
            'quotes: name: "5"',
        ),
        (
            f"branches:\n  - {{task: b, name: {'a' * 65}}}",
            2,
            f"invalid name '{'a' * 65}': it must be letters, digits, - and _",
            "write name: parser",
        ),
        (
            "branches:\n  - name: a\n    task: ' '",
            3,
            "invalid task ' ': it must be a text that says what to do",
            'write task: "..."',
        ),
        (
            "branches:\n  - name: a\n    task: 5",
            3,
            "invalid task '5': it must be a text that says what to do",
            'in quotes: task: "5"',
        ),
        (
            "branches:\n  - name: a\n    task: [b]",
            3,
            "invalid task (a sequence): it must be a text that says what to do",
            'write task: "..."',
        ),
        (
            "branches:\n  - {name: a, task: b}\n  - {name: a, task: c}",
            3,
            "there are two branches called a",
            "choose another name",
        ),
        (
            "branches:\n\n  - {name: join, task: b}",
            3,
            "the name join is taken by the session that joins",
            "choose another name",
        ),
        (one("cli: nobody"), 3, "invalid cli 'nobody': it must be one of claude, fake", "write cli: claude"),
        (
            one("permissions: root"),
            3,
            "invalid permissions 'root': it must be one of full, edit, ask, plan",
            "write permissions: full",
        ),
        (one("model: 5"), 3, "invalid model '5': it must be a text", 'put it in quotes: model: "5"'),
        (one("model: {a: b}"), 3, "invalid model (a mapping): it must be a text", 'write model: "..."'),
        (one("description: 1.5"), 3, "invalid description '1.5': it must be a text", 'description: "1.5"'),
        (one("template: 1"), 3, "invalid template '1': it must be a text", 'put it in quotes: template: "1"'),
        (one("path: 7"), 3, "invalid path '7': it must be a text", 'put it in quotes: path: "7"'),
        (one("path: nonexistent"), 3, "there is no folder /nonexistent", "correct the path, or make the folder"),
        (one("trust: 1"), 3, "invalid trust '1': it must be true or false", "write trust: true"),
        (one("settled: 'true'"), 3, "invalid settled 'true': it must be true or false", "write settled: true"),
        (one("timeout: soon"), 3, "invalid timeout 'soon': it must be a number of seconds", "write timeout: 600"),
        (one("timeout: -1"), 3, "invalid timeout '-1': it must be a number of seconds", "write timeout: 600"),
        (one("timeout: 0"), 3, "invalid timeout '0': it must be a number of seconds", "write timeout: 600"),
        (one("timeout: 3e9"), 3, "invalid timeout '3e9': it must be a number of seconds", "write timeout: 600"),
        (one("timeout: 0x10"), 3, "invalid timeout '0x10': it must be a number of seconds", "write timeout: 600"),
        (one("timeout: .inf"), 3, "invalid timeout '.inf': it must be a number of seconds", "write timeout: 600"),
        (one("template: nope"), 3, "no template called 'nope'", "dev-sessions templates list"),
        (one("template: task, vars: {x: y}"), 3, "the template task has no variable x", "templates show task"),
        (one("vars: [1]"), 3, "vars is not a list of `key: value`", "write one variable per line"),
        (one("vars: {[1]: 2}"), 3, "a key of vars is not a word", "write one variable per line"),
        (one("vars: {x: [1]}"), 3, "the variable x is not a text", "write it after | on lines of its own, or in"),
        (f"max_parallel: none\n{one('')}", 1, "invalid max_parallel 'none': it must be a number above 0", "write"),
        (
            f"\nmax_parallel: 0\n{one('')}",
            2,
            "invalid max_parallel '0': it must be a number above 0",
            "write max_parallel: 4",
        ),
        (
            f"\nmax_parallel: 2.5\n{one('')}",
            2,
            "invalid max_parallel '2.5': it must be a number above 0",
            "write max_parallel: 4",
        ),
        (
            f"\nmax_parallel: -2\n{one('')}",
            2,
            "invalid max_parallel '-2': it must be a number above 0",
            "write max_parallel: 4",
        ),
        (f"worktree: 3\n{one('')}", 1, "invalid worktree '3': it must be true or false", "write worktree: true"),
        (f"\ndefaults: [a]\n{one('')}", 2, "defaults is not a list of `key: value`", f"its keys are {KEYS}"),
        (f"defaults:\n  task: x\n{one('')}", 2, "defaults has an unknown key 'task'", f"its keys are {KEYS}"),
        (f"defaults:\n  cli: x\n{one('')}", 2, "invalid cli 'x': it must be one of claude, fake", "write cli"),
        (f"\njoin: nope\n{one('')}", 2, "no template called 'nope'", "dev-sessions templates list"),
        (f"\njoin: [a]\n{one('')}", 2, "join is not a list of `key: value`", f"its keys are {KEYS}"),
        (f"join:\n  name: x\n{one('')}", 2, "join has an unknown key 'name'", f"its keys are {KEYS}"),
        (f"\njoin: greedy\n{one('')}", 2, "the template greedy needs a value for topic", "templates show greedy"),
    ],
)
def test_an_error_names_file_line_and_remedy(text: str, line: int, why: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert caught.value.message == f"p.yaml:{line}: {why}"
    assert remedy in caught.value.data["next"]
    assert (caught.value.data["path"], caught.value.data["line"]) == ("p.yaml", line)


@pytest.mark.parametrize(("text", "line"), [("branches:\n\t- name: a", 2), ("a: *b", 1), ("a: b\n\n- c", 3)])
def test_invalid_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(UsageError, match=rf"^p\.yaml:{line}: invalid YAML: \w+ ") as caught:
        read(text)
    assert caught.value.data["next"] == "correct the line"


def test_a_plan_takes_precedence_over_the_command_line_and_a_branch_over_the_plan(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    text = """\
defaults: {cli: claude, model: m, timeout: 60, settled: yes, vars: {check: all}, template: task}
max_parallel: 3
worktree: on
join: {template: synthesis, vars: {style: long}, timeout: 0.5}
branches:
  - {name: a, task: b, path: sub, permissions: plan, trust: no, description: d, vars: {check: some}}
  - {name: c, template: synthesis, vars: {replies: 5}, cli: fake, settled: false}
"""
    found = read(text, options={"cli": "fake", "permissions": "full", "path": str(tmp_path)})
    assert (found.max_parallel, found.worktree) == (3, True)
    one, other = found.branches
    assert one.options == {
        "cli": "claude",
        "model": "m",
        "permissions": "plan",
        "path": str(tmp_path / "sub"),
        "trust": False,
        "description": "d",
    }
    assert (one.name, one.timeout, one.settled, one.brief.values) == ("a", 60.0, True, {"task": "b", "check": "some"})
    # Another template does not get the values of the plan's.
    assert (other.name, other.settled, other.brief.values) == ("c", False, {"replies": "5"})
    assert other.options["description"] == "c"
    assert other.options["path"] == str(tmp_path)
    assert found.join is not None
    assert (found.join.name, found.join.timeout, found.join.settled) == ("join", 0.5, True)
    assert found.join.brief.values == {"replies": "(to come)", "style": "long"}


def test_the_command_line_supplies_what_a_plan_omits() -> None:
    found = read("branches:\n  - {name: a, task: b}\n  - {name: A-_9, task: c, cli: }", settled=True, join="synthesis")
    assert (found.max_parallel, found.worktree) == (None, None)
    assert [(one.name, one.brief.text, one.timeout, one.settled) for one in found.branches] == [
        ("a", "b", 9.0, True),
        ("A-_9", "c", 9.0, True),
    ]
    assert found.branches[1].options["cli"] == "fake"
    assert found.join is not None
    assert found.join.brief.template is TEMPLATES["synthesis"]
    assert read("branches: [{name: a, task: b}]").join is None
    with pytest.raises(UsageError, match=r"p\.yaml:1: no template called 'nope'"):
        read("branches:\n  - {name: a, task: b}", join="nope")


@pytest.mark.parametrize(("join", "name"), [("synthesis", "synthesis"), ("{}", "synthesis"), ("greedy", "synthesis")])
def test_the_command_lines_template_for_the_join_takes_precedence(join: str, name: str) -> None:
    found = read(f"branches: [{{name: a, task: b}}]\njoin: {join}", join="synthesis")
    assert found.join is not None
    assert found.join.brief.template is TEMPLATES[name]


def test_a_branch_and_its_json_are_the_same() -> None:
    found = read("branches: [{name: a, task: b, template: task, settled: true}]")
    (branch,) = found.branches
    assert plan.from_json(branch.to_json()).to_json() == branch.to_json()
    assert plan.from_json(branch.to_json()).settled is True


def test_task_files_are_branches_named_after_them() -> None:
    files = [("/x/a b.c.md", "one"), ("tool.md", "two")]
    found = plan.from_tasks(files, defaults(template="task", vars={"check": "v"}, join="synthesis"), find)
    assert [(one.name, one.timeout) for one in found.branches] == [("a-b-c", 9.0), ("tool", 9.0)]
    assert [one.brief.values for one in found.branches] == [
        {"task": "one", "check": "v"},
        {"task": "two", "check": "v"},
    ]
    assert plan.from_tasks([("a.md", "x")], defaults(), find).join is None


@pytest.mark.parametrize(
    ("files", "why", "remedy"),
    [
        ([("b.md", " \n")], "b.md:1: the task is empty", "write down what to do"),
        ([("a.md", "x"), ("/y/a.txt", "x")], "/y/a.txt: invalid or duplicate branch name 'a'", "rename the file"),
        ([("join.md", "x")], "join.md: invalid or duplicate branch name 'join'", "rename the file"),
        ([("---.md", "x")], "---.md: invalid or duplicate branch name ''", "rename the file"),
    ],
)
def test_task_files_that_are_refused(files: list[tuple[str, str]], why: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan.from_tasks(files, defaults(), find)
    assert (caught.value.message, caught.value.data["next"]) == (why, remedy)


def test_a_join_whose_template_needs_more_is_refused() -> None:
    with pytest.raises(UsageError, match="the template greedy needs a value for topic"):
        plan.from_tasks([("a.md", "x")], defaults(join="greedy"), find)
