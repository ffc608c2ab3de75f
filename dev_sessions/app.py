"""The composition root: settings in, client out. The only module that knows every room."""

from __future__ import annotations

from importlib import import_module

from . import __path__, config
from .client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .config import Settings
    from .gateway.server import Gateway
    from .wire import Transport


def client(
    environ: Mapping[str, str] | None = None, on_event: Callable[[dict[str, Any]], None] = lambda event: None
) -> Client:
    """A client for the sessions that the environment means.

    Args:
        environ: default: this process's environment.
        on_event: called with each event of an operation as it happens.

    Raises:
        UsageError, HostUnreachable: the environment cannot be followed.
    """
    return Client(transport(config.load(environ)), on_event)


def transport(settings: Settings) -> Transport:
    """The way to the sessions: this machine's, or those behind a gateway."""
    far = config.gateway(settings.environ)
    if far is None:
        return local(settings)
    from .transport.http import HttpTransport

    return HttpTransport(far, settings.parent, settings.depth, settings.cwd)


def local(settings: Settings) -> Transport:
    """The sessions of this machine, whatever the environment asks for."""
    from .service import Service

    return Service(settings)


def gateway(
    settings: Settings, allowed: Sequence[str], log: Callable[[str], None], all_sessions: bool = False
) -> Gateway:
    """A gateway to the sessions of this machine, which listens nowhere yet.

    Args:
        allowed: the folders, resolved, that callers may have agents work in, and whose sessions they reach.
        log: called with a line for each request.
        all_sessions: let callers reach the sessions in other folders too.
    """
    from .gateway import state_files
    from .gateway.server import Gateway
    from .operations import acts

    _import_all()
    hosts = config.gateway_hosts(settings.environ)
    served = settings._replace(parent=None, depth=0, allowed=tuple(allowed), all_sessions=all_sessions)
    return Gateway(local(served), state_files.token(settings.home), log, hosts, acts)


def _import_all() -> None:
    """Load what operations import when they run: a gateway outlives the installation that it was started from."""
    from pkgutil import walk_packages

    for module in walk_packages(__path__, f"{__package__}."):
        if not module.name.startswith((f"{__package__}.cli", f"{__package__}.__main__")):
            import_module(module.name)
    for name in ("filelock", "pexpect", "websockets.sync.client"):
        import_module(name)
