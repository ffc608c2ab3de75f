"""Briefing templates: Markdown with `${variables}`, and YAML in front that says which there are.

A template is found by its name: in the project's `.dev-sessions/templates`, in the user's `templates` of the state
folder, or among those of this version; the first one counts. Nothing is left unfilled, and nothing unknown is taken:
both are errors that name the variables.

A project's may come from a stranger: a template is a regular file of a sensible size, its front matter holds strings,
and control characters in it are left out.
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
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

# What is known of the session that gets the briefing; no template declares these, and nobody sets them.
FACTS = ("id", "path", "branch", "parent", "depth")
# The variable that a message fills, where one is given together with a template.
MESSAGE = "task"
REPORTS = ("DONE", "DONE_WITH_CONCERNS", "BLOCKED")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_PLACE = re.compile(r"\$(\$(?=\{)|\{([^}\n]*)\})")
_REPORT = re.compile(r"^```(?:json|report)[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_KEYS = {"name", "version", "description", "variables"}
_KEYS_OF_VARIABLE = {"description", "required", "default"}
_REQUIRED = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# No template is longer; ours have a few kilobytes. Bytes.
_MOST = 1_000_000
_LIST = "dev-sessions templates list"


class Variable(NamedTuple):
    """What a template has to be told; without a `default` it is required."""

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
    """A template as it was read.

    Attributes:
        name: by which it is called; that of its file.
        version: of the template, as written there.
        description: what it is for.
        variables: in the order in which they are declared.
        body: the Markdown below the front matter.
        text: the whole file, without control characters.
        source: "built-in", "user" or "project"; "run" of one that a run has kept.
        path: the file.
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
        """The session's facts that it speaks of."""
        return {name for _, name in _PLACE.findall(self.body)} & {*FACTS}

    def check(self, given: Mapping[str, str]) -> None:
        """Refuse values that do not fit, before anything is started.

        Raises:
            UsageError: a variable is unknown, or a required one is missing; all are named.
        """
        known = {variable.name for variable in self.variables}
        self._refuse("has no variable", sorted(given.keys() - known))
        self._refuse(
            "needs a value for",
            [one.name for one in self.variables if one.default is None and not given.get(one.name, "").strip()],
        )

    def _refuse(self, why: str, names: Sequence[str]) -> None:
        if names:
            facts = [name for name in names if name in FACTS]
            tail = f" ({', '.join(facts)}: told of the session itself, and not to be set)" if facts else ""
            raise UsageError(
                f"the template {self.name} {why} {', '.join(names)}{tail}",
                next=f"dev-sessions templates show {self.name}",
                template=self.name,
                variables=[*names],
            )

    def fill(self, given: Mapping[str, str], facts: Mapping[str, Any]) -> str:
        """The briefing. What a value itself holds of `${...}` stays as it is.

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
        home: the state folder, which holds the user's own in `templates/`.
        cwd: a folder of the project, whose own stand in `.dev-sessions/templates/`.

    Raises:
        UsageError: there is none, or it is damaged; the error tells file and line.
    """
    for source, path in _those(name, home, cwd):
        return _read(path, source)
    there = ", ".join(one.name for one in every(home, cwd))
    raise UsageError(f"no template called {name!r}; there are {there}", next=_LIST)


def candidates(name: str, home: str, cwd: str) -> list[str]:
    """The sources that have a template of that name; the first one counts. Arguments as of `find`."""
    return [source for source, _ in _those(name, home, cwd)]


def every(home: str, cwd: str) -> list[Template]:
    """All templates by name, each from the place that counts.

    Raises:
        UsageError: one is damaged.
    """
    found: dict[str, Template] = {}
    for source, folder in _places(home, cwd):
        names = [entry[:-3] for entry in _entries(folder) if entry.endswith(".md")]
        for name in names:
            if _NAME.fullmatch(name) and name not in found:
                found[name] = _read(os.path.join(folder, f"{name}.md"), source)
    return [found[name] for name in sorted(found)]


def report(reply: str | None) -> dict[str, Any] | None:
    """The report at the end of a reply, as the templates ask for it; None if there is none to be read."""
    blocks = _REPORT.findall(reply or "")
    try:
        value = json.loads(blocks[-1]) if blocks else None
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.get("status") in REPORTS else None


