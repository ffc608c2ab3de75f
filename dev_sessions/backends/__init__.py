"""The agents that can be driven, by name: our own, and those that other packages register.

A package registers a backend with an entry point of the group ``dev_sessions.backends``; see `base.Backend`.
"""

from __future__ import annotations

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import Backend
    from .installed import Program

GROUP = "dev_sessions.backends"
_OWN = {
    "claude": "dev_sessions.backends.claude.backend:ClaudeBackend",
    "codex": "dev_sessions.backends.codex.backend:CodexBackend",
}


def load(name: str, adapter: str | None = None) -> Backend:
    """The backend called `name`, imported now.

    Args:
        adapter: where it was found last (see `adapter_of`); if it is not there any more, it is looked for.

    Raises:
        UsageError: there is none of that name.
    """
    where = _OWN.get(name) or adapter
    if where is not None:
        try:
            return _loaded(where)
        except (ImportError, AttributeError):
            if name in _OWN:
                raise
    from importlib.metadata import entry_points  # as long as all the rest of a `list`

    for point in entry_points(group=GROUP, name=name):
        return _loaded(point.value)
    raise UsageError(f"no agent called {name!r}; known: {', '.join(known())}", next="dev-sessions create --help")


def adapter_of(backend: Backend) -> str:
    """Where a backend is found without a search among all installed packages, as "module:Class"."""
    return f"{type(backend).__module__}:{type(backend).__qualname__}"


def _loaded(where: str) -> Backend:
    from importlib import import_module

    module, _, attribute = where.partition(":")
    backend: Backend = getattr(import_module(module), attribute)()
    return backend


def own_programs() -> list[Program]:
    """Our own agents as programs on this machine, for what needs no session (skills, for instance)."""
    from importlib import import_module

    found: list[Program] = [import_module(f"{__name__}.{name}.program").PROGRAM for name in _OWN]
    return found


def known() -> list[str]:
    """The names of all agents that can be driven here."""
    from importlib.metadata import entry_points

    return sorted({*_OWN, *(point.name for point in entry_points(group=GROUP))})
