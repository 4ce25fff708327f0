"""Taking turns with one module: a run with other weights swaps them in, and nobody else may run it meanwhile."""

from __future__ import annotations

import threading
from typing import Any, Self


class Turn:
    """A lock that one thread may take several times. A copy of what holds it has a lock of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __deepcopy__(self, memo: dict[int, Any]) -> Turn:
        return Turn()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()
