"""Queried quines whose answers, rounded to a grid, equal the stored weights bit for bit.

There are as many equations as weights. Where the map contracts, regeneration on a grid settles, on most grids within
tens of evaluations. Where it repels, a network of few weights meets one of many moved grids by chance, as a code does
(``grids.py``); of more weights a grid would have to be met in too many dimensions, and the status says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import NeuralQuineError, plural
from ..quines.bits import differing
from ..quines.derivatives import Dense
from ..quines.interrupts import interrupt_here
from ..quines.itself import SelfQuine
from ..quines.networks.running import named
from ..quines.queried import QueryQuine
from ..quines.tables.phases import grid_name
from .grids import FixedPoint, GridQuine, trials
from .prospect import MET
from .queried_map import QueryMap

GRIDS = (12, 16, 20, 24, 28, 32, 36, 40)  # bits tried in turn: the coarser, the more round-off is tolerated
PHASES = 8  # places of each grid: a contraction settles on about every second one
_EVALUATIONS = 200  # on one grid: half of what disagrees moves, so that a spectral radius of 0.75 takes some 60
_MET_GRIDS = (8, 10, 12, 14)  # bits tried in turn; the coarser, the larger the margin in units of the weights
_BATCH = 512  # phases tried at once, a fifth of a second of one core at 84 weights
_BATCHES = 8  # of them at the best conditioned fixed point, each time that another one is found: as dear as that was
_ROBUST = {
    torch.float64: 1e-6,
    torch.float32: 1e-5,
}  # margin above which no better one is sought, hundreds of times round-off
_ROUND_OFF = 6  # bits that a grid stays above the last one of the weights' sums


class Rounded:
    """The search on grids around the fixed points that a search finds, one after the other.

    Attributes:
        seen: spectral radii of the fixed points that were tried.
        detail: what was found, or why nothing was.
        found: whether something was; then the quine has its grid.
    """

    def __init__(self, f: QueryMap, seed: int, late: Callable[[], bool]) -> None:
        self.f, self.quine, self._late = f, f.queried, late
        self._generator = torch.Generator().manual_seed(seed % 2**63)
        self._asked = (self.quine.code_bits, self.quine.code_phase)
        self.seen: list[float] = []
        self._points: list[FixedPoint] = []
        self._trials = 0
        self.detail = ""
        self.found = False

    @torch.no_grad()
    def near(self, theta: Tensor) -> Tensor | None:
        """Weights near a fixed point that the network prints to the last bit on the grid that it has from now on; None if no grid has any."""
        try:
            return self._near(theta)
        except KeyboardInterrupt:  # a time limit's, too
            self.quine.code_bits, self.quine.code_phase = self._asked
            raise

    def _near(self, theta: Tensor) -> Tensor | None:
        eigenvalues, _ = self.f.local(theta).eigenvalues()
        radius = float(eigenvalues.abs().max())
        self.seen.append(radius)
        if radius < 1:
            tried = 0
            for bits, phase in self._grids():
                self.quine.code_bits, self.quine.code_phase = bits, phase
                if self._late():
                    break
                if (settled := self._settled(theta)) is not None:
                    self.found = True
                    return settled
                tried += 1
            flickers = f"regeneration settled on none of {plural(tried, 'grid')}{self._moved(theta)}"
            self.detail = f"spectral radius {radius:.3g}, but {flickers}"
        self.quine.code_bits, self.quine.code_phase = self._asked
        if self.f.n <= MET and self.quine.dtype == self.quine.code_dtype:
            return self._met(theta)
        if not radius < 1:
            self.detail = (
                f"the fixed points repel (spectral radius {min(self.seen):.3g} or more), and to meet a grid by chance in "
                f"{self.f.n} dimensions is hopeless: only where the map contracts does regeneration on a grid end"
            )
        return None

    def _moved(self, theta: Tensor) -> str:
        """How far one generation may carry what is rounded, where the whole derivative is known: a radius below 1 is no bound of it."""
        local = self.f.local(theta)
        if not isinstance(local, Dense):
            return ""
        most = 0.5 * float(local.reduced().abs().sum(1).max())
        return (
            f": all roundings together move a weight by up to {most:.3g} steps, and only below 1/2 is there no flicker"
        )

    def _met(self, theta: Tensor) -> Tensor | None:
        """Try many phases of several grids around the best conditioned of the fixed points that are known."""
        self._points.append(FixedPoint.at(self.f, theta.to(self.quine.code_dtype)))
        point = min(self._points, key=lambda p: p.determinant)
        bits, first = self._asked
        tried = [bits] if bits is not None else [k for k in _MET_GRIDS if k <= self._finest]
        best: GridQuine | None = None
        for batch in range(point.trials // _BATCH, point.trials // _BATCH + _BATCHES):
            phase = first + batch // len(tried) * _BATCH
            if self._late():
                break
            found, visited = trials(self.quine, self.f, point, tried[batch % len(tried)], phase, _BATCH)
            point.trials += _BATCH
            point.visited += visited
            self._trials += _BATCH
            if found is not None and (best is None or found.reserve > best.reserve):
                best = found
            if best is not None and best.reserve >= _ROBUST.get(self.quine.dtype, 0.0):
                break
        made = f"{plural(self._trials, 'trial')} around {plural(len(self._points), 'fixed point')}"
        if best is None:
            self.detail = f"{made} that repel, |det| {point.determinant:.3g} or more"
            return None
        self.found = True
        self.quine.code_bits, self.quine.code_phase = best.bits, best.phase
        self.detail = f"grid {grid_name(best.bits, best.phase)}, margin {best.margin:.3g} of a step, after {made}"
        return best.code

    def _grids(self) -> list[tuple[int, int]]:
        """The grids with their phases: the one that was asked for, or all above the round-off of the weights."""
        bits, phase = self._asked
        if bits is not None:
            return [(bits, p) for p in range(phase, phase + PHASES)]
        return [(k, p) for p in range(PHASES) for k in GRIDS if k <= self._finest]

    @property
    def _finest(self) -> int:
        """Bits of the finest grid above the round-off of the weights."""
        return -_ROUND_OFF - round(math.log2(torch.finfo(self.quine.code_dtype).eps))

    def _settled(self, theta: Tensor) -> Tensor | None:
        """Regenerate on the quine's grid; a random half of the weights that disagree takes its new value."""
        quine = self.quine
        quine.install(quine.quantize(theta.to(quine.code_dtype)))
        for _ in range(_EVALUATIONS):
            interrupt_here()
            held, printed = quine.theta, quine.printed()
            self.f.evaluations += 1
            differs = differing(printed, held)
            if not bool(differs.any()):
                self.detail = (
                    f"grid 2^-{quine.code_bits}, phase {quine.code_phase}, spectral radius {self.seen[-1]:.3g}"
                )
                return held
            half = differs & (torch.rand(len(held), generator=self._generator).to(held.device) < 0.5)
            quine.theta = torch.where(half if bool(half.any()) else differs, printed, held)
        return None


