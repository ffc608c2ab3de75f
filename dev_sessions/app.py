"""The composition root: makes a client from the settings. The only module that imports every room."""

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
    """A client for the sessions that the environment selects.

    Args:
        environ: default: this process's environment.
        on_event: called with each event of an operation as it happens.

    Raises:
        UsageError, HostUnreachable: the environment is invalid, or its gateway cannot be reached.
    """
    return Client(transport(config.load(environ)), on_event)


def transport(settings: Settings) -> Transport:
    """The transport to the sessions of this machine, or of a gateway's host."""
    far = config.gateway(settings.environ)
    if far is None:
        return local(settings)
    from .transport.http import HttpTransport

    return HttpTransport(far, settings.parent, settings.depth, settings.cwd)


def local(settings: Settings) -> Transport:
    """The transport to the sessions of this machine, even in a container."""
    from .service import Service

    return Service(settings)


def gateway(
    settings: Settings, allowed: Sequence[str], log: Callable[[str], None], all_sessions: bool = False
) -> Gateway:
    """A gateway to the sessions of this machine, which does not listen yet.

    Args:
        allowed: the folders, resolved, in which callers may start agents and reach sessions.
        log: called with a line for each request.
        all_sessions: let callers reach the sessions in other folders too.
    """
    from pkgutil import walk_packages

    from .gateway import state_files
    from .gateway.server import Gateway
    from .operations import acts

    # A gateway may outlive its installation: load now what operations import when they run.
    for module in walk_packages(__path__, f"{__package__}."):
        if not module.name.startswith((f"{__package__}.cli", f"{__package__}.__main__")):
            import_module(module.name)
    for name in ("filelock", "pexpect", "websockets.sync.client"):
        import_module(name)
    hosts = config.gateway_hosts(settings.environ)
    served = settings._replace(parent=None, depth=0, allowed=tuple(allowed), all_sessions=all_sessions)
    return Gateway(local(served), state_files.token(settings.home), log, hosts, acts)
