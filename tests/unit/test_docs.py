"""The documents match the code: the commands, options, files, codes and fields that they mention exist."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from examples import NOT_RUN, blocks, command, documents, examples

import dev_sessions
from dev_sessions import errors, model, operations, service, wire
from dev_sessions.cli import input, output
from dev_sessions.errors import DevSessionsError
from dev_sessions.state import registry

ROOT = Path(__file__).resolve().parents[2]
# The skills have tests of their own.
DOCUMENTS = tuple(path for path in documents() if path not in ("CLAUDE.md", "CHANGELOG.md") and "SKILL" not in path)
PROTOCOL, LAYOUT, README = (ROOT / "docs/protocol.md", ROOT / "docs/layout.md", ROOT / "README.md")

ROOT_COMMAND = typer.main.get_command(input.app)
COMMANDS = ROOT_COMMAND.commands  # type: ignore[attr-defined]
# Of a command that has several forms, the options of all.
OPTIONS = {
    name: {
        option
        for form in (command, *getattr(command, "commands", {}).values())
        for parameter in form.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    | {"-h", "--help"}
    for name, command in COMMANDS.items()
}
OPTIONS[""] = {option for parameter in ROOT_COMMAND.params for option in parameter.opts} | {"-h", "--help"}

# Options of other programs that the documents mention.
FOREIGN = {
    "--strict": "mypy",
    **dict.fromkeys(("--rm", "--init", "--user"), "docker run"),
    **dict.fromkeys(("--only", "--page", "--quick", "--rounds"), "tests/bench"),
}

_CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_CALL = re.compile(r"\bdev-sessions ([a-z-]+|--[\w-]+)(.*)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z])(?![\w-])")


def code_of(text: str) -> Iterator[str]:
    """Every line of code in a document: of fenced and indented blocks, and of code within a sentence."""
    for fenced, inline in _CODE.findall(text):
        yield from (fenced or inline).splitlines()
    yield from (line.strip() for line in text.splitlines() if line.startswith("    "))


def rows(text: str, heading: str) -> list[list[str]]:
    """The rows below the head of the table whose first column is called so."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    found = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def words(cell: str) -> set[str]:
    """The code words in a cell."""
    return set(re.findall(r"`([^`]+)`", cell))


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> str:
    return (ROOT / request.param).read_text()


def test_commands_in_documents_exist_with_their_options(document: str) -> None:
    for line in code_of(document):
        for name, rest in _CALL.findall(line):
            if name.startswith("--"):
                assert name in OPTIONS[""], line
                continue
            for each in re.split(r" \| ", name + rest.partition("#")[0]):  # "wait | status": one line, several commands
                command = re.match(r"[a-z-]*", each)[0]
                assert command in COMMANDS, line
                unquoted = re.sub(r'"[^"]*"', "", each)
                assert set(_OPTION.findall(unquoted)) <= OPTIONS[command], line


def test_options_in_documents_exist(document: str) -> None:
    every = set().union(*OPTIONS.values(), FOREIGN)
    for line in code_of(document):
        # The demo has options of its own.
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)) <= every, line


def test_readme_lists_exactly_the_existing_commands() -> None:
    told = {}
    for cell, text in rows(README.read_text(), "command"):
        for span in words(cell):
            name, _, arguments = span.partition(" ")
            told.setdefault(name, set()).update(_OPTION.findall(arguments + " ".join(words(text))))
    assert told.keys() == {name for name, command in COMMANDS.items() if not command.hidden}
    for name, options in told.items():
        assert options <= OPTIONS[name]


def test_targets_of_make_in_documents_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in code_of(document):
        if line.startswith("make "):
            assert line.split()[1] in targets, line


