"""Where a measurement takes place, and how often it is repeated."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from folders import ROOT, StateFolder


class Place:
    """What every measurement is given.

    Args:
        scratch: a folder for state folders, removed by whoever made it.
        rounds: how often a quick thing is measured.
        quick: everything once and as small as it can be, to see that it runs.
        claude, codex: paths of the real programs.
    """

    def __init__(self, scratch: Path, rounds: int, quick: bool, claude: str, codex: str) -> None:
        self._scratch, self._quick = scratch, quick
        self.rounds = 1 if quick else rounds
        self.claude, self.codex = claude, codex

    @property
    def fewer(self) -> int:
        """How often a thing of some hundred milliseconds is measured."""
        return 1 if self._quick else max(5, self.rounds // 2)

    @property
    def few(self) -> int:
        """How often a thing of seconds is measured."""
        return 1 if self._quick else max(3, self.rounds // 5)

    @property
    def first(self) -> int:
        """How often a thing is done before it counts, to fill caches; see `counted`."""
        return int(self.rounds > 1)

    def size(self, whole: int, quick: int) -> int:
        """How many, how large or how long: `whole`, but where a quick look is enough."""
        return quick if self._quick else whole

    def state(self) -> StateFolder:
        """A new, empty state folder."""
        return StateFolder(Path(tempfile.mkdtemp(prefix="state-", dir=self._scratch)))


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder below the project, on the disk that a user's state folder would be on too."""
    folder = ROOT / ".lab"
    folder.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=f"bench-{os.getpid()}-", dir=folder)
