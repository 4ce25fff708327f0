"""Grids of a code, and the trials on them: is there a code on this grid that the network prints again?

A grid is ``o + 2^-k Z^d``; its offset ``o`` belongs to a phase (``quines/tables/phases.py``). Near a fixed point of the
unrounded map every phase is an independent trial, which succeeds with a chance of about ``1 / |det(I - J)|``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..quines.interrupts import interrupt_here
from ..quines.quine import Quine
from ..quines.tables.phases import PHASE_BITS, offset, offsets
from .lattice import points_in_cubes
from .loop import affordable_starts
from .maps import FullMap, ReducedMap, SelfMap

_COARSEST = 6  # fewest bits; a coarser grid leaves the neighborhood of the fixed point, where the linearization holds
_GRIDS = 4  # grids that are tried in turn, every other one from the coarsest on: the chances on all are the same
_NARROW = {torch.bfloat16: (2, 3), torch.float16: (4, 5, 6)}  # for narrow weights: their round-off stays below a step
_FLIPS = 300  # asynchronous steps on one grid: half of what disagrees moves, so that a contraction settles in tens
_REGENERATIONS = 60  # most evaluations for an anchored quine: with skip=0.1 the map contracts tenfold each time
_WATCHED = 8  # of them show whether it contracts, against the 8 before
_SHRUNK = 0.7  # of the largest move of the 8 before: at a spectral radius of 0.95 it is 0.66
_CANDIDATES = 400  # lattice points that are evaluated in one batch of trials, the closest ones
_TOGETHER = 1 << 22  # weights of all candidates that are evaluated at once: 32 MiB of them in float64
_CHECKED = 8  # of those that the map rounds to themselves: how many are installed, the most robust ones
_IN_PLACE = 16  # of those, where the network is printed in place; a batch has one or two that succeed
_SIDE = {torch.bfloat16: 1.25, torch.float16: 1.2}  # of the cube, where round-off moves what is printed
_SIDE_WIDE = 1.06
_NARROW_FROM = 64  # code size above which each target of the lattice search has few partial vectors
_WIDTH = 8  # so many: in 84 dimensions 5 to 10 of them give the most successes for the work, whatever |det| is


@dataclass(frozen=True)
class Grid:
    """``o + 2^-k Z^d``.

    Attributes:
        bits: k.
        phase: names the offset.
        offset: ``(d,)`` in steps.
    """

    bits: int
    phase: int
    offset: Tensor

    @classmethod
    def of(cls, quine: Quine, bits: int, phase: int) -> Grid:
        """The grid that a quine's code would be rounded to."""
        steps = torch.tensor(offset(quine.seed, phase, quine.code_size)).to(quine.trunk_device, quine.code_dtype)
        return cls(bits, phase, steps)

    def steps(self, codes: Tensor) -> Tensor:
        """Codes in steps of the grid; those on it are whole numbers."""
        return codes * 2.0**self.bits - self.offset

    def code(self, steps: Tensor) -> Tensor:
        """The codes that lie so many whole steps from the offset."""
        return (steps + self.offset) / 2.0**self.bits if self.phase else steps / 2.0**self.bits


@dataclass(frozen=True)
class GridQuine:
    """A code on a grid that the network prints again.

    Attributes:
        code: ``(d,)`` on the grid.
        bits: k.
        margin: distance of the unrounded code to the nearest rounding boundary, in grid steps, at most 1/2.
        phase: of the grid.
    """

    code: Tensor
    bits: int
    margin: float
    phase: int = 0

    @property
    def reserve(self) -> float:
        """The margin in units of the code."""
        return self.margin * 2.0**-self.bits


@dataclass
class FixedPoint:
    """A fixed point of the unrounded map, with what its trials need.

    Attributes:
        center: ``(d,)``.
        basis: ``I - J`` there.
        determinant: ``|det(I - J)|``, the expected number of trials.
        trials: those made so far.
        visited: partial lattice vectors that they took.
    """

    center: NDArray[np.float64]
    basis: NDArray[np.float64]
    determinant: float
    trials: int = 0
    visited: int = 0

    @property
    def price(self) -> float:
        """Partial lattice vectors until the first success, on average; drawing d offsets costs as much as d of them."""
        return self.determinant * (len(self.center) + self.visited / max(1, self.trials))

    @classmethod
    def at(cls, f: SelfMap, point: Tensor) -> FixedPoint:
        """The Jacobian costs d derivative products."""
        jacobian = f.jacobian(point[None])[0].detach().double().cpu().numpy()
        basis = np.eye(f.n) - jacobian
        return cls(point.double().cpu().numpy(), basis, float(abs(np.linalg.det(basis))))


def grids(quine: Quine) -> list[int]:
    """The grids worth trying: coarser ones leave the neighborhood of the fixed point, finer ones meet round-off.

    The sums of the printer stay exact as long as ``8 d 2^(k + 5)`` fits the mantissa, offsets included, and the trunk's
    own rounding must stay well below a grid step.
    """
    if quine.code_bits is not None:
        return [quine.code_bits]
    if quine.dtype in _NARROW:
        return list(_NARROW[quine.dtype])
    mantissa = {torch.float64: 53, torch.float32: 24}[quine.code_dtype]
    finest = max(mantissa - 5 - (8 * quine.code_size - 1).bit_length() - PHASE_BITS, 1)
    return list(range(min(_COARSEST, finest), finest + 1))[: 2 * _GRIDS : 2]


