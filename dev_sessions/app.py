"""The composition root: settings in, client out. The only module that knows every room."""

from __future__ import annotations

from . import config
from .client import Client
from .service import Service
from .transport.local import LocalTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


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
    return Client(LocalTransport(Service(config.load(environ))), on_event)
