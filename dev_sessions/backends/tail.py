"""Reads a file that an agent writes line by line, while it grows."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO


class Growing:
    """The finished lines of a file that may grow, or not exist yet.

    Args:
        opened: opens the file, if `open` is not safe enough.
    """

    def __init__(self, path: str, opened: Callable[[str], IO[bytes]] | None = None) -> None:
        self._path, self._opened = path, opened or _open
        self._file: IO[bytes] | None = None

    def lines(self) -> Iterator[bytes]:
        """The lines since the last call."""
        if self._file is None:
            try:
                self._file = self._opened(self._path)
            except (OSError, ValueError):  # a path in a report may be anything
                return
        while True:
            begin = self._file.tell()
            line = self._file.readline()
            if not line.endswith(b"\n"):
                self._file.seek(begin)
                return
            yield line

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _open(path: str) -> IO[bytes]:
    return open(path, "rb")
