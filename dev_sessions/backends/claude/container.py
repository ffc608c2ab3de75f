"""Claude Code in a container (`--mode docker`), by a command of the user's, `clauded`, that takes what `claude` takes.

Claude reports, asks and writes its transcript by files. So the command has to mount some folders at the same path in
the container, which `DEV_SESSIONS_MOUNTS` names; then all goes on as it does natively. `container_files` reads what
comes out of them. Claude's configuration is a folder of the session's own, below its folder: the files in which Claude
tells what it is doing are named by pids, which are the same in every container (2.1.330), and would be overwritten in a
common one.
"""

from __future__ import annotations

import os

from ... import config
from ...errors import LaunchFailed
from ...system import files
from .. import programs
from . import container_files, questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..base import Launch

VARIABLE = "DEV_SESSIONS_CLAUDED"
REMEDY = "have clauded mount each folder that DEV_SESSIONS_MOUNTS names at the same path; see docs/containers.md"


def binary(environ: Mapping[str, str]) -> str:
    """The absolute path of `clauded`: `DEV_SESSIONS_CLAUDED`, else the first on PATH.

    Raises:
        LaunchFailed: there is none, or it cannot be run.
    """
    missing = LaunchFailed(
        "there is no clauded on PATH, which runs Claude in a container (a shell's function or alias is not seen)",
        next='write it as a script that runs claude "$@" in a container, as docs/containers.md shows',
    )
    return programs.find(environ, "clauded", VARIABLE, missing)


def outside(environment: Mapping[str, str], path: str) -> dict[str, str]:
    """The environment without the places on PATH that are in the project: the agent can put programs there.

    `clauded` runs on the host, and finds by PATH what it calls.
    """
    places = environment.get("PATH", os.defpath).split(os.pathsep)
    kept = [place for place in places if os.path.isabs(place) and not _holds(path, place)]
    return {**environment, "PATH": os.pathsep.join(kept)}


def refuse_shared(program: str, environment: Mapping[str, str], path: str) -> None:
    """Give the container nothing that is run, or relied upon, on the host.

    Args:
        program: `clauded`.
        environment: the agent's.
        path: the project, all of which the container is given.

    Raises:
        LaunchFailed: the project holds such a thing, or cannot be mounted.
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
            next="name a project folder by --path that neither holds the state folder nor is in it",
        )
    for place in (path, home):
        if ":" in place or "\n" in place:
            raise LaunchFailed(
                f"{place!r} cannot be mounted in a container: its name has a colon or a line feed",
                next="rename the folder, or reach it by a link that has another name",
            )


def _holds(folder: str, path: str) -> bool:
    """True if `path` is `folder` or below it, by its name or by where its links lead."""
    tops = (os.path.abspath(folder), os.path.realpath(folder))
    places = (os.path.abspath(path), os.path.realpath(os.path.dirname(path)), os.path.realpath(path))
    return any(os.path.commonpath((top, place)) == top for top in tops for place in places)


def prepared(launch: Launch) -> Launch:
    """The launch, with what the container needs in its environment; and the folder of Claude's configuration made.

    Mounted is what Claude has to read or write, and nothing else of the session's folder: what we run, or rely upon, is
    out of its reach.
    """
    folder = launch.session.folder
    own = container_files.config_folder(folder)
    first_run = os.path.join(own, ".claude.json")
    files.make_folder(own)
    if not os.path.lexists(first_run):
        files.write_json(first_run, _answered(launch) | {"hasCompletedOnboarding": True})
    files.emptied(own, "sessions")  # of what an earlier life said last
    read_only = [folder.messages_path, os.path.join(folder.agent_path, "settings.json")]
    mounts = [folder.facts_path, questions.pipes_path(folder), own, launch.path]
    lines = [f"{path}:{path}" for path in mounts] + [f"{path}:{path}:ro" for path in read_only]
    added = {"CLAUDE_CONFIG_DIR": own, "DEV_SESSIONS_MOUNTS": "\n".join(lines)}
    return launch._replace(environment={**outside(launch.environment, launch.path), **added})


def _answered(launch: Launch) -> dict[str, Any]:
    """What the user has answered natively when Claude asked first; it is not asked in each container again."""
    environment = launch.environment
    folder = environment.get("CLAUDE_CONFIG_DIR") or config.user_home(environment)
    try:
        known = files.read_json(os.path.join(folder, ".claude.json"))
    except OSError:
        return {}
    if not isinstance(known, dict):
        return {}
    wanted = ("customApiKeyResponses", "theme")
    return {name: known[name] for name in wanted if name in known} | {"projects": _trusted(known, launch.path)}


def _trusted(known: dict[str, Any], path: str) -> dict[str, Any]:
    """Of the folders that the user has trusted, those that `path` is in."""
    projects = known.get("projects")
    return {
        folder: {"hasTrustDialogAccepted": True}
        for folder, project in (projects.items() if isinstance(projects, dict) else ())
        if f"{path}/".startswith(f"{folder.rstrip('/')}/")
        and isinstance(project, dict)
        and project.get("hasTrustDialogAccepted") is True
    }
