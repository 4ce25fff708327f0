"""The one loop that every method runs in, on many starts side by side.

A method proposes points. The loop keeps the best one of every start, notices stalls, cycles, collapse to the zero
quine and NaN, and stops. It never says that a quine was found: see ``judge.py``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from ..errors import BadOption
from ..quines.interrupts import interrupt_here
from ..quines.measure import round_off
from ..quines.quine import Quine
from .course import WINDOW
from .maps import FullMap, OutOfTime, ReducedMap, SelfMap
from .methods.base import Method, State
from .solution import Status
from .trace import Progress as Progress
from .trace import Residuals, Trace
from .trace import following as following

_START_BYTES = 256 << 20  # weights of all starts together: a small part of the memory of any machine with torch
_SERIAL_STARTS = 8  # starts of a trunk that has to be evaluated one by one
_RACE = 0.05  # relative residual of the best start from which on the ones far behind it rest
_BEHIND = 10.0  # times the best residual is far behind: more than a step usually wins
_LED_BACK = 0.03  # relative distance from a known fixed point at which a start goes there: Newton's method would, too
_SPARE = 0.5  # seconds after a time limit at which an evaluation of a slow network may end
_HALVED = 0.5  # a solution is polished while a step still halves its residual; round-off does not fall so fast
_PROGRESS = 0.99  # a residual that fell by 1 % has made progress: below that, round-off and wandering look like it
_DIVERGED = 1e6  # growth of an iterate, relative to its start, that counts as divergence: no method steps so far
_CYCLE_LENGTH = 8  # longest period that is looked for; it costs as many copies of the iterates
_CYCLE_EVERY = 16  # steps between two looks for a cycle: twice the longest period, so that looking costs little
_CYCLE_ULPS = 16  # a cycle repeats to this many units of round-off; slow alternating convergence does not
_CYCLE_SHARE = 1e-6  # and to this share of its residual
_CYCLE_FAR = 1e3  # times the tolerance: nearer than that, repeating iterates are round-off around a solution


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When to stop. ``None`` means the default of the method, or no limit.

    Attributes:
        rtol: relative residual that counts as converged; by default 40 units of round-off.
        max_steps: steps of the loop.
        max_evaluations: evaluations of the map, all starts together.
        time_limit: seconds.
        patience: steps without progress (1 %) after which a start has stalled.

    Raises:
        BadOption: a limit is negative, NaN, or no number.
    """

    rtol: float | None = None
    max_steps: int | None = None
    max_evaluations: int | None = None
    time_limit: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            number = isinstance(value, Real) and not isinstance(value, bool)
            if value is not None and not (number and float(value) >= 0):  # NaN is not at least 0
                raise BadOption(f"{name} must be a number of at least 0, not {value!r}")

    def clock(self, trace: Trace) -> Callable[[], bool] | None:
        """What tells a map that the time limit has passed; None where there is none."""
        return None if self.time_limit is None else Clock(self.time_limit, trace)

    def tolerance(self, dtype: torch.dtype) -> float:
        """The relative residual that counts as converged in this type."""
        return self.rtol if self.rtol is not None else round_off(dtype)


class Clock:
    """Tells whether the time limit has passed, or would be passed by far before it is asked again.

    Args:
        limit: seconds.
        trace: tells the time.
    """

    def __init__(self, limit: float, trace: Trace) -> None:
        self._limit, self._trace = limit, trace
        self._asked, self._longest = math.inf, 0.0

    def __call__(self) -> bool:
        now = self._trace.seconds()
        self._longest = max(self._longest, now - self._asked)
        self._asked = now
        return now >= self._limit or now + self._longest > self._limit + _SPARE


@dataclass
class Search:
    """The result of the loop: one row for each start.

    Attributes:
        best: ``(B, n)`` best iterates.
        residuals: ``(B,)`` their relative residuals in the loop's own space.
        last: ``(B, n)`` last iterates.
        status: one for each start.
        steps: steps taken.
        broken_step: step at which the first NaN appeared, if any.
        tail: ``(T, B)`` current relative residuals of the last T steps, NaN where a start took none; None for a search
            without a loop, or one that was read back from a journal.
    """

    best: Tensor
    residuals: Tensor
    last: Tensor
    status: list[Status]
    steps: int
    broken_step: int | None = None
    tail: Tensor | None = None


