"""Queried quines whose answers, rounded to a grid, equal the stored weights bit for bit.

There are as many equations as weights. Where the map contracts, regeneration on a grid settles, on most grids within
tens of evaluations. Where it repels, a grid would have to be met by chance in P dimensions, and the status says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..quines.bits import differing
from .queried_map import QueryMap

GRIDS = (12, 16, 20, 24, 28, 32, 36, 40)  # bits tried in turn: the coarser, the more round-off is tolerated
PHASES = 8  # places of each grid: a contraction settles on about every second one
_EVALUATIONS = 200  # on one grid: half of what disagrees moves, so that a spectral radius of 0.75 takes some 60
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
        self.detail = ""
        self.found = False

    @torch.no_grad()
    def near(self, theta: Tensor) -> Tensor | None:
        """Weights near a fixed point that the network prints to the last bit on the grid that it has from now on; None if no grid has any."""
        eigenvalues, _ = self.quine.directional(theta).eigenvalues()
        radius = float(eigenvalues.abs().max())
        self.seen.append(radius)
        if not radius < 1:
            self.detail = (
                f"the fixed points repel (spectral radius {min(self.seen):.3g} or more), and to meet a grid by chance in "
                f"{self.f.n} dimensions is hopeless: only where the map contracts does regeneration on a grid end"
            )
            return None
        for bits, phase in self._grids():
            self.quine.code_bits, self.quine.code_phase = bits, phase
            if self._late():
                break
            if (settled := self._settled(theta)) is not None:
                self.found = True
                return settled
        self.quine.code_bits, self.quine.code_phase = self._asked
        self.detail = f"spectral radius {radius:.3g}, but regeneration settled on no grid"
        return None

    def _grids(self) -> list[tuple[int, int]]:
        """The grids with their phases: the one that was asked for, or all above the round-off of the weights."""
        bits, phase = self._asked
        if bits is not None:
            return [(bits, p) for p in range(phase, phase + PHASES)]
        finest = -_ROUND_OFF - round(math.log2(torch.finfo(self.quine.code_dtype).eps))
        return [(k, p) for p in range(PHASES) for k in GRIDS if k <= finest]

    def _settled(self, theta: Tensor) -> Tensor | None:
        """Regenerate on the quine's grid; a random half of the weights that disagree takes its new value."""
        quine = self.quine
        quine.install(quine.quantize(theta.to(quine.code_dtype)))
        for _ in range(_EVALUATIONS):
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
