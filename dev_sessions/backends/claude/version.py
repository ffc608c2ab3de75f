"""The version of Claude Code, and whether it is supported.

A session's behaviour depends on what its Claude actually does, never on its version. The version has three uses: a
release that would stop at our settings is refused before it is started, the record shows the version, and an error
about missing evidence names it. `claude --version` takes 0.1 s or more, so the answer is cached in the state folder for
as long as the program's file does not change.
"""

from __future__ import annotations

import os
import re

from ...errors import DevSessionsError, LaunchFailed, Unsupported
from ...system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..session import Session

# The oldest release of the 120 days before this dev-sessions; older ones are not supported.
OLDEST = "2.1.221"
# The newest release that dev-sessions was tested with.
NEWEST = "2.1.332"

_MEMORY = "claude-versions.json"
_NUMBER = re.compile(r"\d+\.\d+\.\d+")
_ANSWER = re.compile(r"^(\d+\.\d+\.\d+)\S* \(Claude Code\)", re.MULTILINE)
_SECONDS = 5.0


def refuse_unsupported(program: str, environment: Mapping[str, str]) -> None:
    """Refuse a release that cannot be supported; called before any part of a session is created.

    A program that does not answer with a version is not refused.

    Args:
        program: the absolute path of `claude`.
        environment: the environment that the agent will have.

    Raises:
        LaunchFailed: this release cannot be supported.
    """
    found = remembered = known(program, environment)
    if found is None or _numbers(found) < _numbers(OLDEST):
        # A wrapper's file stays the same when its program changes, so do not refuse a cached version.
        found = ask(program, environment)
    if found and found != remembered:
        _remember(program, environment, found)
    if found and _numbers(found) < _numbers(OLDEST):
        raise LaunchFailed(
            f"{program} is Claude Code {found}; dev-sessions works with {OLDEST} and newer (tested up to {NEWEST})",
            next="claude update, or set DEV_SESSIONS_CLAUDE to a newer claude",
            version=found,
        )


def refuse_without(program: str, environment: Mapping[str, str], since: str, capability: str) -> None:
    """Refuse a release that is known to lack a capability; an unknown version is not refused.

    Raises:
        Unsupported: this release is older than `since`, the first with the capability.
    """
    found = known(program, environment) or ask(program, environment)
    if found and _numbers(found) < _numbers(since):
        raise Unsupported(
            f"{program} is Claude Code {found}; --{capability.replace('_', '-')} needs {since} or newer",
            next="claude update, or omit the option",
            capability=capability,
        )


def known(program: str, environment: Mapping[str, str]) -> str | None:
    """The cached version of this program, or None. Starts nothing."""
    found = _memory(environment).get(os.path.realpath(program))
    mark = _mark(program)
    if not isinstance(found, dict) or mark is None or found.get("mark") != mark:
        return None
    version = found.get("version")
    return version if isinstance(version, str) and _NUMBER.fullmatch(version) else None


def name(session: Session) -> str:
    """A session's agent with its version, for errors about missing evidence: it may be newer than this code."""
    version = session.private.get("version")
    if not version:
        return "Claude Code of an unknown version"
    newer = _NUMBER.fullmatch(version) is not None and _numbers(version) > _numbers(NEWEST)
    return f"Claude Code {version}" + (f" (newer than {NEWEST}, the last one tested)" if newer else "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def ask(program: str, environment: Mapping[str, str], seconds: float = _SECONDS) -> str | None:
    """The version that the program reports; None if it does not answer in time, or not in Claude Code's format."""
    from .. import programs

    def version_in(line: str) -> str | None:
        match = _ANSWER.search(line)
        return match[1] if match else None

    return programs.ask([program, "--version"], environment, version_in, seconds)


def _remember(program: str, environment: Mapping[str, str], version: str) -> None:
    """Store the version. If two commands store at once, one version may be lost; the program is then asked again."""
    mark = _mark(program)
    if mark is None:
        return
    there = {path: one for path, one in _memory(environment).items() if os.path.exists(path)}
    path = os.path.join(environment["DEV_SESSIONS_HOME"], _MEMORY)
    try:
        files.make_folder(os.path.dirname(path))
        files.write_json(path, {**there, os.path.realpath(program): {"mark": mark, "version": version}})
    except DevSessionsError:
        pass  # a later write to the state folder reports it


def _memory(environment: Mapping[str, str]) -> dict[str, Any]:
    try:
        value = files.read_json(os.path.join(environment["DEV_SESSIONS_HOME"], _MEMORY))
    except (OSError, DevSessionsError):
        return {}
    return value if isinstance(value, dict) else {}


def _mark(program: str) -> list[int] | None:
    """Size and time of the program's file."""
    try:
        status = os.stat(program)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
