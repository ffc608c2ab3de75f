"""Claude Code in a container (`--mode docker`): what it is given, and how the files that it writes are read.

The user writes a command, `clauded`, that takes the arguments of `claude` and runs it in a container. Claude writes its
reports, questions and transcript to files, so the command must mount the folders in `DEV_SESSIONS_MOUNTS` at the same
paths in the container; everything else works as it does natively. Claude's configuration folder is inside the session's
folder: Claude's status files are named by pids, which are the same in every container (2.1.330), so they would
overwrite each other in a shared folder.

The agent in the container may write anything to that folder: a link to a file of the host, a pipe, a device. So links
below it are not followed, and only regular files are read. Natively, Claude's files belong to the user, who may use
links.
"""

from __future__ import annotations

import os
import re

from ... import config
from ...errors import LaunchFailed
from ...system import files
from . import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO, Any

    from ..base import Launch

VARIABLE = "DEV_SESSIONS_CLAUDED"
REMEDY = "have clauded mount each folder that DEV_SESSIONS_MOUNTS names at the same path; see docs/containers.md"

# <state folder>/sessions/<id>-<8 hex digits>/agent/claude
_CONFIG = re.compile(r"(.*?-[0-9a-f]{8}/agent/claude)/.", re.DOTALL)
_TRANSCRIPT = re.compile(r"/projects/[^/]+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jsonl")


def outside(environment: Mapping[str, str], path: str) -> dict[str, str]:
    """The environment without the folders on PATH that are in the project: the agent can put programs there.

    `clauded` runs on the host and finds the programs that it calls by PATH.
    """
    places = environment.get("PATH", os.defpath).split(os.pathsep)
    kept = [place for place in places if os.path.isabs(place) and not _holds(path, place)]
    return {**environment, "PATH": os.pathsep.join(kept)}


def refuse_shared(program: str, environment: Mapping[str, str], path: str) -> None:
    """Raise if the container would get something that the host runs or relies on.

    Args:
        program: `clauded`.
        environment: the agent's.
        path: the project, which is mounted in the container.

    Raises:
        LaunchFailed: the project contains such a thing, or cannot be mounted.
    """
    home = environment["DEV_SESSIONS_HOME"]
    own = [os.path.join(home, name) for name in ("sessions", "archive")]
    if _holds(path, program):
        raise LaunchFailed(
            f"{program} is in the project, where the agent in the container could change it; it runs on this machine",
            next=f"move it out of {path}, to a folder on PATH",
        )
    if _holds(path, home) or any(_holds(place, path) for place in own):
        raise LaunchFailed(
            f"{path} and the state folder {home} are not apart: the agent in the container could change our records",
            next="use --path with a project folder that neither contains the state folder nor is in it",
        )
    for place in (path, home):
        if ":" in place or "\n" in place:
            raise LaunchFailed(
                f"{place!r} cannot be mounted in a container: its name has a colon or a line feed",
                next="rename the folder, or reach it by a link that has another name",
            )


def _holds(folder: str, path: str) -> bool:
    """True if `path` is `folder` or below it, by its own name or after its links are resolved."""
    tops = (os.path.abspath(folder), os.path.realpath(folder))
    places = (os.path.abspath(path), os.path.realpath(os.path.dirname(path)), os.path.realpath(path))
    return any(os.path.commonpath((top, place)) == top for top in tops for place in places)


def prepared(launch: Launch) -> Launch:
    """The launch, with the container's variables in its environment; creates the folder of Claude's configuration.

    Only what Claude must read or write is mounted; it cannot reach anything else in the session's folder.
    """
    folder = launch.session.folder
    own = paths.container_config(folder)
    first_run = os.path.join(own, ".claude.json")
    files.make_folder(own)
    if not os.path.lexists(first_run):
        files.write_json(first_run, _answered(launch) | {"hasCompletedOnboarding": True})
    files.emptied(own, "sessions")  # the status files of an earlier run
    mounts = [folder.facts_path, paths.questions(folder), own, launch.path]
    read_only = [folder.messages_path, paths.settings(folder)]
    lines = [f"{path}:{path}" for path in mounts] + [f"{path}:{path}:ro" for path in read_only]
    added = {"CLAUDE_CONFIG_DIR": own, "DEV_SESSIONS_MOUNTS": "\n".join(lines)}
    return launch._replace(environment={**outside(launch.environment, launch.path), **added})


def _answered(launch: Launch) -> dict[str, Any]:
    """The user's own answers to Claude's first questions, so that it does not ask them again in each container."""
    environment = launch.environment
    folder = environment.get("CLAUDE_CONFIG_DIR") or config.user_home(environment)
    try:
        known = files.read_json(os.path.join(folder, ".claude.json"))
    except OSError:
        return {}
    if not isinstance(known, dict):
        return {}
    projects = known.get("projects")
    trusted = {
        folder: {"hasTrustDialogAccepted": True}
        for folder, project in (projects.items() if isinstance(projects, dict) else ())
        if f"{launch.path}/".startswith(f"{folder.rstrip('/')}/")
        and isinstance(project, dict)
        and project.get("hasTrustDialogAccepted") is True
    }
    return {name: known[name] for name in ("customApiKeyResponses", "theme") if name in known} | {"projects": trusted}


def opened(path: str) -> IO[bytes]:
    """Open a file that Claude has written, for reading.

    Raises:
        OSError: it is missing or not a regular file, or (in a container's folder) there is a link in its path.
        ValueError: it is not a valid path.
    """
    return os.fdopen(files.open_regular(path, _config_around(path)), "rb")


def read(path: str) -> bytes | None:
    """The content of a file that Claude has written; None if `opened` would raise."""
    return files.read_regular(path, _config_around(path))


def read_json(path: str) -> Any:
    """The JSON value in a file that Claude has written; None if there is none."""
    content = read(path)
    return None if content is None else files.parse_json(content)


def listed(folder: str) -> list[str]:
    """The names in one of Claude's folders; empty if it is missing, or if there is a link in its path."""
    try:
        descriptor = files.open_folder(folder, _config_around(folder))
    except (OSError, ValueError):
        return []
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _config_around(path: str) -> str | None:
    """The configuration folder of a container that contains `path`; None if `path` is not in one."""
    found = _CONFIG.match(path)
    return found[1] if found else None


def is_transcript(path: str, config: str) -> bool:
    """True if a Claude with this configuration folder would keep a transcript at `path` (2.1.221 to 2.1.332)."""
    return path.startswith(config) and _TRANSCRIPT.fullmatch(path, len(config)) is not None


def may_read(path: str, transcript: str) -> bool:
    """True if a file that a transcript names may be read: for a container, only one in the same folder."""
    config = _config_around(transcript)
    return config is None or _config_around(path) == config
