"""Claude Code in a container (`--mode docker`), by a command of the user's, `clauded`, that takes what `claude` takes.

Claude reports, asks and writes its transcript by files. So the command has to mount some folders at the same path in
the container, which `DEV_SESSIONS_MOUNTS` names; then all goes on as it does natively. Claude's configuration is a
folder of the session's own, below its folder: the files in which Claude tells what it is doing are named by pids, which
are the same in every container (2.1.330), and would be overwritten in a common one.
"""

from __future__ import annotations

import os

from ... import config, files
from ...errors import LaunchFailed
from .. import programs

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


def prepared(launch: Launch) -> Launch:
    """The launch, with what the container needs in its environment; and the folder of Claude's configuration made."""
    folder = launch.session.folder
    own = os.path.join(folder.agent_path, "claude")
    statuses, first_run = os.path.join(own, "sessions"), os.path.join(own, ".claude.json")
    files.make_folder(statuses)
    if not os.path.exists(first_run):
        files.write_json(first_run, _answered(launch.environment) | {"hasCompletedOnboarding": True})
    for name in os.listdir(statuses):  # what an earlier life said last
        files.remove(os.path.join(statuses, name))
    mounts = "\n".join(f"{path}:{path}" for path in (folder.path, launch.path))
    added = {"CLAUDE_CONFIG_DIR": own, "DEV_SESSIONS_MOUNTS": mounts}
    return launch._replace(environment={**launch.environment, **added})


def _answered(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the user has answered natively when Claude asked first; it is not asked in each container again."""
    folder = environment.get("CLAUDE_CONFIG_DIR") or config.user_home(environment)
    try:
        known = files.read_json(os.path.join(folder, ".claude.json"))
    except OSError:
        return {}
    wanted = ("customApiKeyResponses", "theme")
    return {name: known[name] for name in wanted if name in known} if isinstance(known, dict) else {}
