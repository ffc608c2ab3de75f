"""A file that an agent writes line by line, read as it grows."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO


class Growing:
    """The finished lines of a file that may grow, or not be there yet.

    Args:
        opened: how to open it, where that needs care.
    """

    def __init__(self, path: str, opened: Callable[[str], IO[bytes]] | None = None) -> None:
        self._path = path
        self._open = opened or _opened
        self._file: IO[bytes] | None = None

    def lines(self) -> Iterator[bytes]:
        """The lines since the last call."""
        file = self._opened()
        while file is not None:
            begin = file.tell()
            line = file.readline()
            if not line.endswith(b"\n"):
                file.seek(begin)
                return
            yield line

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _opened(self) -> IO[bytes] | None:
        if self._file is None:
            try:
                self._file = self._open(self._path)
            except (OSError, ValueError):  # a path from a report may be no path at all
                return None
        return self._file


def _opened(path: str) -> IO[bytes]:
    return open(path, "rb")
