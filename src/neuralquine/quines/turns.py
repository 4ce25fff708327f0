"""Taking turns with one module: a run with other weights swaps them in, and nobody else may run it meanwhile."""

from __future__ import annotations

import threading
from typing import Any

_RLock: Any = type(threading.RLock())  # typed as final, which it is not


class Turn(_RLock):
    """A lock that one thread may take several times. A copy of what holds it has a lock of its own.

    It is Python's own lock and not an object that has one: an interrupt between taking it and saying so would leave it
    taken for ever.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Turn:
        return Turn()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()
