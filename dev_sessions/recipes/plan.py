"""The plan of a fan-out, read from YAML or made from task files. A bad plan is refused before anything starts.

Every error names the file, the line and what to write instead.
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

    from ..client import Creation

    # Finds a template by its name.
    Finder = Callable[[str], templates.Template]

JOIN = "join"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Branch(NamedTuple):
    """One session of a run.

    Attributes:
        name: unique in its run; its files and its git branch are named after it.
        brief: its first message.
        options: of `create`: `cli`, `model`, `path`, `permissions` and more.
        timeout: seconds after which we stop waiting for its turn.
        settled: also wait for work that it left in the background.
    """

    name: str
    brief: Briefing
    options: Creation
    timeout: float | None = None
    settled: bool = False

    def to_json(self) -> dict[str, Any]:
        """The JSON that a run stores."""
        return {**self._asdict(), "brief": self.brief.to_json()}


def from_json(value: Mapping[str, Any]) -> Branch:
    """The branch in the JSON of `Branch.to_json`."""
    brief, settled = briefing.from_json(value["brief"]), bool(value.get("settled"))
    return Branch(value["name"], brief, value["options"], value["timeout"], settled)


class Plan(NamedTuple):
    """The branches of a run, and how to run them. None: not set by the plan."""

    branches: tuple[Branch, ...]
    join: Branch | None = None
    max_parallel: int | None = None
    worktree: bool | None = None


class Defaults(NamedTuple):
    """The values, from the command line, for branches that do not set their own.

    Attributes:
        options: of `create`; `path` is absolute.
        template: the name of a template, or None.
        vars: values of its variables.
        timeout: seconds, or None.
        join: the name of a template for one more session, which gets all replies.
        settled: see `Branch`.
    """

    options: Creation
    template: str | None = None
    vars: Mapping[str, str] = {}
    timeout: float | None = None
    join: str | None = None
    settled: bool = False


def from_tasks(files: Sequence[tuple[str, str]], defaults: Defaults, find: Finder) -> Plan:
    """A plan of one branch for each task file, named after the file.

    Args:
        files: path and content of each.

    Raises:
        UsageError: two have the same name, one is empty, or the template cannot be filled.
    """
    branches: dict[str, Branch] = {}
    template = find(defaults.template) if defaults.template else None
    for path, text in files:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", os.path.splitext(os.path.basename(path))[0]).strip("-")[:64]
        if not text.strip():
            raise UsageError(f"{path}:1: the task is empty", next="write down what to do")
        if not _NAME.fullmatch(name) or name == JOIN or name in branches:
            raise UsageError(f"{path}: invalid or duplicate branch name {name!r}", next="rename the file")
        brief = briefing.briefing(template, text, defaults.vars)
        branches[name] = Branch(name, brief, defaults.options, defaults.timeout, defaults.settled)
    join = joined(find(defaults.join), defaults._replace(vars={})) if defaults.join is not None else None
    return Plan(tuple(branches.values()), join)


def joined(template: templates.Template, defaults: Defaults) -> Branch:
    """The session that joins the replies, which are filled in once they exist.

    Raises:
        UsageError: the template has required variables besides `replies`.
    """
    values = {"replies": "(to come)", **defaults.vars}
    template.check(values)
    return Branch(JOIN, Briefing(None, template, values), defaults.options, defaults.timeout, defaults.settled)


def from_yaml(path: str, text: str, defaults: Defaults, find: Finder, agents: Sequence[str]) -> Plan:
    """The plan in a file.

    Args:
        agents: the names of the agents that can be started.

    Raises:
        UsageError: the plan is invalid.
    """
    return _Reader(path, find, agents).plan(text, defaults)


class _Type(NamedTuple):
    """The type of a key's value."""

    kinds: tuple[str, ...]  # the YAML types that are allowed; empty: any
    read: Callable[[str], Any]  # makes the value from its text; None if it is invalid
    wanted: str
    example: str


def _one_of(words: Sequence[str]) -> _Type:
    return _Type((), lambda word: word if word in words else None, f"one of {', '.join(words)}", words[0])