@torch.no_grad()
def noise(quine: QueryQuine | SelfQuine) -> str:
    """How far the round-off of narrow weights moves what is printed, beside a step of the coarsest grid; empty for wide ones.

    A point that is a quine without round-off stays one if no answer crosses a rounding boundary. An answer that may lie
    anywhere between two of them does so with a chance of its displacement in steps.
    """
    if quine.dtype == quine.code_dtype:
        return ""
    bits = 1 - round(math.log2(torch.finfo(quine.dtype).eps))
    theta = quine.random_codes(1, torch.Generator().manual_seed(0))[0].to(quine.dtype)  # of the size of a quine
    queries = next(iter(named(quine.inputs).values()))
    options = {"select": quine.select, "print_frozen": quine.print_frozen, "scales": (quine.means, quine.gains)}
    try:
        wide = QueryQuine(quine.trunk, queries, seed=quine.seed, dtype=torch.float64, **options)
        gap = (quine.real_code(theta).double() - wide.real_code(theta.double())).abs()
    except NeuralQuineError:  # a trunk that runs in its own type only
        return ""
    steps = gap * 2.0 ** _MET_GRIDS[0]
    chance = float((1 - steps).clamp_min(0).prod())
    return (
        f"in {quine.dtype_name} ({bits} bits) round-off moves an answer by {float(steps.median()):.2g} steps of the grid "
        f"2^-{_MET_GRIDS[0]} (median; up to {float(steps.max()):.2g}), so that a point of it is printed again by all {len(gap)} "
        f"with a chance of {chance:.1g}"
    )
