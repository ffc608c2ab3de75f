"""The place and the number of repetitions of a measurement."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from folders import ROOT, StateFolder


class Place:
    """The common parameters of every measurement.

    Args:
        scratch: a folder for state folders; its creator removes it.
        rounds: how often a quick measurement is repeated.
        quick: run everything once and as small as possible, to check that it works.
        claude, codex: paths of the real programs.
    """

    def __init__(self, scratch: Path, rounds: int, quick: bool, claude: str, codex: str) -> None:
        self._scratch, self._quick = scratch, quick
        self.rounds = 1 if quick else rounds
        self.claude, self.codex = claude, codex

    @property
    def fewer(self) -> int:
        """How often a measurement of some hundred milliseconds is repeated."""
        return 1 if self._quick else max(5, self.rounds // 2)

    @property
    def few(self) -> int:
        """How often a measurement of seconds is repeated."""
        return 1 if self._quick else max(3, self.rounds // 5)

    @property
    def first(self) -> int:
        """How many runs come first and do not count, to fill caches; see `counted`."""
        return int(self.rounds > 1)

    def size(self, whole: int, quick: int) -> int:
        """A number, size or duration: `quick` for a quick run, otherwise `whole`."""
        return quick if self._quick else whole

    def state(self) -> StateFolder:
        """A new, empty state folder."""
        return StateFolder(Path(tempfile.mkdtemp(prefix="state-", dir=self._scratch)))


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder below the project, on a disk like that of a user's state folder."""
    folder = ROOT / ".lab"
    folder.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=f"bench-{os.getpid()}-", dir=folder)