def _seconds(word: str) -> float | None:
    try:
        seconds = float(word)
    except ValueError:
        return None
    return seconds if 0 < seconds < 3e9 else None


def _count(word: str) -> int | None:
    return (int(word) or None) if word.isdecimal() else None


_TEXT = _Type(("str",), str, "a text", '"..."')
_FLAG = _Type(("bool",), lambda word: word.lower() in ("true", "yes", "on"), "true or false", "true")
# `cli` is added with the agents that can be started, and `vars` is read separately.
_TYPES = {
    "name": _Type(("str",), lambda word: word if _NAME.fullmatch(word) else None, "letters, digits, - and _", "parser"),
    "task": _Type(("str",), lambda word: word if word.strip() else None, "a text that says what to do", '"..."'),
    **dict.fromkeys(("model", "path", "description", "template"), _TEXT),
    **dict.fromkeys(("trust", "settled", "worktree"), _FLAG),
    "permissions": _one_of(PERMISSIONS),
    "timeout": _Type(("int", "float"), _seconds, "a number of seconds", "600"),
    "max_parallel": _Type(("int",), _count, "a number above 0", "4"),
}
_OPTION_KEYS = ("cli", "model", "permissions", "trust", "description")
_DEFAULT_KEYS = (*_OPTION_KEYS, "path", "template", "vars", "timeout", "settled")
_BRANCH_KEYS = ("name", "task", *_DEFAULT_KEYS)
_PLAN_KEYS = ("defaults", "branches", "join", "max_parallel", "worktree")
_BRANCHES = "write branches: with a name and a task each"


