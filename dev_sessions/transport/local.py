"""The service in this very process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..service import Service
    from ..wire import Frame, Request


class LocalTransport:
    """Hands requests to a service as they are; nothing is encoded."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def handle(self, request: Request) -> Iterator[Frame]:
        """Run the request; see `wire.Transport`."""
        return self._service.handle(request)
