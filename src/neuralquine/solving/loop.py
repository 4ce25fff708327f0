"""The one loop that every method runs in, on many starts side by side.

A method proposes points. The loop keeps the best one of every start, notices stalls, cycles, collapse to the zero
quine and NaN, and stops. It never says that a quine was found: see ``judge.py``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..files.logs import Logger
from ..quines.measure import round_off
from ..quines.quine import Quine
from .maps import FullMap, ReducedMap, SelfMap
from .methods.base import Method, State
from .solution import Status, TracePoint

_START_BYTES = 256 << 20  # weights of all starts together
_SERIAL_STARTS = 8  # starts of a trunk that has to be evaluated one by one
_RACE = 0.05  # once a start is this close, the ones ten times behind rest
_CYCLE_LENGTH = 8
_TRACE_POINTS = 2000

Progress = Callable[[TracePoint], None]


def following(logger: Logger) -> Progress:
    """Make a ``progress=`` for :func:`neuralquine.solve` that logs every point of the search."""

    def follow(point: TracePoint) -> None:
        figures = {
            "relative_residual": point.relative_residual,
            "map_evaluations": point.map_evaluations,
            "seconds": point.seconds,
        }
        logger.log(figures, point.step)

    return follow


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When to stop. ``None`` means the default of the method, or no limit.

    Attributes:
        rtol: relative residual that counts as converged; by default 40 units of round-off.
        max_steps: steps of the loop.
        max_evaluations: evaluations of the map, all starts together.
        time_limit: seconds.
        patience: steps without progress (1 %) after which a start has stalled.
    """

    rtol: float | None = None
    max_steps: int | None = None
    max_evaluations: int | None = None
    time_limit: float | None = None
    patience: int | None = None


@dataclass
class Search:
    """What the loop leaves behind: one row for each start.

    Attributes:
        best: ``(B, n)`` best iterates.
        residuals: ``(B,)`` their relative residuals in the loop's own space.
        last: ``(B, n)`` last iterates.
        status: one for each start.
        steps: steps taken.
        broken_step: step at which the first NaN appeared, if any.
    """

    best: Tensor
    residuals: Tensor
    last: Tensor
    status: list[Status]
    steps: int
    broken_step: int | None = None


@dataclass
class Trace:
    """Residual against steps, evaluations and seconds, thinned when a loop is long."""

    f: SelfMap
    progress: Progress | None
    started: float = field(default_factory=time.perf_counter)
    points: list[TracePoint] = field(default_factory=list)
    steps: int = 0
    best: float = float("inf")

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def record(self, residual: float) -> None:
        better = residual < self.best
        self.best = min(self.best, residual)
        due = not self.points or self.steps >= self.points[-1].step * (1 + 10 / _TRACE_POINTS)
        if due or (better and len(self.points) < _TRACE_POINTS):
            point = TracePoint(self.steps, self.f.evaluations, self.seconds(), self.best)
            self.points.append(point)
            if self.progress is not None:
                self.progress(point)
        self.steps += 1