def test_links_in_documents_lead_to_files() -> None:
    for name in (*DOCUMENTS, "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
            assert target.startswith("https://") or (ROOT / name).parent.joinpath(target).exists(), (name, target)


def test_files_in_documents_exist(document: str) -> None:
    top = r"(?:dev_sessions|docs|scripts|tests)/[\w./-]*\w|(?:README|AGENTS|CHANGELOG)\.md"
    for path in re.findall(rf"`({top})/?`", document):
        assert (ROOT / path).exists(), path


def test_tests_in_documents_exist(document: str) -> None:
    for path, name in re.findall(r"`([\w/]+\.py)::(\w+)`", document):
        assert f"\ndef {name}(" in (ROOT / "tests" / path).read_text(), (path, name)


def test_tree_in_layout_is_the_tree_of_the_package() -> None:
    block = LAYOUT.read_text().partition("## The tree")[2].partition("    scripts/")[0]
    drawn, folders = set(), {}
    for line in re.findall(r"^    ( *\S+)", block, re.MULTILINE):
        depth, name = len(line) - len(line.lstrip()), line.strip()
        parent = folders.get(max((d for d in folders if d < depth), default=None), Path())
        if name.endswith("/"):
            folders = {d: path for d, path in folders.items() if d < depth} | {depth: parent / name}
            assert (ROOT / parent / name).is_dir(), name
        else:
            drawn.add(str(parent / name))
    modules = {path.relative_to(ROOT) for path in (ROOT / "dev_sessions").rglob("*.py")}
    # A package whose __init__ only has a docstring needs no line.
    wanted = {str(path) for path in modules if len(ast.parse((ROOT / path).read_text()).body) > 1}
    assert wanted <= drawn
    assert drawn <= {str(path) for path in modules}


def test_scripts_in_layout_are_those_that_exist() -> None:
    lines = LAYOUT.read_text().partition("    scripts/")[2].partition("    tests/")[0]
    assert set(re.findall(r"\w+\.py", lines)) == {path.name for path in (ROOT / "scripts").glob("*.py")}


def test_functions_named_in_layout_exist() -> None:
    named = set(re.findall(r"`(?:\w+\.)*(\w+)\(\)`", LAYOUT.read_text()))
    defined = set()
    for path in (ROOT / "dev_sessions").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                defined.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                defined.add(node.target.id)
    assert named
    assert named <= defined


def test_permissions_of_codex_are_those_that_it_is_given() -> None:
    from dev_sessions.backends.codex import thread

    table = rows((ROOT / "docs/codex.md").read_text(), "`--permissions`")
    told = {name.strip("`"): (policy.strip("`"), sandbox.strip("`")) for name, policy, sandbox, _ in table}
    assert told == thread._POLICIES


def test_ends_of_a_goal_have_the_exit_codes_of_the_output() -> None:
    for spans, codes, _ in rows((ROOT / "docs/codex.md").read_text(), "it prints"):
        outcomes = re.findall(r"`(\w+)`", spans)
        told = [int(code) for code in codes.split(",")]
        assert [output.outcome_code([outcome]) for outcome in outcomes] == told * (len(outcomes) // len(told))


def test_exit_codes_are_those_of_the_output() -> None:
    table = rows(PROTOCOL.read_text(), "exit code")
    told = {int(code): (words(of_errors), words(of_outcomes)) for code, of_errors, of_outcomes in table}
    for code, (of_errors, of_outcomes) in told.items():
        assert of_errors == {name for name, exit in output._EXIT_CODES.items() if exit == code}
        if code:
            assert of_outcomes == {name for name, exit in output._OUTCOME_CODES.items() if exit == code}
    assert {*output._EXIT_CODES.values(), *output._OUTCOME_CODES.values()} <= told.keys()
    assert [int(row[0]) for row in rows(README.read_text(), "exit code")] == list(told)
    usage = str(input.app.info.help).partition("Exit codes:")[2]
    assert [int(number) for number in re.findall(r"\d+", usage)] == list(told)


def test_error_codes_are_those_of_the_tree() -> None:
    for module in pkgutil.walk_packages(dev_sessions.__path__, "dev_sessions."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds = [DevSessionsError]
    for kind in kinds:
        kinds += [sub for sub in kind.__subclasses__() if sub.__module__.startswith("dev_sessions.")]
    told = [code for row in rows(PROTOCOL.read_text(), "code") for code in words(row[0])]
    assert sorted(told) == sorted({kind.code for kind in kinds})
    assert {code for code in told if code in errors._BY_CODE} == errors._BY_CODE.keys()


def test_operations_and_their_parameters_are_those_that_are_declared() -> None:
    table = {row[0].strip("`"): row[1] for row in rows(PROTOCOL.read_text(), "operation")}
    assert table.keys() == operations.OPERATIONS.keys() == service.OPERATIONS.keys()
    for operation, cell in table.items():
        declared = operations.OPERATIONS[operation].parameters
        told = dict(span.partition("=")[::2] for span in words(cell))
        assert told == {name: "" if one.default is None else json.dumps(one.default) for name, one in declared.items()}
        required = {name for name, parameter in declared.items() if parameter.required}
        assert set(re.findall(r"\*\*`(\w+)`\*\*", cell)) == required, operation
    kinds = {row[0]: words(row[1]) for row in rows(PROTOCOL.read_text(), "type")}
    by_kind: dict[str, set[str]] = {}
    for one in operations.OPERATIONS.values():
        for name, parameter in one.parameters.items():
            by_kind.setdefault(parameter.kind, set()).add(name)
    assert sorted(map(sorted, kinds.values())) == sorted(map(sorted, by_kind.values()))


def test_the_protocol_says_what_each_repeated_request_does() -> None:
    told = [words(row[0]) for row in rows(PROTOCOL.read_text(), "request")]
    names = [name for cell in told for name in cell]
    assert sorted(names) == sorted(operations.OPERATIONS)
    (reading,) = (cell for cell in told if len(cell) > 1)
    assert reading == {name for name, one in operations.OPERATIONS.items() if not one.acts and not one.local}


def test_the_service_uses_the_parameters_that_are_declared() -> None:
    told = {name: set(one.parameters) for name, one in operations.OPERATIONS.items()}
    by_module: dict[str, set[str]] = {}
    for operation, parameters in told.items():
        by_module.setdefault(service.OPERATIONS[operation].partition(":")[0], set()).update(parameters)
    for module, parameters in by_module.items():
        source = (ROOT / f"dev_sessions/service/{module}.py").read_text()
        assert parameters == set(re.findall(r'params(?:\.get\(|\[)"(\w+)"', source)), module


def test_examples_of_the_wire_format_are_valid() -> None:
    examples = re.findall(r"```ndjson\n(.*?)```", PROTOCOL.read_text(), re.DOTALL)
    requests, answers = (block.encode().splitlines(keepends=True) for block in examples)
    assert [wire.encode_request(wire.decode_request(line)) for line in requests] == requests
    assert [wire.decode_frame(line).kind for line in answers] == ["event", "alive", "result", "error"]
    assert [wire.encode_frame(wire.decode_frame(line)) for line in answers] == answers
    failed = errors.from_wire(wire.decode_frame(answers[-1]).value)
    assert isinstance(failed, errors.SessionNotFound)


def test_versions_are_those_of_the_code() -> None:
    text = PROTOCOL.read_text()
    assert re.findall(r"Protocol version: (\d+)", text) == [str(wire.PROTOCOL_VERSION)]
    assert re.findall(r'"format": (\d+)', text) == [str(registry.FORMAT)]
    minor = dev_sessions.__version__.rpartition(".")[0]
    assert f"Version {minor} " in README.read_text()
    assert f"## [{dev_sessions.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_fields_of_a_question_are_those_of_the_model() -> None:
    (text,) = re.findall(r"\*\*A question\*\*: (.*?)\n\n", PROTOCOL.read_text(), re.DOTALL)
    question = model.Question("q", "permission", "Bash: ls", ("allow",), 1.0).to_json()
    told = words(text) - {"permission", "question", "plan", "dialog"}
    assert told == {*question, *question["options"][0]}


def test_variables_in_documents_are_read_somewhere(document: str) -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "dev_sessions").rglob("*.py"))
    for name in set(re.findall(r"DEV_SESSIONS_\w+", document)):
        assert f'"{name}"' in sources or f"{name}=" in sources, name


def test_every_variable_that_is_read_is_documented() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "dev_sessions").rglob("*.py"))
    assert set(re.findall(r"\bDEV_SESSIONS_\w+", sources)) <= set(re.findall(r"DEV_SESSIONS_\w+", PROTOCOL.read_text()))


def test_shell_examples_are_marked_as_such_so_that_they_are_run() -> None:
    for path, text in documents().items():
        assert all(language for language, _ in blocks(text)), path
        assert text.count("\n```") == 2 * len(blocks(text)), path
        if path not in ("AGENTS.md", "CLAUDE.md"):  # a list of targets, no example
            assert not re.findall(r"^    (?:dev-sessions|make|pipx?|uv|npm|git|claude|codex) .*", text, re.MULTILINE), (
                path
            )


def test_lines_that_no_test_runs_are_in_an_example() -> None:
    lines = {command(line) for block in examples().values() for line in block.splitlines()}
    assert NOT_RUN.keys() <= lines
    assert all(not line.startswith("dev-sessions") for line in NOT_RUN)


def test_agents_have_one_page() -> None:
    assert (ROOT / "CLAUDE.md").samefile(ROOT / "AGENTS.md")
    assert len((ROOT / "AGENTS.md").read_text().splitlines()) <= 80
