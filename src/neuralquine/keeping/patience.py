"""A clock for what is proved about a stranger's folder, some hundred bytes of which can describe a proof that takes days."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import TooLarge
from ..files.names import WEIGHTS

_PATIENCE = 12.0  # seconds of the processor that a proof may take whatever the folder holds
_PER_BYTE = 1e-3  # more for each byte of its weights: what a recipe takes is far below, what a bomb takes is not
_SHORTEST, _LONGEST = 1e-3, 1e9  # seconds: to the system's clock 0 is no limit, and it takes no infinity


@contextmanager
def patience(folder: str | Path, limit: float | None = None) -> Iterator[None]:
    """Let a proof end when it has taken its time. The clock belongs to the main thread: in others nothing is limited.

    Args:
        folder: of the quine.
        limit: seconds of the processor; by default what grows with the weights in the folder.

    Raises:
        TooLarge: the proof took longer.
    """
    weights = Path(folder) / WEIGHTS
    size = weights.stat().st_size if weights.is_file() else 0
    seconds = max(_SHORTEST, min(_PATIENCE + _PER_BYTE * size if limit is None else limit, _LONGEST))

    def ended(*_: object) -> None:
        raise TooLarge(
            f"the proof takes longer than {seconds:.0f} seconds of the processor: time_limit= allows for more, "
            "--time-limit on the command line"
        )

    # Where there is no such clock, Ctrl-C is left.
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGPROF, ended)
    left, interval = signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, left, interval)  # somebody else's clock, such as a profiler's, goes on
        signal.signal(signal.SIGPROF, before)