def iterate(f: SelfMap, method: Method, starts: Tensor, stop: Stop, trace: Trace, *, every: bool = False) -> Search:
    """Run one method from all starts side by side.

    Args:
        f: the map.
        method: proposes the points.
        starts: ``(B, n)``.
        stop: limits.
        trace: continued, so that several methods in turn share one.
        every: go on until every start has ended; by default the first solution ends the search.

    Returns:
        The best iterate and a status for each start. Never raises for lack of convergence.
    """
    rtol = stop.rtol if stop.rtol is not None else round_off(starts.dtype)
    max_steps, patience = method.limits(f.n)
    max_steps = max_steps if stop.max_steps is None else stop.max_steps
    patience = patience if stop.patience is None else stop.patience
    count, floor = len(starts), torch.finfo(starts.dtype).eps
    status: list[Status | None] = [None] * count
    best, residuals = starts.clone(), torch.full((count,), float("inf"), dtype=starts.dtype, device=starts.device)
    reference, waiting = residuals.clone(), torch.zeros(count, dtype=torch.long, device=starts.device)
    previous = residuals
    bound = 1e6 * (1 + torch.linalg.vector_norm(starts, dim=1))
    recent: deque[Tensor] = deque(maxlen=_CYCLE_LENGTH)
    alive = torch.ones(count, dtype=torch.bool, device=starts.device)
    broken_step: int | None = None

    def end(rows: Tensor, reason: Status) -> None:
        for row in (rows & alive).nonzero().flatten().tolist():
            status[row] = reason
        alive.logical_and_(~rows)

    def result() -> Search:
        return Search(
            best, residuals, state.x.detach().clone(), [s or Status.MAX_STEPS for s in status], step, broken_step
        )

    step = 0
    state = State(starts, starts)
    try:
        state = method.init(f, starts.clone())
        active = alive.clone()
        while True:
            residual = state.fx - state.x
            finite = torch.isfinite(residual).all(1) & torch.isfinite(state.x).all(1)
            size = torch.linalg.vector_norm(state.x, dim=1)
            relative = torch.linalg.vector_norm(residual, dim=1) / size.clamp_min(torch.finfo(size.dtype).tiny)
            relative = torch.where(finite, relative, torch.inf)
            collapsed = finite & f.collapsed(state.x)
            better = (relative < residuals) & ~collapsed
            best = torch.where((better | collapsed)[:, None], state.x, best)
            residuals = torch.where(better, relative, residuals)
            trace.record(float(residuals.min()))

            # A solution is polished for as long as each step still halves its residual.
            settled = (residuals <= rtol) & ((relative > 0.5 * previous) | (relative <= floor))
            if bool((settled & alive).any()):
                end(settled, Status.CONVERGED)
                if not every:
                    return result()
            if not bool(finite.all()) and broken_step is None:
                broken_step = step
            end(~finite, Status.NONFINITE)
            end(collapsed, Status.ZERO_QUINE)
            end(size > bound, Status.DIVERGED)
            progress = relative < 0.99 * reference
            reference = torch.where(progress, relative, reference)
            waiting = torch.where(progress, 0, waiting + active)
            end(waiting >= patience, Status.STALLED)
            if step % 16 == 15:
                end(_cycling(state.x, recent, relative, rtol), Status.CYCLE)
            recent.append(state.x.detach().clone())
            previous = relative

            if not bool(alive.any()):
                return result()
            if step >= max_steps or (stop.max_evaluations is not None and f.evaluations >= stop.max_evaluations):
                end(alive.clone(), Status.MAX_STEPS)
                return result()
            if stop.time_limit is not None and trace.seconds() >= stop.time_limit:
                end(alive.clone(), Status.TIME_LIMIT)
                return result()
            active = alive.clone()
            if not every:
                leader = torch.where(alive, relative, torch.inf).min()
                if leader < _RACE:
                    active &= relative <= 10 * leader
            step += 1
            state = method.step(f, state, active.nonzero().flatten())
    except KeyboardInterrupt:
        end(torch.ones_like(alive), Status.INTERRUPTED)
        return result()


def _cycling(x: Tensor, recent: deque[Tensor], relative: Tensor, rtol: float) -> Tensor:
    """Rows that came back to where they were 2 to 8 steps ago, far from a solution.

    Slow alternating convergence comes back nearly, by a constant share of its residual; a cycle to round-off.
    """
    found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    size = torch.linalg.vector_norm(x, dim=1)
    near = torch.minimum(16 * torch.finfo(x.dtype).eps * size, 1e-6 * relative * size)
    for past in list(recent)[:-1]:  # the very last one is no cycle but a standstill
        found |= torch.linalg.vector_norm(x - past, dim=1) <= near
    return found & (relative > 1e3 * rtol)


def affordable_starts(quine: Quine, width: int) -> int:
    if not quine.vectorized:
        width = min(width, _SERIAL_STARTS)
    return max(1, min(width, _START_BYTES // (8 * quine.parameter_count)))


def starting_points(
    quine: Quine, f: FullMap | ReducedMap, width: int, generator: torch.Generator, *, own: bool
) -> Tensor:
    """The network as it stands, then codes drawn at random: ``(B, n)``."""
    codes = quine.random_codes(width, generator)
    if isinstance(f, FullMap):
        points = quine.expand(codes)
        first = quine.theta
    else:
        points = codes
        f.evaluations += 1
        with torch.no_grad():
            first = quine.code()
    if own:
        points = points.clone()
        points[0] = first
    return points
