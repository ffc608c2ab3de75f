"""The agents that can be driven, by name: our own, and those that other packages register.

A package registers a backend with an entry point of the group ``dev_sessions.backends``; see `base.Backend`.
"""

from __future__ import annotations

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import Backend

GROUP = "dev_sessions.backends"
_OWN = {"claude": "dev_sessions.backends.claude.agent:ClaudeBackend"}


def load(name: str) -> Backend:
    """The backend called `name`, imported now.

    Raises:
        UsageError: there is none of that name.
    """
    where = _OWN.get(name)
    if where is not None:
        from importlib import import_module

        module, _, attribute = where.partition(":")
        backend: Backend = getattr(import_module(module), attribute)()
        return backend
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=name):
        registered: Backend = point.load()()
        return registered
    known = ", ".join(sorted({*_OWN, *(point.name for point in entry_points(group=GROUP))}))
    raise UsageError(f"no agent called {name!r}; known: {known}", next="dev-sessions create --help")
