"""The types that every read of a session needs; they are quicker to import than the protocols of `base`."""

from __future__ import annotations

from ..state.folder import Folder
from ..system import processes
from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

    from ..model import Fact, Probe


class Session:
    """A session as a backend sees it: the registry's record, its folder, and the caller's environment."""

    def __init__(self, record: dict[str, Any], folder: Folder, environ: Mapping[str, str]) -> None:
        self.record, self.folder, self.environ = record, folder, environ

    def replace(self, **changes: Any) -> Self:
        """A copy with other attributes."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **changes)
        return copy

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def private(self) -> dict[str, Any]:
        """The backend's own part of the record; nothing else interprets it."""
        return dict(self.record.get("backend") or {})

    @property
    def contained(self) -> bool:
        """True if its agent runs in a container (`--mode docker`)."""
        return self.record.get("mode") == "docker"

    @property
    def continues(self) -> bool:
        """True if its agent may go on by itself when a limit of its account resets."""
        return bool(self.record.get("continue_at_reset"))

    @property
    def bare(self) -> bool:
        """True if its agent was started without the project's own files for agents; a restart must omit them too."""
        return self.record.get("left_out") is not None

    @property
    def being_created(self) -> bool:
        """True while a `create` is starting it. `ready_at` counts too, since that process may go on (a gateway)."""
        return not self.record.get("ready_at") and processes.is_running(*processes.noted(self.record.get("creator")))


class Observation(NamedTuple):
    """An agent's reports, in order, and a probe of its current state."""

    facts: list[Fact]
    probe: Probe


class Sources(NamedTuple):
    """What to watch for a change.

    Attributes:
        paths: files and folders; every change matters.
        processes: as (pid, start time); their end matters.
        arrivals: folders; only files that are moved into them matter, not those being written.
    """

    paths: tuple[str, ...]
    processes: tuple[tuple[int, str], ...]
    arrivals: tuple[str, ...] = ()
