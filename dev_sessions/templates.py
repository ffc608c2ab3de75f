"""Briefing templates: Markdown with `${variables}`, which YAML front matter declares.

A template is looked up by name in the project's `.dev-sessions/templates`, in `templates` in the state folder (the
user's own), and among those of this version; the first one counts. A missing or unknown variable is an error.

A project's template may come from anybody: it must be a regular file of a sensible size, its front matter holds
strings, and control characters are removed.
"""

from __future__ import annotations

import errno
import json
import os
import re

from . import git
from .errors import UsageError
from .system import files
from .text import NotPlain, plain_yaml, stripped
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Filled from the session that gets the briefing. Templates do not declare them, and they cannot be set.
FACTS = ("id", "path", "branch", "parent", "depth")
MESSAGE = "task"  # the variable that gets the message of a command
REPORTS = ("DONE", "DONE_WITH_CONCERNS", "BLOCKED")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_PLACE = re.compile(r"\$(\$(?=\{)|\{([^}\n]*)\})")
_REPORT = re.compile(r"^```(?:json|report)[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_KEYS = {"name", "version", "description", "variables"}
_KEYS_OF_VARIABLE = {"description", "required", "default"}
_REQUIRED = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MOST = 1_000_000  # bytes; our templates have a few thousand
_LIST = "dev-sessions templates list"


class Variable(NamedTuple):
    """A variable of a template; without a `default` it is required."""

    name: str
    description: str
    default: str | None

    def to_json(self) -> dict[str, Any]:
        """As `templates show --json` prints it."""
        return {
            "name": self.name,
            "description": self.description,
            "required": self.default is None,
            "default": self.default,
        }


class Template(NamedTuple):
    """A template.

    Attributes:
        name: its file's name without `.md`.
        variables: in the order in which they are declared.
        body: the Markdown below the front matter.
        text: the whole file, without control characters.
        source: "built-in", "user" or "project"; "run" for one that a run keeps.
    """

    name: str
    version: str
    description: str
    variables: tuple[Variable, ...]
    body: str
    text: str
    source: str
    path: str

    def to_json(self) -> dict[str, Any]:
        """As `templates list --json` prints it."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "variables": [variable.to_json() for variable in self.variables],
            "source": self.source,
            "path": self.path,
        }

    @property
    def wants(self) -> set[str]:
        """The session's facts that its body uses."""
        return {name for _, name in _PLACE.findall(self.body)} & {*FACTS}

    def check(self, given: Mapping[str, str]) -> None:
        """Refuse values that do not fit.

        Raises:
            UsageError: variables are unknown, or required ones are missing; it names them all.
        """
        unknown = sorted(given.keys() - {variable.name for variable in self.variables})
        missing = [one.name for one in self.variables if one.default is None and not given.get(one.name, "").strip()]
        facts = [name for name in unknown if name in FACTS]
        tail = f" ({', '.join(facts)}: filled from the session, cannot be set)" if facts else ""
        for names, why in ((unknown, "has no variable"), (missing, "needs a value for")):
            if names:
                raise UsageError(
                    f"the template {self.name} {why} {', '.join(names)}{tail}",
                    next=f"dev-sessions templates show {self.name}",
                    template=self.name,
                    variables=names,
                )

    def fill(self, given: Mapping[str, str], facts: Mapping[str, Any]) -> str:
        """The briefing. `${...}` inside a value is not filled.

        Raises:
            UsageError: see `check`.
        """
        self.check(given)
        values = {one.name: given.get(one.name, one.default or "").strip("\n") for one in self.variables}
        values |= {name: str(facts[name]) for name in self.wants}
        filled = _PLACE.sub(lambda found: "$" if found[1] == "$" else values[found[2]], self.body)
        return filled.strip("\n") + "\n"


def find(name: str, home: str, cwd: str) -> Template:
    """The template of that name.

    Args:
        home: the state folder.
        cwd: a folder of the project.

    Raises:
        UsageError: there is none, or it is damaged; it names file and line.
    """
    for source in candidates(name, home, cwd):
        return _read(os.path.join(_folders(home, cwd)[source], f"{name}.md"), source)
    there = ", ".join(one.name for one in every(home, cwd))
    raise UsageError(f"no template called {name!r}; there are {there}", next=_LIST)


def candidates(name: str, home: str, cwd: str) -> list[str]:
    """The sources that have a template of that name; the first one counts. Arguments as of `find`."""
    if not _NAME.fullmatch(name):
        return []
    folders = _folders(home, cwd).items()
    return [source for source, folder in folders if os.path.lexists(os.path.join(folder, f"{name}.md"))]


def every(home: str, cwd: str) -> list[Template]:
    """All templates by name, each from the place that counts.

    Raises:
        UsageError: one is damaged.
    """
    names = {name for folder in _folders(home, cwd).values() for name in _names(folder)}
    return [find(name, home, cwd) for name in sorted(names)]


def report(reply: str | None) -> dict[str, Any] | None:
    """The report that templates ask for at the end of a reply; None if there is none that can be read."""
    blocks = _REPORT.findall(reply or "")
    try:
        value = json.loads(blocks[-1]) if blocks else None
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.get("status") in REPORTS else None


def _folders(home: str, cwd: str) -> dict[str, str]:
    """The folders with templates by source, in the order in which they count."""
    here = os.path.dirname(os.path.abspath(__file__))
    shipped = os.path.join(here, "briefings")
    if not os.path.isdir(shipped):  # a checkout: only the wheel has them inside the package
        shipped = os.path.join(os.path.dirname(here), "templates")
    own = os.path.join(git.project_of(cwd), ".dev-sessions", "templates")
    return {"project": own, "user": os.path.join(home, "templates"), "built-in": shipped}


def _names(folder: str) -> list[str]:
    try:
        entries = os.listdir(folder)
    except OSError:
        return []
    return [entry[:-3] for entry in entries if entry.endswith(".md") and _NAME.fullmatch(entry[:-3])]


def _read(path: str, source: str) -> Template:
    try:
        content = files.read_limited(path, _MOST)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the template {path}: {why}", next=f"repair or remove {path}") from error
    return parse(stripped(text.replace("\r\n", "\n")), path, source)


def parse(text: str, path: str, source: str) -> Template:
    """A template from its file's text; `path` is where it is, or was.

    Raises:
        UsageError: it is damaged; it names file and line.
    """
    lines = text.splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or ends[0] != 0:
        raise _damaged(path, 1, "the file does not begin with front matter between two lines ---")
    try:
        values = plain_yaml("".join(lines[1 : ends[1]]))
    except NotPlain as error:
        raise _damaged(path, error.line + 1, error.why) from error
    if not isinstance(values, dict):
        raise _damaged(path, 1, "the front matter is not a list of `key: value`")
    variables = tuple(_variables(path, values.get("variables") or {}))
    name, body = os.path.basename(path).removesuffix(".md"), "".join(lines[ends[1] + 1 :])
    unknown = sorted(str(key) for key in values.keys() - _KEYS)
    if unknown:
        raise _damaged(path, 1, f"unknown keys in the front matter: {', '.join(unknown)}")
    if values.get("name") != name:
        raise _damaged(path, 1, f"its name is {values.get('name')!r}, but the file's is {name!r}")
    if not isinstance(values.get("description"), str):
        raise _damaged(path, 1, "it has no description")
    if not isinstance(values.get("version", ""), str):
        raise _damaged(path, 1, "its version is not a text")
    known = {*FACTS, *(variable.name for variable in variables)}
    for found in _PLACE.finditer(body):
        if found[1] != "$" and found[2] not in known:
            line = ends[1] + 2 + body.count("\n", 0, found.start())
            raise _damaged(path, line, f"${{{found[2]}}} is not declared; $${{...}} writes it as it is")
    description = " ".join(values["description"].split())
    return Template(name, values.get("version", ""), description, variables, body, text, source, path)


def _variables(path: str, declared: Any) -> list[Variable]:
    if not isinstance(declared, dict):
        raise _damaged(path, 1, "`variables` is not a list of `name: {description: ..., required: ..., default: ...}`")
    found = []
    for name, about in declared.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or name in FACTS:
            raise _damaged(path, 1, f"invalid name of a variable: {name!r}")
        if not isinstance(about, dict) or about.keys() - _KEYS_OF_VARIABLE:
            raise _damaged(path, 1, f"the variable {name} has other keys than description, required and default")
        if not all(isinstance(value, str) for value in about.values()):
            raise _damaged(path, 1, f"the variable {name} has a description, required or default that is not a text")
        default = about.get("default", "")
        required = _REQUIRED.get(about.get("required", "no" if "default" in about else "yes").lower())
        if required is None:
            raise _damaged(path, 1, f"`required` of the variable {name} is neither true nor false")
        if required and default:
            raise _damaged(path, 1, f"the variable {name} is required but has a default")
        found.append(Variable(name, about.get("description", ""), None if required else default))
    return found


def _damaged(path: str, line: int, why: str) -> UsageError:
    return UsageError(f"{path}:{line}: {why}", next=f"correct {path}, or remove it", path=path, line=line)
