"""The layers of the package, checked in the syntax of every module."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

import dev_sessions
from dev_sessions import service

ROOT = Path(dev_sessions.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") or "__init__": file
    for file in FILES
}
MODULES["__init__"] = ROOT / "__init__.py"
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in MODULES.items()}

# A package may import only from lower layers, and within its own layer only what is listed here.
FLOORS = [
    {
        "__init__",
        "model",
        "fold",
        "turns",
        "wire",
        "operations",
        "errors",
        "config",
        "names",
        "proof",
        "values",
        "git",
        "system",
        "text",
    },
    {"state", "terminal"},
    {"backends"},
    {"service"},
    {"transport"},
    {"client", "gateway"},
    {"recipes", "templates", "skills", "doctor"},
    {"cli"},
    {"app", "__main__"},
]
BESIDE = {
    "model": {"values"},
    "fold": {"model"},
    "turns": {"fold", "model"},
    "wire": {"errors", "values"},
    "operations": {"errors", "values"},
    "config": {"errors", "values"},
    "git": {"config", "errors", "system"},
    "system": {"errors", "system"},
    "state": {"state"},
    "terminal": {"terminal"},
    "backends": {"backends"},
    "service": {"service"},
    "transport": {"transport"},
    "recipes": {"recipes", "templates"},
    "doctor": {"skills"},
    "cli": {"cli"},
}
# Narrower than the floors.
ONLY = {
    "values": set(),
    "model": {"values"},
    "errors": set(),
    "names": set(),
    "fold": {"model"},
    "turns": {"fold", "model"},
    "wire": {"errors", "values"},
    "operations": {"errors", "values"},
    "proof": set(),
    "text": set(),
    "git": {"config", "errors", "system"},
    "templates": {"errors", "git", "system", "text", "values"},
    "system": {"errors", "system"},
    "state": {"errors", "model", "state", "system", "turns", "values"},
    "terminal": {"errors", "system", "terminal"},
    "transport": {"service", "wire", "errors", "transport", "config", "proof"},
    "gateway": {"gateway", "wire", "errors", "system", "values", "proof"},
    "client": {"wire", "errors", "operations"},
    "skills": {"backends", "errors", "system", "text", "values"},
}
# The composition root hands `cli` its client; it is imported when a command runs.
UPWARD = {("cli", "app"), ("__main__", "cli")}

# Libraries that only one package may import.
ONE_ROOM = {
    "filelock": {"system.locks"},
    "pexpect": {"terminal.screen"},
    "ptyprocess": set(),
    "typer": {"cli.input", "cli.options"},
    "click": set(),
    "rich": set(),
    "websockets": {"backends.codex.connection"},
    "yaml": {"config", "recipes.plan", "text"},
    "subprocess": {"gateway.unit", "terminal.server", "terminal.tmux", "system.processes", "git", "backends.programs"},
    "ctypes": {"system.waiting"},
    "logging": set(),
}
OUTPUT = {"print", "input", "sys.exit", "exit", "quit", "sys.stdout", "sys.stderr", "sys.stdin", "os._exit"}


@functools.cache
def imported(name):
    """What a module imports, wherever in it: (absolute dotted name, line)."""
    return list(_imported(name))


def _imported(name):
    package = MODULES[name].relative_to(ROOT).parts[:-1]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.module, node.lineno
                continue
            base = ["dev_sessions", *package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            base = [part for part in base if part]
            for alias in node.names:
                below = ".".join([*base[1:], alias.name])
                yield ".".join([*base, alias.name] if below in MODULES else base), node.lineno


@functools.cache
def typing_only(name):
    """The lines of a module that only a type checker reads."""
    lines = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            lines.update(range(node.lineno, node.end_lineno + 1))
    return lines


def room(dotted):
    """The top-level package of a module."""
    return (dotted.removeprefix("dev_sessions").lstrip(".") or "__init__").partition(".")[0]


def floor(of):
    found = [number for number, rooms in enumerate(FLOORS) if of in rooms]
    assert found, f"{of}: on no floor; say where it belongs"
    return found[0]


def test_every_module_has_a_floor():
    for name in MODULES:
        floor(room(name))


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_only(name):
    mine, wrong = room(name), []
    for dotted, line in imported(name):
        if dotted.partition(".")[0] != "dev_sessions":
            continue
        theirs = room(dotted)
        if mine in ONLY:
            fine = theirs in ONLY[mine] or theirs == "__init__"
        else:
            fine = floor(theirs) < floor(mine) or theirs in BESIDE.get(mine, set()) or (mine, theirs) in UPWARD
        if not fine and not (theirs == mine and "." not in name):
            wrong.append(f"line {line}: {mine} uses {theirs}")
    assert wrong == []


def dependencies(name):
    """The modules of ours that a module imports, at once or when it runs, but not those for a type checker alone."""
    dotted = (dotted for dotted, line in imported(name) if line not in typing_only(name))
    ours = {
        one.removeprefix("dev_sessions").lstrip(".") or "__init__" for one in dotted if one.startswith("dev_sessions")
    }
    return (ours & MODULES.keys()) - {name}


def test_imports_have_no_circle():
    left = {name: dependencies(name) for name in MODULES}
    # Take away what needs nothing that is left, or is needed by nothing, as often as there is any: circles remain.
    while True:
        needed = set().union(*left.values())
        kept = {name: needs & left.keys() for name, needs in left.items() if needs & left.keys() and name in needed}
        if kept == left:
            break
        left = kept
    assert left == {}


def test_no_operation_uses_the_module_of_another():
    operations = {f"service.{place.partition(':')[0]}" for place in service.OPERATIONS.values()}
    assert {name: dependencies(name) & operations for name in operations if dependencies(name) & operations} == {}


def test_no_agent_knows_another():
    agents = {path.name for path in (ROOT / "backends").iterdir() if (path / "__init__.py").exists()}
    for name in MODULES:
        if name.startswith("backends."):
            mine = name.split(".")[1]
            others = {
                dotted.split(".")[2] for dotted, _ in imported(name) if dotted.count(".") >= 2 and "backends" in dotted
            }
            assert not (others & agents) - {mine}, name


def test_only_the_table_of_backends_names_an_agent():
    for name in MODULES:
        if room(name) != "backends":
            found = [dotted for dotted, _ in imported(name) if dotted.startswith("dev_sessions.backends.")]
            general = {f"dev_sessions.backends.{module}" for module in ("base", "session", "programs", "detached")}
            assert set(found) <= general, name


@pytest.mark.parametrize("foreign", ONE_ROOM)
def test_each_library_is_used_in_one_package(foreign):
    users = {name for name in MODULES for dotted, _ in imported(name) if dotted.partition(".")[0] == foreign}
    assert users <= ONE_ROOM[foreign]


def uses(name, wanted):
    """Where a module uses one of the dotted names: (name, line)."""
    return [(used, line) for used, line in used_in(name) if used in wanted]


@functools.cache
def used_in(name):
    nodes = [node for node in ast.walk(TREES[name]) if isinstance(node, (ast.Attribute, ast.Name))]
    return [(ast.unparse(node), node.lineno) for node in nodes]


def test_the_environment_is_read_in_one_module():
    wanted = {"os.environ", "os.getenv", "os.environb", "os.putenv", "os.unsetenv"}
    found = {(name, line) for name in MODULES for _, line in uses(name, wanted)}
    assert {(name, line) for name, line in found if name != "config"} == set()


def test_only_the_command_line_prints_and_exits():
    found = [
        (name, used, line)
        for name in MODULES
        if room(name) not in ("cli", "__main__")
        for used, line in uses(name, OUTPUT)
    ]
    assert found == []


def test_in_the_command_line_only_one_module_writes():
    wanted = {"print", "sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer", "typer.echo", "typer.secho"}
    found = [(name, line) for name in MODULES if name != "cli.output" for _, line in uses(name, wanted)]
    assert found == []


def test_nothing_sleeps():
    # There is no event for a machine elsewhere that is back.
    asleep = [name for name in MODULES if name != "transport.http"]
    found = [(name, line) for name in asleep for _, line in uses(name, {"time.sleep", "sleep", "asyncio.sleep"})]
    assert found == []


def test_nothing_runs_in_a_shell():
    wanted = {"os.system", "os.popen", "eval", "exec"}
    assert [(name, line) for name in MODULES for _, line in uses(name, wanted)] == []
    shell = [
        (name, node.lineno)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]
    assert shell == []


AGENTS = ("claude", "codex")


def test_no_branch_on_the_name_of_an_agent_outside_the_backends():
    found = []
    for name, tree in TREES.items():
        if room(name) == "backends":
            continue
        for node in ast.walk(tree):
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            compared += (
                [node.pattern.value]
                if isinstance(node, ast.match_case) and isinstance(node.pattern, ast.MatchValue)
                else []
            )
            compared += [node.slice] if isinstance(node, ast.Subscript) else []
            compared += [key for key in node.keys if key] if isinstance(node, ast.Dict) else []
            words = {leaf.value for one in compared for leaf in ast.walk(one) if isinstance(leaf, ast.Constant)}
            if words & set(AGENTS):
                found.append((name, node.lineno))
    assert found == []


@pytest.mark.parametrize("name", ["model", "fold", "turns", "names", "wire", "operations", "errors"])
def test_the_lowest_layer_has_no_input_or_output(name):
    foreign = {
        dotted.partition(".")[0]
        for dotted, line in imported(name)
        if line not in typing_only(name) and not dotted.startswith("dev_sessions")
    }
    assert foreign <= {"__future__", "typing", "json"}
    assert [used for used, _ in uses(name, {"open", "time.time", "time.monotonic"})] == []


@pytest.mark.parametrize("name", MODULES)
def test_files_stay_small(name):
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring(name):
    assert ast.get_docstring(TREES[name])


WORDS = {"manager", "helper", "helpers", "handler", "utils", "util", "processor", "raw", "data"}


def test_names_of_modules_classes_and_functions():
    found = []
    for name, tree in TREES.items():
        own = [node.name for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
        for one in [*name.split("."), *own]:
            words = set("".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in one).split("_"))
            if words & WORDS:
                found.append((name, one))
    assert found == []
