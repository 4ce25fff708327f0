"""Quines whose printed weights equal the stored ones bit for bit.

The code is rounded to a grid ``2^-k``; then ``F`` is piecewise constant and ``F(theta) = theta`` can hold with
difference exactly 0, at fixed points that repel as well as at ones that attract. Which grid has one near which
fixed point is a matter of chance, about ``1 / |det(I - J)|`` for each pair, so many pairs are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import plural
from ..quines.networks.running import named
from ..quines.quine import Quine
from ..quines.tables.philox import Stream, dyadic_gaussian
from .enumerate import fixed_points
from .lattice import points_in_cube
from .loop import Search, Trace, affordable_starts
from .maps import ReducedMap
from .search import Found, Request
from .solution import Status

LATTICE = "lattice"  # the name of this search in a solution, as its method
LATTICE_LIMIT = 64  # code size up to which the lattice is enumerated; above it the grid is searched locally
ROUNDS = ((8, False), (8, False), (32, False), (64, False), (64, False), (40, True), (40, True), (40, True))
"""Starts of every round, and whether it is thorough (Newton after Broyden): the cheap ones come first."""
ANCHORED = ((1, False),)  # starts for an anchored quine: a contraction has one fixed point
_COARSEST = 6  # fewest bits; a coarser grid leaves the neighborhood of the fixed point, where the linearization holds
_FLIPS = 300  # asynchronous steps on one grid: half of what disagrees moves, so that a contraction settles in tens
_ROBUST = 1e-10  # distance to a rounding boundary, far above any trunk's round-off, at which the search rests
_REGENERATIONS = 60  # most evaluations for an anchored quine: with skip=0.1 the map contracts tenfold each time
_LARGE_BITS = 8  # the grid of a quine that is printed in place and names no grid: its sums stay exact in float32
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
    """The grids worth trying: coarser ones leave the neighborhood of the fixed point, finer ones meet round-off.

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

    The most robust one is the one whose unrounded code stays farthest from a rounding boundary, in units of the code:
    it tolerates the most rounding in the trunk before a bit changes.
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
    """Put the weights into the network and evaluate it, as ``verify`` will: does it print this code?"""
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
    """Regenerate on one grid from the network as it stands; where the map contracts, it takes a few evaluations.

    Once no fewer coordinates change than before, a random half of them takes its new value: all at once would cycle,
    about ``rho^2 d`` of them at spectral radius rho.
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
            half = torch.rand(f.n, generator=generator, dtype=torch.float32).to(x.device) < 0.5
            differs = differs & half if bool((differs & half).any()) else differs
        fewest, x = min(fewest, count), torch.where(differs, nearest, x)
    return None


def settle(f: ReducedMap, point: Tensor, bits: int, generator: torch.Generator) -> Tensor:
    """Asynchronous iteration on the grid: a random half of the coordinates that disagree take their new value.

    Updating all of them at once runs into cycles. The iteration settles where the map contracts or nearly does.
    """
    scale = 2.0**bits
    x = torch.round(point * scale) / scale
    for _ in range(_FLIPS):
        new = torch.round(f(x[None])[0] * scale) / scale
        differs = new != x
        if not bool(differs.any()):
            return x[None]
        chosen = differs & (torch.rand(len(x), generator=generator, dtype=torch.float32).to(x.device) < 0.5)
        x = torch.where(chosen if bool(chosen.any()) else differs, new, x)
    return x[None][:0]


def other_probes(quine: Quine, count: int) -> Iterator[None]:
    """Replace the floating-point inputs of the probe, in place, by ``count`` other draws, one after the other."""
    tensors = list(named(quine.inputs).values())
    start = 0
    for _ in range(count):
        for tensor in tensors:
            if tensor.is_floating_point():
                numbers = dyadic_gaussian(quine.seed, Stream.OTHER_PROBES, start, tensor.numel())
                tensor.copy_(torch.from_numpy(numbers).reshape(tensor.shape))
                start += tensor.numel()
        yield


@dataclass
class _Tally:
    """The attempts of a search for a grid quine, and the limit or interruption that ended it, if any."""

    fixed_points: int = 0
    probes: int = 1
    ended: Status | None = None


def search_exact(quine: Quine, request: Request) -> Found:
    """Look for a quine whose printed weights equal the stored ones bit for bit; see :func:`neuralquine.solve`.

    Every round enumerates more fixed points of the unrounded map and tries every grid around each, the best
    conditioned first. On success the quine has the grid as its ``code_bits``; on failure it holds an unrounded quine,
    if there was one.
    """
    f = ReducedMap(quine)
    f.journal = request.journal
    trace, tally = Trace(f, request.progress), _Tally()
    robust = max(_ROBUST, 100 * torch.finfo(quine.code_dtype).eps)
    found: GridQuine | None = None
    with closing(_candidates(quine, f, request, trace, tally)) as candidates:
        for candidate in candidates:
            if found is None or candidate.reserve > found.reserve:
                found = candidate
            if found.reserve >= robust:
                break
    detail = _detail(found, grids(quine), tally)
    if found is not None:
        quine.code_bits = found.bits
        point, status = found.code, Status.CONVERGED
    else:
        with torch.no_grad():
            point = f.known[0] if len(f.known) else quine.real_code()
        status = Status.ZERO_QUINE if bool(f.collapsed(point[None])) else tally.ended or Status.NOT_EXACT
    result = Search(point[None], torch.zeros(1, dtype=quine.dtype), point[None], [status], trace.steps)
    return Found(f, [(LATTICE, result)], trace, detail, exact=True)


def _candidates(quine: Quine, f: ReducedMap, request: Request, trace: Trace, tally: _Tally) -> Generator[GridQuine]:
    """Yield grid quines, those that are cheap to find first, until a thorough round or a probe has given one."""

    def late() -> bool:
        limit = request.stop.time_limit
        return limit is not None and trace.seconds() >= limit

    generator = torch.Generator().manual_seed(request.seed % 2**63)
    if quine.skip is not None and (quine.code_bits is not None or quine.in_place):
        bits = _LARGE_BITS if quine.code_bits is None else quine.code_bits
        if (found := regenerate(quine, f, bits, generator, late=late)) is not None:
            yield found
            return
    any_found = False
    for tally.probes, _ in enumerate(_each_probe(quine, request.probes), 1):
        f.known = f.known[:0]
        for turn, (width, thorough) in enumerate(ROUNDS if quine.skip is None else ANCHORED):
            before, width = len(f.known), request.starts or width
            ends = fixed_points(quine, f, width, generator, request.stop, trace, own=turn == 0, thorough=thorough)
            for point, jacobian in _best_conditioned_first(f, f.known[before:]):
                tally.fixed_points += 1
                if (found := around(quine, f, point, jacobian, generator)) is not None:
                    any_found = True
                    yield found
                if late():
                    break
            if Status.INTERRUPTED in ends or late():
                tally.ended = Status.INTERRUPTED if Status.INTERRUPTED in ends else Status.TIME_LIMIT
                return
            if any_found and thorough:
                return  # a quine found here may be fragile; only a cheap round is worth the chance of a more robust one
        if any_found:
            return


def _best_conditioned_first(f: ReducedMap, points: Tensor) -> list[tuple[Tensor, np.ndarray]]:
    """Fixed points ``(n, d)`` with their Jacobians, by growing ``|det(I - J)|``: the most grid quines come first."""
    jacobians = [f.jacobian(point[None])[0].detach().double().cpu().numpy() for point in points]
    order = sorted(range(len(points)), key=lambda i: abs(np.linalg.det(np.eye(f.n) - jacobians[i])))
    return [(points[i], jacobians[i]) for i in order]


def _each_probe(quine: Quine, others: int) -> Iterator[None]:
    """The probe as it stands, then ``others`` other draws of it."""
    yield
    yield from other_probes(quine, others)


def _detail(found: GridQuine | None, tried: list[int], tally: _Tally) -> str:
    """The attempts as text, for the message of a failure and for the record of a success."""
    span = f"2^-{tried[0]} to 2^-{tried[-1]}"
    points, probes = plural(tally.fixed_points, "fixed point"), plural(tally.probes, "probe")
    detail = f"{points} on {plural(len(tried), 'grid')} ({span}) with {probes}"
    if found is None:
        return f"tried {detail}"
    if tally.fixed_points == 0:
        detail = "no fixed point, by plain regeneration"
    return f"grid 2^-{found.bits}, margin {found.margin:.3g} of a step, after trying {detail}"