def _places(home: str, cwd: str) -> list[tuple[str, str]]:
    here = os.path.dirname(os.path.abspath(__file__))
    shipped = os.path.join(here, "briefings")
    if not os.path.isdir(shipped):  # a checkout: the wheel alone has them inside of the package
        shipped = os.path.join(os.path.dirname(here), "templates")
    return [
        ("project", os.path.join(git.project_of(cwd), ".dev-sessions", "templates")),
        ("user", os.path.join(home, "templates")),
        ("built-in", shipped),
    ]


def _those(name: str, home: str, cwd: str) -> Iterator[tuple[str, str]]:
    """Source and path of each template of that name."""
    for source, folder in _places(home, cwd):
        path = os.path.join(folder, f"{name}.md")
        if _NAME.fullmatch(name) and os.path.lexists(path):
            yield source, path


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


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
    """A template out of its file's text; `path` is where it stands, or stood.

    Raises:
        UsageError: it is damaged; the error tells file and line.
    """
    name = os.path.basename(path).removesuffix(".md")
    front, line, body = _cut(path, text)
    values = _front(path, front)
    variables = tuple(_variables(path, values.get("variables") or {}))
    _check_front(path, name, values)
    _check_body(path, line, body, {variable.name for variable in variables})
    return Template(
        name, values.get("version", ""), " ".join(values["description"].split()), variables, body, text, source, path
    )


def _cut(path: str, text: str) -> tuple[str, int, str]:
    """The front matter, the number of the line at which the body begins, and the body."""
    lines = text.splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or ends[0] != 0:
        raise _damaged(path, 1, "the file does not begin with front matter between two lines ---")
    return "".join(lines[1 : ends[1]]), ends[1] + 2, "".join(lines[ends[1] + 1 :])


def _front(path: str, text: str) -> dict[str, Any]:
    try:
        value = plain_yaml(text)
    except NotPlain as error:
        raise _damaged(path, error.line + 1, error.why) from error
    if not isinstance(value, dict):
        raise _damaged(path, 1, "the front matter is no list of `key: value`")
    return value


def _check_front(path: str, name: str, values: dict[str, Any]) -> None:
    unknown = sorted(str(key) for key in values.keys() - _KEYS)
    if unknown:
        raise _damaged(path, 1, f"unknown keys in the front matter: {', '.join(unknown)}")
    if values.get("name") != name:
        raise _damaged(path, 1, f"its name is {values.get('name')!r}, and that of its file {name!r}")
    if not isinstance(values.get("description"), str):
        raise _damaged(path, 1, "it has no description")
    if not isinstance(values.get("version", ""), str):
        raise _damaged(path, 1, "its version is no text")


def _variables(path: str, declared: Any) -> list[Variable]:
    if not isinstance(declared, dict):
        raise _damaged(path, 1, "`variables` is no list of `name: {description: ..., required: ..., default: ...}`")
    found = []
    for name, about in declared.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or name in FACTS:
            raise _damaged(path, 1, f"a variable cannot be called {name!r}")
        if not isinstance(about, dict) or about.keys() - _KEYS_OF_VARIABLE:
            raise _damaged(path, 1, f"the variable {name} has other keys than description, required and default")
        if not all(isinstance(value, str) for value in about.values()):
            raise _damaged(path, 1, f"the variable {name} has a description, required or default that is no text")
        default = about.get("default", "")
        required = _REQUIRED.get(about.get("required", "no" if "default" in about else "yes").lower())
        if required is None:
            raise _damaged(path, 1, f"`required` of the variable {name} is neither true nor false")
        if required and default:
            raise _damaged(path, 1, f"the variable {name} is required, and has a default")
        found.append(Variable(name, about.get("description", ""), None if required else default))
    return found


def _check_body(path: str, line: int, body: str, declared: set[str]) -> None:
    for found in _PLACE.finditer(body):
        if found[1] != "$" and found[2] not in declared and found[2] not in FACTS:
            at = line + body.count("\n", 0, found.start())
            raise _damaged(path, at, f"${{{found[2]}}} is not declared; $${{...}} writes it as it is")


def _damaged(path: str, line: int, why: str) -> UsageError:
    return UsageError(f"{path}:{line}: {why}", next=f"correct {path}, or remove it", path=path, line=line)
