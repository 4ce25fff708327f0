"""The record of a search, step by step: what it stood at, and the best that it had passed by."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..files.logs import Logger
from .maps import SelfMap
from .solution import TracePoint

_POINTS = 2000  # points up to which a trace keeps every improvement: more than a figure can show
_SPACING = 10 / _POINTS  # share of the steps so far after which a point is recorded in any case

Progress = Callable[[TracePoint], None]


def following(logger: Logger) -> Progress:
    """Make a ``progress=`` for :func:`neuralquine.solve` that logs every point of the search."""

    def follow(point: TracePoint) -> None:
        figures = {
            "relative_residual": point.relative_residual,
            "current_relative_residual": point.current_relative_residual,
            "squared_residual": point.squared_residual,
            "current_squared_residual": point.current_squared_residual,
            "map_evaluations": point.map_evaluations,
            "seconds": point.seconds,
        }
        logger.log(figures, point.step)

    return follow


@dataclass(frozen=True)
class Residuals:
    """The residuals of B starts after one step.

    Attributes:
        relative: ``(B,)`` relative residuals of the current iterates; infinite where a start takes no more steps.
        squared: ``(B,)`` their ``||F(theta) - theta||^2``.
        best: ``(B,)`` relative residuals of the best iterates so far.
        best_squared: ``(B,)`` their ``||F(theta) - theta||^2``.
    """

    relative: Tensor
    squared: Tensor
    best: Tensor
    best_squared: Tensor


@dataclass
class Trace:
    """Residuals against steps, evaluations and seconds, thinned when a loop is long."""

    f: SelfMap
    progress: Progress | None
    started: float = field(default_factory=time.perf_counter)
    points: list[TracePoint] = field(default_factory=list)
    steps: int = 0
    best: float = float("inf")
    best_squared: float = math.nan
    trials: int = 0
    expected_trials: float = math.nan

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def record(self, now: Residuals) -> None:
        """Take the residuals of one step."""
        residual = float(now.best.min())
        better = residual < self.best
        if better:
            self.best, self.best_squared = residual, float(now.best_squared[now.best.argmin()])
        due = not self.points or self.steps >= self.points[-1].step * (1 + _SPACING)
        if due or (better and len(self.points) < _POINTS):
            nearest = int(now.relative.argmin())
            point = TracePoint(
                step=self.steps,
                map_evaluations=self.f.evaluations,
                seconds=self.seconds(),
                relative_residual=self.best,
                current_relative_residual=float(now.relative[nearest]),
                squared_residual=self.best_squared,
                current_squared_residual=float(now.squared[nearest]),
            )
            self.points.append(point)
            self._tell(point)
        self.steps += 1

    def tried(self, trials: int, expected: float) -> None:
        """Tell whoever follows the search how many trials of an exact quine there were; no point is recorded.

        A later search for other fixed points goes on telling it: how far it is from its end is what the trials say.
        """
        self.trials, self.expected_trials = trials, expected
        if self.points:
            self._tell(replace(self.points[-1], map_evaluations=self.f.evaluations, seconds=self.seconds()))

    def _tell(self, point: TracePoint) -> None:
        if self.progress is not None:
            self.progress(replace(point, trials=self.trials, expected_trials=self.expected_trials))
