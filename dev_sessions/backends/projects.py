"""Finds a project's own files for an agent by name."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def found(path: str, names: Sequence[str], top: str = "/", own: str = "") -> list[str]:
    """The paths, relative to `path`, of the `names` that exist in it or in a folder above it; the nearest first.

    Args:
        path, top: the folders where the search begins and ends, absolute.
        own: a folder of the user's own files, absolute, which is skipped.
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
