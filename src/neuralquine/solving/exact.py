"""Quines whose printed weights equal the stored ones bit for bit.

The code is rounded to a grid ``2^-k``; then ``F`` is piecewise constant and ``F(theta) = theta`` can hold with
difference exactly 0, at fixed points that repel as well as at ones that attract. Which grid has one near which
fixed point is a matter of chance, about ``1 / |det(I - J)|`` for each pair, so many pairs are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import NotSolved, plural
from ..files.journal import Journal
from ..quines.quine import Quine
from ..quines.tables.philox import dyadic_gaussian
from .judge import judge
from .lattice import points_in_cube
from .loop import Progress, Search, Stop, Trace, affordable_starts
from .maps import ReducedMap
from .solution import Solution, Status
from .zoo import fixed_points

LATTICE_LIMIT = 64  # code size up to which the lattice is enumerated; above it the grid is searched locally
ROUNDS = ((8, False), (8, False), (32, False), (64, False), (64, False), (40, True), (40, True), (40, True))
ANCHORED = ((1, False),)  # a contraction has one fixed point
_COARSEST = 6
_PROBE_STREAM = 4
_FLIPS = 300
_ROBUST = 1e-10  # distance to a rounding boundary, far above any trunk's round-off, at which the search rests
_REGENERATIONS = 60
_LARGE_BITS = 8
_CANDIDATES = 200  # lattice points checked for each grid


@dataclass(frozen=True)
class GridQuine:
    """A code on a grid that the network prints again.

    Attributes:
        code: ``(d,)`` multiples of ``2^-bits``.
        bits: k.
        margin: distance of the unrounded code to the nearest rounding boundary, in grid steps, at most 1/2.
    """

    code: Tensor
    bits: int
    margin: float

    @property
    def reserve(self) -> float:
        """The margin in units of the code."""
        return self.margin * 2.0**-self.bits


def grids(quine: Quine) -> list[int]:
    """The grids worth trying: coarser ones leave the neighbourhood of the fixed point, finer ones meet round-off.

    The sums of the printer stay exact as long as ``8 d 2^(k + 2)`` fits the mantissa, and the trunk's own rounding
    must stay well below a grid step.
    """
    if quine.code_bits is not None:
        return [quine.code_bits]
    mantissa = {torch.float64: 53, torch.float32: 24}[quine.code_dtype]
    finest = mantissa - 5 - (8 * quine.code_size - 1).bit_length()
    return list(range(min(_COARSEST, max(finest, 1)), max(finest, 1) + 1))


@torch.no_grad()
def around(
    quine: Quine, f: ReducedMap, point: Tensor, jacobian: np.ndarray, generator: torch.Generator
) -> GridQuine | None:
    """The most robust quine on any grid near a fixed point ``(d,)`` of the unrounded map, or None.

    Robust: of all that are found, the one whose unrounded code stays farthest from a rounding boundary, in units of
    the code, so that the most rounding in the trunk changes no bit.
    """
    basis = np.eye(len(point)) - jacobian
    center = point.double().cpu().numpy()
    best: GridQuine | None = None
    for bits in grids(quine):
        if best is not None and best.reserve >= 0.5 * 2.0**-bits:
            break  # no finer grid can stay farther from a boundary
        if quine.code_size <= LATTICE_LIMIT:
            near = points_in_cube(basis, basis @ (center * 2.0**bits))
            candidates = torch.from_numpy(near[:_CANDIDATES]).to(point) / 2.0**bits
        else:
            candidates = settle(f, point, bits, generator)
        for code in promising(quine, f, candidates, bits):
            found = check(quine, f, code, bits)
            if found is not None and (best is None or found.reserve > best.reserve):
                best = found
    return best


def promising(quine: Quine, f: ReducedMap, codes: Tensor, bits: int) -> Iterator[Tensor]:
    """The codes ``(n, d)`` that the map rounds to themselves, many evaluated at once."""
    scale = 2.0**bits
    for rows in codes.split(affordable_starts(quine, _CANDIDATES)) if len(codes) else ():
        kept = (torch.round(f(rows) * scale) == rows * scale).all(1)
        yield from rows[kept]


def check(quine: Quine, f: ReducedMap, code: Tensor, bits: int) -> GridQuine | None:
    """Put the weights into the network and evaluate it, as ``verify`` will: does it print this very code?"""
    scale = 2.0**bits
    with torch.no_grad():
        quine.install(code)
        image = quine.real_code() * scale
    f.evaluations += 1
    nearest = torch.round(image)
    if not bool((nearest == code * scale).all()):
        return None
    return GridQuine(code, bits, float(0.5 - (image - nearest).abs().max()))


def regenerate(
    quine: Quine,
    f: ReducedMap,
    bits: int,
    generator: torch.Generator,
    *,
    late: Callable[[], bool] = lambda: False,
) -> GridQuine | None:
    """Plain regeneration on one grid, from the network as it stands: where the map contracts, a few evaluations.

    Once no fewer coordinates move than before, a random half of them takes its new value: all at once would go on
    flickering, about ``rho^2 d`` of them at spectral radius rho.
    """
    scale = 2.0**bits
    with torch.no_grad():
        x = torch.round(quine.real_code() * scale)
    f.evaluations += 1
    fewest = f.n + 1
    for _ in range(_REGENERATIONS):
        if late():
            break
        image = f((x / scale)[None])[0] * scale
        nearest = torch.round(image)
        differs = nearest != x
        count = int(differs.sum())
        if count == 0:
            return GridQuine(x / scale, bits, float(0.5 - (image - nearest).abs().max()))
        if count >= fewest:
            half = torch.rand(f.n, generator=generator).to(x.device) < 0.5
            differs = differs & half if bool((differs & half).any()) else differs
        fewest, x = min(fewest, count), torch.where(differs, nearest, x)
    return None


def settle(f: ReducedMap, point: Tensor, bits: int, generator: torch.Generator) -> Tensor:
    """Asynchronous iteration on the grid: a random half of the coordinates that disagree take their new value.

    Flipping all of them at once runs into cycles. It settles where the map contracts or nearly so.
    """
    scale = 2.0**bits
    x = torch.round(point * scale) / scale
    for _ in range(_FLIPS):
        new = torch.round(f(x[None])[0] * scale) / scale
        differs = new != x
        if not bool(differs.any()):
            return x[None]
        chosen = differs & (torch.rand(len(x), generator=generator).to(x.device) < 0.5)
        x = torch.where(chosen if bool(chosen.any()) else differs, new, x)
    return x[None][:0]


def other_probes(quine: Quine, count: int) -> Iterator[None]:
    """Replace the floating-point inputs of the probe, in place, by ``count`` other draws, one after the other."""
    tensors = list(quine.inputs.values()) if isinstance(quine.inputs, Mapping) else list(quine.inputs)
    start = 0
    for _ in range(count):
        for tensor in tensors:
            if tensor.is_floating_point():
                numbers = dyadic_gaussian(quine.seed, _PROBE_STREAM, start, tensor.numel())
                tensor.copy_(torch.from_numpy(numbers).reshape(tensor.shape))
                start += tensor.numel()
        yield


def solve_exact(
    quine: Quine,
    *,
    seed: int | None = None,
    starts: int | None = None,
    stop: Stop | None = None,
    probes: int = 0,
    journal: Journal | None = None,
    throw: bool = True,
    progress: Progress | None = None,
) -> Solution:
    """Find a quine whose printed weights equal the stored ones bit for bit; see :func:`neuralquine.solve`.

    Every round enumerates more fixed points of the unrounded map and tries every grid around each, the best
    conditioned first. On success the quine has the grid as its ``code_bits``; on failure it holds an unrounded quine, if there
    was one.
    """
    stop = stop or Stop()
    seed = quine.seed if seed is None else seed
    f = ReducedMap(quine)
    f.journal = journal
    generator = torch.Generator().manual_seed(seed % 2**63)
    trace = Trace(f, progress)
    tried, probe, ended, found = 0, 0, None, None
    robust = max(_ROBUST, 100 * torch.finfo(quine.code_dtype).eps)
    if quine.skip is not None and (quine.code_bits is not None or quine.in_place):
        bits = _LARGE_BITS if quine.code_bits is None else quine.code_bits
        found = regenerate(quine, f, bits, generator, late=lambda: _late(stop, trace))
    draws = other_probes(quine, probes)
    for probe in range(1 + probes if found is None else 0):
        if probe:
            next(draws)
            f.known = f.known[:0]
        for turn, (width, thorough) in enumerate(ROUNDS if quine.skip is None else ANCHORED):
            before = len(f.known)
            ends = fixed_points(quine, f, starts or width, generator, stop, trace, own=turn == 0, thorough=thorough)
            fresh = f.known[before:]
            jacobians = [f.jacobian(point[None])[0].detach().double().cpu().numpy() for point in fresh]
            order = sorted(range(len(fresh)), key=lambda i: abs(np.linalg.det(np.eye(f.n) - jacobians[i])))
            for index in order:
                tried += 1
                candidate = around(quine, f, fresh[index], jacobians[index], generator)
                if candidate is not None and (found is None or candidate.reserve > found.reserve):
                    found = candidate
                if (found is not None and found.reserve >= robust) or _late(stop, trace):
                    break
            ended = (
                Status.INTERRUPTED if Status.INTERRUPTED in ends else Status.TIME_LIMIT if _late(stop, trace) else None
            )
            if ended is not None or (found is not None and (found.reserve >= robust or thorough)):
                break  # a fragile one is bettered by what is cheap only
        if found is not None or ended is not None:
            break
    tried_grids = grids(quine)
    span = f"2^-{tried_grids[0]} to 2^-{tried_grids[-1]}"
    detail = f"{plural(tried, 'fixed point')} on {plural(len(tried_grids), 'grid')} ({span}) with {plural(1 + probe, 'probe')}"
    if found is not None and tried == 0:
        detail = "no fixed point, by plain regeneration"
    if found is not None:
        quine.code_bits = found.bits
        point, status = found.code, Status.CONVERGED
        detail = f"grid 2^-{found.bits}, margin {found.margin:.3g} of a step, after trying {detail}"
    else:
        with torch.no_grad():
            own = f.known[0] if len(f.known) else quine.real_code()
        point, status = own, Status.NOT_EXACT
        detail = f"tried {detail}"
    search = Search(point[None], torch.zeros(1, dtype=quine.dtype), point[None], [status], trace.steps)
    solution = judge(quine, f, [("lattice", search)], stop, trace, seed, detail=detail)
    if found is None:
        if bool(f.collapsed(point[None])):
            ended = Status.ZERO_QUINE
        solution = replace(solution, status=ended or Status.NOT_EXACT)
    if solution.converged and not solution.bit_exact:
        raise AssertionError("a grid quine must print its own bits")  # the check above evaluated these very weights
    quine.solution = solution
    if throw and not solution.converged:
        raise NotSolved(solution.failure, solution)
    return solution


def _late(stop: Stop, trace: Trace) -> bool:
    return stop.time_limit is not None and trace.seconds() >= stop.time_limit
