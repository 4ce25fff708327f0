"""The connections of the lab: never more than there are files for, so that nobody who only connects keeps the page out."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST = 512  # connections: a page has six
_SHARE = 3  # a connection may hold a file that it downloads, and others are open besides
_USUAL = 256  # files where the system does not say how many may be open


def limit() -> int:
    """Return how many connections may be open at once: a third of the files that this process may have open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return _USUAL // _SHARE
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST if files == resource.RLIM_INFINITY else min(_MOST, files // _SHARE)


class Connection(H11Protocol):
    """A connection that makes room: where there are too many, the one that has been idle longest is closed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limit, self.heard = limit(), 0.0

    @property
    def idle(self) -> bool:
        """Whether it waits for a request."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # pyright: ignore[reportArgumentType] - a Transport, as uvicorn says
        self.heard = self.loop.time()
        # One that is closed leaves the set in a later turn of the loop, and several arrive in one.
        open_ones = [c for c in self.connections if isinstance(c, Connection) and not c.transport.is_closing()]
        if len(open_ones) > self._limit:
            min((c for c in open_ones if c.idle), key=lambda c: c.heard).transport.abort()

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        super().data_received(data)
