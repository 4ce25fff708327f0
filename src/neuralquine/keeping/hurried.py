"""The verification at saving where a time limit was asked for: as much of it as there is time for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from ..checking.verify import Verification, unexamined, verify
from ..quines.measure import Measurement, measure
from ..quines.quine import Quine
from ..solving.maps import OutOfTime
from ..solving.solution import Solution

_PER_WEIGHT = 1e-6  # seconds that the verification of a network printed in place takes for each weight: 100 for GPT-2


def verified_within(quine: Quine, seconds: float) -> Verification:
    """Verify a quine that a search has just ended at, if that takes no longer than so many seconds.

    Weights that the search itself calls no quine are not examined; nor are those for which there is no time.
    """
    solution = quine.solution
    known = isinstance(solution, Solution) and (solution.theta is None or torch.equal(solution.theta, quine.theta))
    measured: Measurement = solution if known else measure(quine)
    if known and not solution.converged:
        return unexamined(quine, measured)
    if seconds > (_PER_WEIGHT * quine.parameter_count if quine.in_place else 0):
        held = None if quine.in_place else quine.theta
        # The alarm may ring after derivatives were switched off, and before it is noted that they were on.
        with (
            suppress(OutOfTime),
            torch.set_grad_enabled(torch.is_grad_enabled()),
            _alarm(None if held is None else seconds),
        ):
            return verify(quine)
        assert held is not None
        quine.theta = held  # the alarm may have rung while other weights were tried
    return unexamined(quine, measured)


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """Raise :class:`OutOfTime` after so many seconds by the clock, where the system has one for the main thread."""
    main = threading.current_thread() is threading.main_thread()
    if seconds is None or not main or not hasattr(signal, "setitimer"):
        yield
        return

    def rung(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, rung)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        signal.signal(signal.SIGALRM, before)
