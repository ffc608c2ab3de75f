"""Reading what a Claude in a container has written.

It may write to its configuration folder, so anything can be there: a link to a file of the host, a pipe, a device.
Below that folder no link is followed, and only regular files are read. Natively Claude's files are the user's own, who
may have linked them.
"""

from __future__ import annotations

import os
import re

from ...system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from ...state.folder import Folder

# <state folder>/sessions/<id>-<8 hex digits>/agent/claude
_CONFIG = re.compile(r"(.*?-[0-9a-f]{8}/agent/claude)/.", re.DOTALL)
_TRANSCRIPT = re.compile(r"/projects/[^/]+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jsonl")


def config_folder(folder: Folder) -> str:
    """The configuration folder of a Claude in a container."""
    return os.path.join(folder.agent_path, "claude")


def _around(path: str) -> str | None:
    """The configuration folder of a container that a path leads into; None if it leads into none."""
    found = _CONFIG.match(path)
    return found[1] if found else None


def opened(path: str) -> IO[bytes]:
    """Open a file that Claude has written, for reading.

    Raises:
        OSError: it is missing or not a regular file, or (in a container's folder) there is a link on the way to it.
        ValueError: it is not a path.
    """
    return os.fdopen(files.open_regular(path, _around(path)), "rb")


def read(path: str) -> bytes | None:
    """The content of a file that Claude has written; None where `opened` would raise."""
    return files.read_regular(path, _around(path))


def read_json(path: str) -> Any:
    """The JSON value in a file that Claude has written; None if there is none."""
    content = read(path)
    return None if content is None else files.parse_json(content)


def listed(folder: str) -> list[str]:
    """The names in a folder of Claude's; none where it is missing or `opened` would not go."""
    try:
        descriptor = files.open_folder(folder, _around(folder))
    except (OSError, ValueError):
        return []
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def is_transcript(path: str, config: str) -> bool:
    """True if `path` is where a Claude with this configuration folder keeps a transcript (2.1.150 to 2.1.332)."""
    return path.startswith(config) and _TRANSCRIPT.fullmatch(path, len(config)) is not None


def may_read(path: str, transcript: str) -> bool:
    """True if a file may be read that a transcript names: a container's may only name what is in the same folder."""
    config = _around(transcript)
    return config is None or _around(path) == config
