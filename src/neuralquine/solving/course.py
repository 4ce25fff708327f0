"""The course of a search that found nothing: whether its residual still falls, stalls, oscillates or wanders.

The rule looks at the current relative residuals of one start over its last steps, and not at the best so far, which can
only fall. Differences below round-off count as none.

    falls        the second half of these steps comes lower than the first, and the last step is still down there
    stalls       the second half stays within a factor of 1.25
    oscillates   it does not, and turns, from up to down or back, at every second step or more often
    wanders      it does not, and turns less often: it drifts over many steps
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WINDOW = 1_000  # last steps that are looked at: the post's loop swings over some hundreds of them
_FELL = 0.99  # of the lowest of the first half: 1 %, as in the loop's rule of progress
_LEVEL = 1.25  # largest over smallest residual that counts as level: the swings of part 1's Newton are 1.5 and more
_TURNS = 0.5  # share of the steps that turn; two thirds of independent random numbers do, 3 % of the post's loop
_FEWEST = 4  # steps below which nothing can be said

FALLS, STALLS, OSCILLATES, WANDERS = "falls", "stalls", "oscillates", "wanders"


def course(residuals: Sequence[float], floor: float) -> str:
    """Name the course of the last steps of a search; empty where there are too few of them.

    Args:
        residuals: current relative residuals, step by step; those that are not finite are passed over.
        floor: the relative residual that counts as round-off.
    """
    values = np.asarray(residuals, dtype=np.float64)[-WINDOW:]
    values = np.maximum(values[np.isfinite(values)], floor)
    if len(values) < _FEWEST:
        return ""
    first, second = np.array_split(values, 2)
    if second.min() < _FELL * first.min() and values[-1] <= _LEVEL * values.min():
        return FALLS
    if second.max() <= _LEVEL * second.min():
        return STALLS
    slopes = np.diff(values)
    turns = np.count_nonzero(slopes[1:] * slopes[:-1] < 0)
    return OSCILLATES if turns >= _TURNS * (len(slopes) - 1) else WANDERS


def sentence(name: str, residuals: Sequence[float]) -> str:
    """Say in words what :func:`course` found."""
    values = np.asarray(residuals, dtype=np.float64)[-WINDOW:]
    values = values[np.isfinite(values)]
    if not name or not len(values):
        return ""
    span = f"between {values.min():.2g} and {values.max():.2g} in its last {len(values)} steps"
    return {
        FALLS: "the residual was still falling",
        STALLS: f"the residual stays level, {span}",
        OSCILLATES: f"the residual oscillates from step to step, {span}",
        WANDERS: f"the residual wanders, {span}",
    }[name]