class Watch:
    """The record of each of B starts: the best point so far, and how the start ended.

    Args:
        f: the map, for what counts as collapsed.
        starts: ``(B, n)``.
        rtol: relative residual that counts as converged.
        patience: steps without progress after which a start has stalled.
        every: watch until every start has ended; otherwise the first solution that is not in ``f.known`` ends the search.

    Attributes:
        best: ``(B, n)`` best iterates.
        residuals: ``(B,)`` their relative residuals.
        alive: ``(B,)`` the starts that have not ended.
        active: ``(B,)`` the starts that take the next step.
        broken_step: step at which the first NaN appeared, if any.
    """

    def __init__(self, f: SelfMap, starts: Tensor, *, rtol: float, patience: int, every: bool) -> None:
        count, device = len(starts), starts.device
        self.f, self.rtol, self.patience, self.every = f, rtol, patience, every
        self.floor = torch.finfo(starts.dtype).eps
        self.status: list[Status | None] = [None] * count
        self.best = starts.clone()
        self.residuals = torch.full((count,), float("inf"), dtype=starts.dtype, device=device)
        self.broken_step: int | None = None
        self.alive = torch.ones(count, dtype=torch.bool, device=device)
        self.active = self.alive.clone()
        self._bound = _DIVERGED * (1 + torch.linalg.vector_norm(starts, dim=1))
        self._previous = self._reference = self.residuals.clone()
        self._waiting = torch.zeros(count, dtype=torch.long, device=device)
        self._recent: deque[Tensor] = deque(maxlen=_CYCLE_LENGTH)
        self._squared = torch.full_like(self.residuals, torch.nan)
        self._tail: deque[Tensor] = deque(maxlen=WINDOW)

    def observe(self, state: State, step: int, trace: Trace) -> bool:
        """Look at every row after a step. Returns whether the search is over."""
        x, residual = state.x, state.fx - state.x
        finite = torch.isfinite(residual).all(1) & torch.isfinite(x).all(1)
        size = torch.linalg.vector_norm(x, dim=1)
        length = torch.linalg.vector_norm(residual, dim=1)
        relative = length / size.clamp_min(torch.finfo(size.dtype).tiny)
        relative = torch.where(finite, relative, torch.inf)
        collapsed = finite & self.f.collapsed(x)
        better = (relative < self.residuals) & ~collapsed
        self.best = torch.where((better | collapsed)[:, None], x, self.best)
        self.residuals = torch.where(better, relative, self.residuals)
        squared = self.f.squared_length(residual, length)
        self._squared = torch.where(better, squared, self._squared)
        self._tail.append(torch.where(self.active, relative, torch.nan))
        trace.record(Residuals(torch.where(self.active, relative, torch.inf), squared, self.residuals, self._squared))
        if self._settled(relative) and not self.every:
            return True
        if not bool(finite.all()) and self.broken_step is None:
            self.broken_step = step
        self.end(~finite, Status.NONFINITE)
        self.end(collapsed, Status.ZERO_QUINE)
        self.end(size > self._bound, Status.DIVERGED)
        self.end(self._stalled(relative), Status.STALLED)
        if len(self.f.known) and not self.every:
            self.end(self._led_back(x, size), Status.STALLED)
        if step % _CYCLE_EVERY == _CYCLE_EVERY - 1:
            self.end(self._cycling(x, relative) & self.active, Status.CYCLE)  # who waits stands still
        self._recent.append(x.detach().clone())
        self._previous = relative
        if not bool(self.alive.any()):
            return True
        self.active = self._racing(relative)
        return False

    def end(self, rows: Tensor, reason: Status) -> None:
        """Note why these rows ended, those of them that have not ended before."""
        for row in (rows & self.alive).nonzero().flatten().tolist():
            self.status[row] = reason
        self.alive.logical_and_(~rows)

    def end_all(self, reason: Status) -> None:
        """Note why all the rows ended that have not ended before."""
        self.end(torch.ones_like(self.alive), reason)

    def search(self, last: Tensor, steps: int) -> Search:
        """The result, with the last iterates."""
        status = [s or Status.MAX_STEPS for s in self.status]
        tail = torch.stack(list(self._tail)) if self._tail else None
        return Search(self.best, self.residuals, last.detach().clone(), status, steps, self.broken_step, tail)

    def _settled(self, relative: Tensor) -> bool:
        """End the rows that are converged and no longer improve. Returns whether there was one."""
        no_better = (relative > _HALVED * self._previous) | (relative <= self.floor)
        settled = (self.residuals <= self.rtol) & no_better
        if not bool((settled & self.alive).any()):
            return False
        self.end(settled, Status.CONVERGED)
        return True

    def _stalled(self, relative: Tensor) -> Tensor:
        """Rows whose residual has not fallen by 1 % for as many steps as patience lasts."""
        progress = relative < _PROGRESS * self._reference
        self._reference = torch.where(progress, relative, self._reference)
        self._waiting = torch.where(progress, 0, self._waiting + self.active)
        return self._waiting >= self.patience

    def _led_back(self, x: Tensor, size: Tensor) -> Tensor:
        """Rows that come to a fixed point that is known: in a race they would win, and another one is sought."""
        gaps = torch.linalg.vector_norm(x[:, None] - self.f.known, dim=2).amin(1)
        return gaps <= _LED_BACK * size

    def _cycling(self, x: Tensor, relative: Tensor) -> Tensor:
        """Rows that came back to where they were 2 to 8 steps ago, far from a solution.

        Slow alternating convergence comes back nearly, by a constant share of its residual; a cycle to round-off.
        """
        found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        size = torch.linalg.vector_norm(x, dim=1)
        near = torch.minimum(_CYCLE_ULPS * torch.finfo(x.dtype).eps * size, _CYCLE_SHARE * relative * size)
        for past in list(self._recent)[:-1]:  # coming back to the previous iterate is no cycle but a standstill
            found |= torch.linalg.vector_norm(x - past, dim=1) <= near
        return found & (relative > _CYCLE_FAR * self.rtol)

    def _racing(self, relative: Tensor) -> Tensor:
        """Rows that take the next step: all that are alive, or once one is close only those near it."""
        if not self.every:
            leader = torch.where(self.alive, relative, torch.inf).min()
            if leader < _RACE:
                return self.alive & (relative <= _BEHIND * leader)
        return self.alive.clone()


