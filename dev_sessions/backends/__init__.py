"""Finds the backend of an agent by its name, in this package or among those that other packages register.

A package registers a backend with an entry point of the group ``dev_sessions.backends``; see `base.Backend`.
"""

from __future__ import annotations

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import Backend
    from .programs import Program

GROUP = "dev_sessions.backends"
_OWN = {
    "claude": "dev_sessions.backends.claude.backend:ClaudeBackend",
    "codex": "dev_sessions.backends.codex.backend:CodexBackend",
}
# The names of our own agents; the first is the default.
OWN = tuple(_OWN)


def load(name: str, adapter: str | None = None) -> Backend:
    """The backend called `name`; it is imported only now.

    Args:
        adapter: where it was found last (see `adapter_of`); if it has moved, it is searched for.

    Raises:
        UsageError: there is no backend of that name.
    """
    place = _OWN.get(name) or adapter
    if place is not None:
        try:
            return _load(place)
        except (ImportError, AttributeError):
            if name in _OWN:
                raise
    from importlib.metadata import entry_points  # takes as long as all else in a `list`

    for point in entry_points(group=GROUP, name=name):
        return _load(point.value)
    raise UsageError(f"no agent called {name!r}; known: {', '.join(known())}", next="dev-sessions create --help")


def adapter_of(backend: Backend) -> str:
    """The place of a backend, as "module:Class", which saves a search through all installed packages."""
    return f"{type(backend).__module__}:{type(backend).__qualname__}"


def _load(place: str) -> Backend:
    from importlib import import_module

    module, _, attribute = place.partition(":")
    backend: Backend = getattr(import_module(module), attribute)()
    return backend


def own_programs() -> list[Program]:
    """The programs of our own agents, in the order of `OWN`."""
    from importlib import import_module

    return [import_module(f"{__name__}.{name}.program").PROGRAM for name in OWN]


def known() -> list[str]:
    """The names of all agents that have a backend here."""
    from importlib.metadata import entry_points

    return sorted({*OWN, *(point.name for point in entry_points(group=GROUP))})
