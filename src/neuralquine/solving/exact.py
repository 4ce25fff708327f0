"""Quines whose printed weights equal the stored ones bit for bit.

The code is rounded to a grid ``o + 2^-k Z^d``; then ``F`` is piecewise constant and ``F(theta) = theta`` can hold with
difference exactly 0, at fixed points that repel as well as at ones that attract. Which grid has one near which fixed
point is a matter of chance, about ``1 / |det(I - J)|`` for each pair. A fixed point costs hundreds of evaluations of the
network, another phase of the grid a closest-vector problem; so few fixed points are found, and many phases are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..errors import plural
from ..quines.networks.running import named
from ..quines.quine import Quine
from ..quines.tables.phases import LARGEST_PHASE, grid_name
from ..quines.tables.philox import Stream, dyadic_gaussian
from ..quines.together import together
from .grids import FixedPoint, Grid, GridQuine, Repels, check, grids, regenerate, settle, trials
from .harvest import ROUNDS, Harvest
from .loop import Search, Trace
from .maps import OutOfTime, ReducedMap
from .prospect import HOPELESS
from .search import Found, Request, can_be_anchored
from .solution import Status

LATTICE = "lattice"  # the name of this search in a solution, as its method
LATTICE_LIMIT = 64  # code size up to which the lattice is enumerated; above it the grid is searched locally
ANCHOR = "; with skip=0.1 the network is anchored, and regeneration on a grid ends at a bit-exact quine"
"""What to do where an exact search of a free quine ends without result: an anchored one is a contraction."""
_LARGE_BITS = 8  # the grid of a quine that is printed in place and names no grid: its sums stay exact in float32
_FLICKERS = 6  # phases on which a contraction regenerates before its fixed point is sought: most settle on the first
_ROBUST = {
    torch.float64: 3e-5,
    torch.float32: 1e-4,
}  # margin in units of the code: a hundred times any trunk's round-off, and above the 1e-5 that proofs of a gru need
_PATIENCE = 8.0  # trials at one fixed point, in units of their expected number: all but 3 in 10,000 have succeeded then
_SAMPLE = 3  # fixed points that show how large the determinants of a network are
_FAR = 1e5  # times that: the best of so many fixed points is so far off that another one would not be better
_SEEKING = 1 << 33  # partial lattice vectors that the search for a useful fixed point may cost: some ten minutes
_BATCH = (4, 4096)  # fewest and most trials made at once, about as many as are expected to be needed
_WORK = 1 << 30  # partial lattice vectors after which a search ends: some minutes
_BETTER = 1.5  # how much dearer a success at the best of k fixed points must be than k + 1 others, to seek another one


@dataclass
class _Tally:
    """The attempts of a search for a grid quine, the limit or interruption that ended it, if any, and the best point until then."""

    points: list[FixedPoint] = field(default_factory=list)
    trials: int = 0
    visited: int = 0
    probes: int = 1
    fixed_points: int = 0
    found: bool = False
    ended: Status | None = None
    best: Tensor | None = None

    @property
    def expected(self) -> float:
        """Trials until the first success, on average, at the best conditioned fixed point."""
        return min((p.determinant for p in self.points), default=np.inf)


def search_exact(quine: Quine, request: Request) -> Found:
    """Look for a quine whose printed weights equal the stored ones bit for bit; see :func:`neuralquine.solve`.

    Every round finds another fixed point of the unrounded map, or several, and tries many phases of several grids around
    each, the best conditioned first. On success the quine has the grid as its ``code_bits`` and ``code_phase``; on failure
    it holds an unrounded quine, if there was one.
    """
    f = ReducedMap(quine, together(quine))
    f.journal = request.journal
    trace, tally = Trace(f, request.progress), _Tally()
    f.late = request.stop.clock(trace)
    first = quine.code_phase
    robust = min(_ROBUST.get(quine.dtype, 0.0), 0.05 * 2.0 ** -min(grids(quine)))
    found: GridQuine | None = None
    enough = np.inf
    try:
        with closing(_candidates(quine, f, request, trace, tally)) as candidates:
            for candidate in candidates:
                if candidate is not None and (found is None or candidate.reserve > found.reserve):
                    found = candidate
                if found is None:
                    continue
                enough = min(enough, 2 * tally.trials + 64)  # a more robust one is worth as much again, and no more
                if found.reserve >= robust or tally.trials >= enough:
                    break
    except KeyboardInterrupt as ended:
        if not isinstance(ended, OutOfTime):
            tally.ended = Status.INTERRUPTED
    if found is None and f.late is not None and f.late():
        tally.ended = tally.ended or Status.TIME_LIMIT
    detail = _detail(found, grids(quine), tally)
    if found is None and can_be_anchored(quine):
        detail += ANCHOR
    if found is not None:
        quine.code_bits, quine.code_phase = found.bits, found.phase
        point, status = found.code, Status.CONVERGED
    else:
        quine.code_phase = first
        with torch.no_grad():
            best = quine.real_code() if tally.best is None else tally.best
            point = f.known[0] if len(f.known) else best
        status = Status.ZERO_QUINE if bool(f.collapsed(point[None])) else tally.ended or Status.NOT_EXACT
    result = Search(point[None], torch.zeros(1, dtype=quine.dtype), point[None], [status], trace.steps)
    return Found(f, [(LATTICE, result)], trace, detail, exact=True)


def _candidates(
    quine: Quine, f: ReducedMap, request: Request, trace: Trace, tally: _Tally
) -> Generator[GridQuine | None]:
    """Yield after every batch of trials the best quine that it found, or None."""

    late = f.late or (lambda: False)
    generator = torch.Generator().manual_seed(request.seed % 2**63)
    if quine.skip is not None and (quine.code_bits is not None or quine.in_place):
        bits = _LARGE_BITS if quine.code_bits is None else quine.code_bits
        with suppress(Repels):
            for phase in range(quine.code_phase, min(quine.code_phase + _FLICKERS, LARGEST_PHASE + 1)):
                if (found := regenerate(quine, f, bits, generator, phase=phase, late=late)) is not None:
                    yield found
                    return
                if late():
                    break
    for tally.probes, _ in enumerate(_each_probe(quine, request.probes), 1):
        harvest = Harvest(f, request, trace, generator)
        tally.points, smooth, f.known = [], harvest.smooth, f.known[:0]
        for turn in range(len(ROUNDS)):
            before = len(smooth.known)
            ends = harvest.more(turn)
            tally.best, f.known = harvest.best, smooth.known
            if Status.INTERRUPTED in ends:
                tally.ended = Status.INTERRUPTED
                return
            for point in smooth.known[before:]:
                tally.fixed_points += 1
                tally.points.append(FixedPoint.at(smooth, point))
            tally.points.sort(key=lambda p: p.determinant)
            if tally.points:
                trace.tried(tally.trials, tally.expected)
            worth = np.inf if turn == len(ROUNDS) - 1 else _BETTER * (len(tally.points) + 1) * harvest.price
            for point in tally.points:
                for found in _tried(quine, f, point, worth, tally, generator, late):
                    trace.tried(tally.trials, tally.expected)
                    tally.found |= found is not None
                    yield found
            if tally.found:  # a more robust one is worth more trials, but no other fixed point
                return
            if late():
                tally.ended = Status.TIME_LIMIT
                return
            if tally.visited > _WORK:
                return
            if _hopeless(tally, harvest):
                break


def _hopeless(tally: _Tally, harvest: Harvest) -> bool:
    """Whether the fixed points found so far, and what they cost, say that there will be no trials worth making."""
    if len(tally.points) >= _SAMPLE and tally.expected > _FAR * HOPELESS:
        return True
    return not tally.expected < HOPELESS and harvest.work > _SEEKING


def _tried(
    quine: Quine,
    f: ReducedMap,
    point: FixedPoint,
    worth: float,
    tally: _Tally,
    generator: torch.Generator,
    late: Callable[[], bool],
) -> Iterator[GridQuine | None]:
    """The trials at one fixed point, as long as a success is expected for no more than ``worth`` partial vectors.

    Of k fixed points the best is beaten by another one with a chance of 1 / (k + 1). So it pays to seek it only where
    a success at the best costs more than k + 1 of them. The past does not count: the chance of a trial is always the same.
    """
    tried = grids(quine)
    if not point.determinant < HOPELESS:
        return
    most = int(_PATIENCE * point.determinant) + 64
    size = int(np.clip(point.determinant, *_BATCH))
    while point.trials < most and point.price <= worth and not late() and tally.visited <= _WORK:
        batch, turn = point.trials // size, len(tried)
        bits, phase = tried[batch % turn], quine.code_phase + batch // turn * size
        if phase + size > LARGEST_PHASE:
            return
        if f.n <= LATTICE_LIMIT:
            found, visited = trials(quine, f, point, bits, phase, size)
        else:
            found, visited = _settled(quine, f, point, Grid.of(quine, bits, phase), generator), 0
        point.trials += size
        point.visited += visited
        tally.trials += size
        tally.visited += visited
        yield found


def _settled(
    quine: Quine, f: ReducedMap, point: FixedPoint, grid: Grid, generator: torch.Generator
) -> GridQuine | None:
    """The quine at which asynchronous iteration on one grid settles."""
    center = torch.from_numpy(point.center).to(f.known)
    for steps in settle(f, center, grid, generator):
        return check(quine, f, grid, steps)
    return None


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


def _each_probe(quine: Quine, others: int) -> Iterator[None]:
    """The probe as it stands, then ``others`` other draws of it."""
    yield
    yield from other_probes(quine, others)


def _detail(found: GridQuine | None, tried: list[int], tally: _Tally) -> str:
    """The attempts as text, for the message of a failure and for the record of a success."""
    span = f"2^-{tried[0]} to 2^-{tried[-1]}"
    points, probes = plural(tally.fixed_points, "fixed point"), plural(tally.probes, "probe")
    detail = f"{points} on {plural(len(tried), 'grid')} ({span}) with {probes}, {plural(tally.trials, 'trial')}"
    detail += f" where {tally.expected:.3g} are expected" if np.isfinite(tally.expected) else ""
    if found is None:
        too_many = np.isfinite(tally.expected) and tally.expected > HOPELESS
        detail += f", more than the {HOPELESS:.0g} that are made at a fixed point" if too_many else ""
        return f"tried {detail}"
    way = f"after trying {detail}" if tally.fixed_points else "by plain regeneration"
    return f"grid {grid_name(found.bits, found.phase)}, margin {found.margin:.3g} of a step, {way}"