def iterate(f: SelfMap, method: Method, starts: Tensor, stop: Stop, trace: Trace, *, every: bool = False) -> Search:
    """Run one method from all starts side by side.

    Args:
        f: the map.
        method: proposes the points.
        starts: ``(B, n)``.
        stop: the limits.
        trace: the trace to continue, so that several methods in turn share one.
        every: go on until every start has ended; by default the first solution ends the search.

    Returns:
        The best iterate and a status for each start. Never raises for lack of convergence.
    """
    max_steps, patience = method.limits(f.n)
    max_steps = max_steps if stop.max_steps is None else stop.max_steps
    patience = patience if stop.patience is None else stop.patience
    watch = Watch(f, starts, rtol=stop.tolerance(starts.dtype), patience=patience, every=every)
    state, step = State(starts, starts), 0
    try:
        state = method.init(f, starts.clone())
        while not watch.observe(state, step, trace):
            interrupt_here()
            if step >= max_steps or (stop.max_evaluations is not None and f.evaluations >= stop.max_evaluations):
                watch.end_all(Status.MAX_STEPS)
                break
            if stop.time_limit is not None and trace.seconds() >= stop.time_limit:
                watch.end_all(Status.TIME_LIMIT)
                break
            step += 1
            state = method.step(f, state, watch.active.nonzero().flatten())
    except OutOfTime:
        watch.end_all(Status.TIME_LIMIT)
    except KeyboardInterrupt:
        watch.end_all(Status.INTERRUPTED)
    return watch.search(state.x, step)


def affordable_starts(quine: Quine, width: int) -> int:
    """The number of starts, at most ``width``, that run side by side, by what the trunk and the memory allow."""
    if not quine.vectorized:
        width = min(width, _SERIAL_STARTS)
    return max(1, min(width, _START_BYTES // (8 * quine.parameter_count)))


def starting_points(f: FullMap | ReducedMap, width: int, generator: torch.Generator, *, own: bool) -> Tensor:
    """The network as it stands, then codes drawn at random: ``(B, n)``."""
    points = f.drawn(width, generator)
    first = f.own()
    if own:
        points = points.clone()
        points[0] = first
    return points