@torch.no_grad()
def trials(
    quine: Quine, f: ReducedMap | FullMap, point: FixedPoint, bits: int, first: int, count: int
) -> tuple[GridQuine | None, int]:
    """Try the phases ``first .. first + count`` of one grid around a fixed point, all at once.

    Returns:
        The most robust quine found, or None; and the partial lattice vectors that were looked at.
    """
    steps, scale = offsets(quine.seed, first, count, f.n), 2.0**bits
    side = _SIDE.get(quine.dtype, _SIDE_WIDE)
    targets = (point.center * scale - steps) @ point.basis.T
    if f.n <= _NARROW_FROM:
        near = points_in_cubes(point.basis, targets, side)
    else:  # a cube of many dimensions is met exactly or not at all: 1.06^84 is 130
        near = points_in_cubes(point.basis, targets, 1.0, _WIDTH * count)
    owner, points = near.owner, near.points
    most = _IN_PLACE if quine.in_place else _CANDIDATES
    if quine.in_place or len(points) > most:
        far = np.abs((points - point.center * scale + steps[owner]) @ point.basis.T).max(1)
        closest = np.argsort(far, kind="stable")[:most]
        owner, points = owner[closest], points[closest]
    wanted = torch.from_numpy(points).to(quine.trunk_device, quine.code_dtype)
    if quine.in_place:  # each evaluation rewrites all weights: the first success ends the trials
        candidates = (check(quine, f, Grid.of(quine, bits, first + int(o)), w) for o, w in zip(owner, wanted))
        return next((found for found in candidates if found is not None), None), near.visited
    moved = torch.from_numpy(steps[owner]).to(wanted)
    codes, gaps = (wanted + moved) / scale, []
    at_once = min(_CANDIDATES, max(1, _TOGETHER // quine.parameter_count))
    for start in range(0, len(codes), width := affordable_starts(f.together, at_once)):
        part = slice(start, start + width)
        gaps.append((f(codes[part]) * scale - moved[part] - wanted[part]).abs().amax(1))
    gap = torch.cat(gaps) if gaps else wanted.new_zeros(0)
    best: GridQuine | None = None
    for i in torch.argsort(gap, stable=True)[:_CHECKED].tolist():
        if not float(gap[i]) < 0.5:
            break
        found = check(quine, f, Grid.of(quine, bits, first + int(owner[i])), wanted[i])
        if found is not None and (best is None or found.reserve > best.reserve):
            best = found
    return best, near.visited


def check(quine: Quine, f: SelfMap, grid: Grid, steps: Tensor) -> GridQuine | None:
    """Put the weights into the network and evaluate it, as ``verify`` will: does it print this code?"""
    interrupt_here()
    code = grid.code(steps)
    with torch.no_grad():
        quine.install(code)
        image = grid.steps(quine.real_code())
    f.evaluations += 1
    nearest = torch.round(image)
    if not bool((nearest == steps).all()):
        return None
    return GridQuine(code, grid.bits, float(0.5 - (image - nearest).abs().max()), grid.phase)


class Repels(Exception):
    """A map that was to contract does not."""


def regenerate(
    quine: Quine,
    f: ReducedMap,
    bits: int,
    generator: torch.Generator,
    *,
    phase: int = 0,
    late: Callable[[], bool] = lambda: False,
) -> GridQuine | None:
    """Regenerate on one grid from the network as it stands; where the map contracts, it takes a few evaluations.

    Once no fewer coordinates change than before, a random half of them takes its new value: all at once would cycle,
    about ``rho^2 d`` of them at spectral radius rho.

    Raises:
        Repels: most coordinates move as far as before, so that no phase of this grid would do either.
    """
    grid = Grid.of(quine, bits, phase)
    with torch.no_grad():
        x = torch.round(grid.steps(quine.real_code()))
    f.evaluations += 1
    fewest = f.n + 1
    moves: list[float] = []
    for _ in range(_REGENERATIONS):
        if late():
            break
        image = grid.steps(f(grid.code(x)[None])[0])
        moves.append(float((image - x).abs().max()))
        if fewest > f.n // 2 and len(moves) == 2 * _WATCHED and min(moves[_WATCHED:]) > _SHRUNK * min(moves[:_WATCHED]):
            raise Repels
        nearest = torch.round(image)
        differs = nearest != x
        count = int(differs.sum())
        if count == 0:
            return GridQuine(grid.code(x), bits, float(0.5 - (image - nearest).abs().max()), phase)
        if count >= fewest:
            half = torch.rand(f.n, generator=generator).to(x.device) < 0.5
            differs = differs & half if bool((differs & half).any()) else differs
        fewest, x = min(fewest, count), torch.where(differs, nearest, x)
    return None


def settle(f: SelfMap, point: Tensor, grid: Grid, generator: torch.Generator) -> Iterator[Tensor]:
    """Asynchronous iteration on the grid: a random half of the coordinates that disagree take their new value.

    Updating all of them at once runs into cycles. The iteration settles where the map contracts or nearly does; then the
    whole steps that it settles at are given.
    """
    x = torch.round(grid.steps(point))
    for _ in range(_FLIPS):
        new = torch.round(grid.steps(f(grid.code(x)[None])[0]))
        differs = new != x
        if not bool(differs.any()):
            yield x
            return
        chosen = differs & (torch.rand(len(x), generator=generator).to(x.device) < 0.5)
        x = torch.where(chosen if bool(chosen.any()) else differs, new, x)
