"""What a project brings along for an agent, found by name."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def found(path: str, names: Sequence[str], top: str = "/", own: str = "") -> list[str]:
    """Those of `names` that are in the folder `path` or in one above it, the nearest first; relative to `path`.

    Args:
        path, top: the folders where the search begins and ends, absolute.
        own: a folder of the user's that does not count, absolute.
    """
    there, folder = [], path
    while True:
        for name in names:
            place = os.path.join(folder, name)
            if os.path.lexists(place) and os.path.realpath(place) != os.path.realpath(own):
                there.append(os.path.relpath(place, path))
        above = os.path.dirname(folder)
        if folder in (top, above):
            return there
        folder = above