class _Reader:
    """Reads one file. It works on YAML's nodes, not on values, because nodes know their lines."""

    def __init__(self, path: str, find: Finder, agents: Sequence[str]) -> None:
        self._path, self._find = path, find
        self._types = {**_TYPES, "cli": _one_of(agents)}

    def plan(self, text: str, given: Defaults) -> Plan:
        top = self._mapping(self._parsed(text), "the plan", _PLAN_KEYS)
        defaults = given
        if "defaults" in top:
            defaults = self._defaults(self._mapping(top["defaults"], "defaults", _DEFAULT_KEYS), given)
        if "branches" not in top:
            raise self._wrong(1, "the plan has no branches", _BRANCHES)
        node = top["branches"]
        if node.id != "sequence" or not node.value:
            raise self._wrong(node, "branches is not a list", "write a line `- name: ...` for each branch")
        branches: dict[str, Branch] = {}
        for one in node.value:
            branch = self._branch(one, defaults)
            if branch.name == JOIN:
                raise self._wrong(one, f"the name {JOIN} is taken by the session that joins", "choose another name")
            if branch.name in branches:
                raise self._wrong(one, f"there are two branches called {branch.name}", "choose another name")
            branches[branch.name] = branch
        join = self._join(top.get("join"), defaults)
        return Plan(tuple(branches.values()), join, self._value(top, "max_parallel"), self._value(top, "worktree"))

    def _parsed(self, text: str) -> Any:
        import yaml  # slow to import, and only plans need it

        try:
            node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            why = getattr(error, "problem", None) or " ".join(str(error).split())
            raise self._wrong(mark.line + 1 if mark else 1, f"invalid YAML: {why}", "correct the line") from error
        if node is None:
            raise self._wrong(1, "the plan is empty", _BRANCHES)
        return node

    def _branch(self, node: Any, defaults: Defaults) -> Branch:
        keys = self._mapping(node, "a branch", _BRANCH_KEYS)
        name = self._value(keys, "name")
        if name is None:
            raise self._wrong(node, "a branch has no name", "add name: and a word")
        own = self._defaults(keys, defaults)
        task = self._value(keys, "task")
        if task is None and own.template is None:
            raise self._wrong(node, f"the branch {name} has no task", "add task:, or a template: with its vars:")
        try:
            brief = briefing.briefing(self._find(own.template) if own.template else None, task, own.vars)
        except UsageError as error:
            raise self._wrong(keys.get("template", node), error.message, str(error.data["next"])) from error
        options: Creation = {**own.options, "description": own.options.get("description") or name}
        return Branch(name, brief, options, own.timeout, own.settled)

    def _defaults(self, keys: dict[str, Any], given: Defaults) -> Defaults:
        """The defaults `given`, overridden by these keys."""
        options: Any = {**given.options, **{key: self._value(keys, key) for key in _OPTION_KEYS if key in keys}}
        if "path" in keys:
            path = os.path.expanduser(self._value(keys, "path"))
            options["path"] = os.path.join(given.options.get("path") or ".", path)
            if not os.path.isdir(options["path"]):
                why, remedy = f"there is no folder {options['path']}", "correct the path, or make the folder"
                raise self._wrong(keys["path"], why, remedy)
        template = self._value(keys, "template", given.template)
        # Values for one template are not used for another.
        values = {**(given.vars if template == given.template else {}), **self._vars(keys.get("vars"))}
        timeout, settled = self._value(keys, "timeout", given.timeout), self._value(keys, "settled", given.settled)
        return Defaults(options, template, values, timeout, given.join, settled)

    def _join(self, node: Any, defaults: Defaults) -> Branch | None:
        """The session that joins. The command line's template for it takes precedence over the plan's."""
        own = defaults._replace(template=None, vars={})
        if node is not None:
            named = node.id == "scalar"
            own = self._defaults({"template": node} if named else self._mapping(node, "join", _DEFAULT_KEYS), own)
        name = defaults.join or own.template or (None if node is None else "synthesis")
        if name is None:
            return None
        try:
            return joined(self._find(name), own)
        except UsageError as error:
            raise self._wrong(1 if node is None else node, error.message, str(error.data["next"])) from error

    def _mapping(self, node: Any, what: str, allowed: Sequence[str]) -> dict[str, Any]:
        """The values of a mapping by their keys, without those that are null."""
        remedy = f"its keys are {', '.join(allowed)}"
        found: dict[str, Any] = {}
        for key, value in self._pairs(node, what, remedy):
            if key.value not in allowed:
                raise self._wrong(key, f"{what} has an unknown key {key.value!r}", remedy)
            if key.value in found:
                raise self._wrong(key, f"{what} has the key {key.value} twice", "remove one of the two")
            found[key.value] = value
        return {key: value for key, value in found.items() if value.id != "scalar" or _kind(value) != "null"}

    def _vars(self, node: Any) -> dict[str, str]:
        found = {}
        for key, value in [] if node is None else self._pairs(node, "vars", "write one variable per line"):
            if value.id != "scalar":
                why = f"the variable {key.value} is not a text"
                raise self._wrong(value, why, "write it after | on lines of its own, or in quotes")
            found[key.value] = value.value
        return found

    def _pairs(self, node: Any, what: str, remedy: str) -> list[tuple[Any, Any]]:
        if node.id != "mapping":
            raise self._wrong(node, f"{what} is not a list of `key: value`", remedy)
        for key, _ in node.value:
            if key.id != "scalar":
                raise self._wrong(key, f"a key of {what} is not a word", remedy)
        return [*node.value]

    def _value(self, keys: dict[str, Any], key: str, default: Any = None) -> Any:
        """The value of a key, read as its type; `default` if the key is missing."""
        if key not in keys:
            return default
        node, type = keys[key], self._types[key]
        is_kind = node.id == "scalar" and (not type.kinds or _kind(node) in type.kinds)
        value = type.read(node.value) if is_kind else None
        if value is None:
            shown = repr(node.value) if node.id == "scalar" else f"(a {node.id})"
            quoted = node.id == "scalar" and type.kinds == ("str",) and not is_kind
            remedy = f'put it in quotes: {key}: "{node.value}"' if quoted else f"write {key}: {type.example}"
            raise self._wrong(node, f"invalid {key} {shown}: it must be {type.wanted}", remedy)
        return value

    def _wrong(self, where: Any, why: str, remedy: str) -> UsageError:
        line = where if isinstance(where, int) else where.start_mark.line + 1
        return UsageError(f"{self._path}:{line}: {why}", next=remedy, path=self._path, line=line)


def _kind(node: Any) -> str:
    """The YAML type of a scalar: "str", "int", "null" and so on."""
    return str(node.tag).rpartition(":")[2]
