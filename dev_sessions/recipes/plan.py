"""Plans: what a fan-out is to do, read from YAML or made of task files, and refused before anything starts.

Every complaint names the file, the line and what to write instead.
"""

from __future__ import annotations

import os
import re

from .. import templates
from ..errors import UsageError
from ..model import PERMISSIONS
from ..values import NamedTuple
from . import briefing
from .briefing import Briefing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from yaml import MappingNode, Node

    from ..client import Creation

    # Finds a template by its name.
    Finder = Callable[[str], templates.Template]

JOIN = "join"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Branch(NamedTuple):
    """One session of a run.

    Attributes:
        name: unique in its run; names its files, and its git branch.
        brief: what it is told.
        options: of `create`: `cli`, `model`, `path`, `permissions` and more.
        timeout: seconds that its turn may take until we stop waiting.
        settled: its work is over only when what it left in the background is.
    """

    name: str
    brief: Briefing
    options: Creation
    timeout: float | None = None
    settled: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a run keeps it."""
        return {**self._asdict(), "brief": self.brief.to_json()}


def from_json(value: Mapping[str, Any]) -> Branch:
    """What `Branch.to_json` has written."""
    brief, settled = briefing.from_json(value["brief"]), bool(value.get("settled"))
    return Branch(value["name"], brief, value["options"], value["timeout"], settled)


class Plan(NamedTuple):
    """The branches, and what is to be done about all of them. None: the plan does not say."""

    branches: tuple[Branch, ...]
    join: Branch | None = None
    max_parallel: int | None = None
    worktree: bool | None = None


class Defaults(NamedTuple):
    """What holds for each branch that does not say otherwise; from the command line.

    Attributes:
        options: of `create`; `path` is absolute.
        template: the name of a template, or None.
        vars: values of its variables.
        timeout: seconds, or None.
        join: the name of a template for one more session, which gets all replies.
        settled: as of `Branch`.
    """

    options: Creation
    template: str | None = None
    vars: Mapping[str, str] = {}
    timeout: float | None = None
    join: str | None = None
    settled: bool = False


def from_tasks(files: Sequence[tuple[str, str]], defaults: Defaults, find: Finder) -> Plan:
    """A plan of one branch for each task file, called as the file is.

    Raises:
        UsageError: two have the same name, one is empty, or the template cannot be filled.
    """
    branches: list[Branch] = []
    template = find(defaults.template) if defaults.template else None
    for path, text in files:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", os.path.splitext(os.path.basename(path))[0]).strip("-")[:64]
        if not text.strip():
            raise UsageError(f"{path}:1: the task is empty", next="write down what is to be done")
        if not _NAME.fullmatch(name) or name == JOIN or name in [branch.name for branch in branches]:
            raise UsageError(f"{path}: no branch, or another one too, can be called {name!r}", next="rename the file")
        brief = briefing.briefing(template, text, defaults.vars)
        branches.append(Branch(name, brief, defaults.options, defaults.timeout, defaults.settled))
    join = None if defaults.join is None else joined(find(defaults.join), defaults)
    return Plan(tuple(branches), join)


def joined(template: templates.Template, defaults: Defaults, **more: str) -> Branch:
    """The session that brings the replies together; they are filled in once they are there.

    Raises:
        UsageError: the template has other required variables than `replies`.
    """
    values = {"replies": "(to come)", **more}
    template.check(values)
    return Branch(JOIN, Briefing(None, template, values), defaults.options, defaults.timeout, defaults.settled)


def from_yaml(path: str, text: str, defaults: Defaults, find: Finder, agents: Sequence[str]) -> Plan:
    """The plan that a file tells; `agents` are those that there are.

    Raises:
        UsageError: it is broken; see the top of this module.
    """
    return _Reader(path, find, agents).plan(text, defaults)


class _Reader:
    """One file. Nodes, not values, since they know their lines."""

    def __init__(self, path: str, find: Finder, agents: Sequence[str]) -> None:
        self._path, self._find, self._agents = path, find, agents

    def plan(self, text: str, given: Defaults) -> Plan:
        top = self._mapping(self._parsed(text), "the plan", _PLAN_KEYS)
        defaults = self._defaults(top["defaults"], given) if "defaults" in top else given
        branches = self._branches(top, defaults)
        join = self._join(top, defaults)
        number = self._whole(top["max_parallel"], "max_parallel") if "max_parallel" in top else None
        worktree = self._yes_or_no(top["worktree"], "worktree") if "worktree" in top else None
        return Plan(branches, join, number, worktree)

    def _parsed(self, text: str) -> Any:
        import yaml  # dear, and of use to nobody else

        try:
            node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            why = getattr(error, "problem", None) or " ".join(str(error).split())
            raise self._wrong(mark.line + 1 if mark else 1, f"no YAML: {why}", "correct the line") from error
        if node is None:
            raise self._wrong(1, "the plan is empty", "write branches: with a name and a task each")
        return node

    def _branches(self, top: dict[str, Node], defaults: Defaults) -> tuple[Branch, ...]:
        node = top.get("branches")
        if node is None:
            raise self._wrong(1, "the plan has no branches", "write branches: with a name and a task each")
        if _form(node) != "sequence" or not node.value:
            raise self._wrong(node, "branches is no list", "write a line `- name: ...` for each branch")
        found: dict[str, Branch] = {}
        for one in node.value:
            branch = self._branch(one, defaults)
            if branch.name in found or branch.name == JOIN:
                why = "is the session that joins" if branch.name == JOIN else "is there twice"
                raise self._wrong(one, f"the branch {branch.name} {why}", "choose another name")
            found[branch.name] = branch
        return tuple(found.values())

    def _branch(self, node: Node, defaults: Defaults) -> Branch:
        keys = self._mapping(node, "a branch", _BRANCH_KEYS)
        if "name" not in keys:
            raise self._wrong(node, "a branch has no name", "add name: and a word")
        name = self._text(keys["name"], "name")
        if not _NAME.fullmatch(name):
            raise self._wrong(keys["name"], f"{name!r} is no name of a branch", "use letters, digits, - and _")
        of = self._defaults(node, defaults, keys)
        task = self._text(keys["task"], "task") if "task" in keys else None
        if task is not None and not task.strip():
            raise self._wrong(keys["task"], f"the task of {name} is empty", "say what is to be done")
        if task is None and of.template is None:
            raise self._wrong(node, f"the branch {name} has no task", "add task:, or a template: with its vars:")
        options: Creation = {**of.options, "description": of.options.get("description") or name}
        return Branch(name, self._brief(keys.get("template", node), of, task), options, of.timeout, of.settled)

    def _brief(self, node: Node, of: Defaults, task: str | None) -> Briefing:
        try:
            return briefing.briefing(self._find(of.template) if of.template else None, task, of.vars)
        except UsageError as error:
            raise self._wrong(node, error.message, str(error.data["next"])) from error

    def _defaults(self, node: Node, given: Defaults, keys: dict[str, Node] | None = None) -> Defaults:
        """`given`, but for what the node says."""
        keys = self._mapping(node, "defaults", _DEFAULT_KEYS) if keys is None else keys
        options: Creation = {**given.options}
        if "model" in keys:
            options["model"] = self._text(keys["model"], "model")
        if "description" in keys:
            options["description"] = self._text(keys["description"], "description")
        if "cli" in keys:
            options["cli"] = self._one_of(keys["cli"], "cli", self._agents)
        if "permissions" in keys:
            options["permissions"] = self._one_of(keys["permissions"], "permissions", PERMISSIONS)
        if "trust" in keys:
            options["trust"] = self._yes_or_no(keys["trust"], "trust")
        if "path" in keys:
            options["path"] = self._folder(keys["path"], given.options.get("path") or ".")
        template = self._text(keys["template"], "template") if "template" in keys else given.template
        of_other = "template" in keys and template != given.template
        values = {**({} if of_other else given.vars), **(self._vars(keys["vars"]) if "vars" in keys else {})}
        timeout = self._seconds(keys["timeout"]) if "timeout" in keys else given.timeout
        settled = self._yes_or_no(keys["settled"], "settled") if "settled" in keys else given.settled
        return Defaults(options, template, values, timeout, given.join, settled)

    def _join(self, top: dict[str, Node], defaults: Defaults) -> Branch | None:
        """The command line's template for it goes before the plan's."""
        node = top.get("join")
        keys = self._mapping(node, "join", _DEFAULT_KEYS) if node is not None and _form(node) == "mapping" else {}
        if node is not None and _form(node) == "scalar":
            keys = {"template": node}
        plain = defaults._replace(template=None, vars={})
        of = self._defaults(node, plain, keys) if node is not None else plain
        name = defaults.join or of.template or ("synthesis" if node is not None else None)
        if name is None:
            return None
        try:
            return joined(self._find(name), of, **of.vars)
        except UsageError as error:
            raise self._wrong(node if node is not None else 1, error.message, str(error.data["next"])) from error

    # Values.

    def _mapping(self, node: Node, what: str, allowed: Sequence[str]) -> dict[str, Node]:
        if _form(node) != "mapping":
            raise self._wrong(node, f"{what} is no list of `key: value`", f"its keys are {', '.join(allowed)}")
        found: dict[str, Node] = {}
        pairs: MappingNode = node  # type: ignore[assignment]
        for key, value in pairs.value:
            name = self._plain(key, f"a key of {what}")
            if name not in allowed:
                raise self._wrong(key, f"{what} has an unknown key {name!r}", f"its keys are {', '.join(allowed)}")
            if name in found:
                raise self._wrong(key, f"{what} has the key {name} twice", "remove one of the two")
            if not (_form(value) == "scalar" and _kind(value) == "null"):
                found[name] = value
        return found

    def _vars(self, node: Node) -> dict[str, str]:
        if _form(node) != "mapping":
            raise self._wrong(node, "vars is no list of `name: value`", "write one variable a line")
        pairs = [(self._plain(key, "the name of a variable"), value) for key, value in node.value]
        return {name: self._plain(value, f"the variable {name}") for name, value in pairs}

    def _plain(self, node: Node, what: str) -> str:
        if _form(node) != "scalar":
            raise self._wrong(node, f"{what} is no text", "write it behind | on lines of its own, or in quotes")
        return str(node.value)

    def _text(self, node: Node, key: str) -> str:
        text = self._plain(node, key)
        if _kind(node) != "str":
            raise self._wrong(node, f"{key} is no text but {text}", f'put it in quotes: {key}: "{text}"')
        return text

    def _one_of(self, node: Node, key: str, allowed: Sequence[str]) -> str:
        word = self._plain(node, key)
        if word not in allowed:
            what = "unknown agent" if key == "cli" else f"no {key} called"
            raise self._wrong(node, f"{what} {word!r}", f"one of {', '.join(allowed)}")
        return word

    def _folder(self, node: Node, base: str) -> str:
        path = os.path.join(base, os.path.expanduser(self._text(node, "path")))
        if not os.path.isdir(path):
            raise self._wrong(node, f"there is no folder {path}", "correct the path, or make the folder")
        return path

    def _whole(self, node: Node, key: str) -> int:
        if _kind(node) != "int" or not str(node.value).isdecimal() or int(node.value) < 1:
            raise self._wrong(node, f"{key} is no number above 0", f"write {key}: 4")
        return int(node.value)

    def _seconds(self, node: Node) -> float:
        try:
            seconds = float(str(node.value)) if _kind(node) in ("int", "float") else -1.0
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < 3e9:
            raise self._wrong(node, "timeout is no number of seconds", "write timeout: 600")
        return seconds

    def _yes_or_no(self, node: Node, key: str) -> bool:
        if _kind(node) != "bool":
            raise self._wrong(node, f"{key} is neither true nor false", f"write {key}: true")
        return str(node.value).lower() in ("true", "yes", "on")

    def _wrong(self, where: Node | int, why: str, remedy: str) -> UsageError:
        line = where if isinstance(where, int) else where.start_mark.line + 1
        return UsageError(f"{self._path}:{line}: {why}", next=remedy, path=self._path, line=line)


_DEFAULT_KEYS = (
    *("cli", "model", "path", "permissions", "trust", "description", "template", "vars", "timeout", "settled"),
)
_BRANCH_KEYS = ("name", "task", *_DEFAULT_KEYS)
_PLAN_KEYS = ("defaults", "branches", "join", "max_parallel", "worktree")


def _form(node: Any) -> str:
    """What a node is: "mapping", "sequence" or "scalar"."""
    return str(node.id)


def _kind(node: Any) -> str:
    """What a value is: "str", "int", "null" and so on."""
    return str(node.tag).rpartition(":")[2]
