"""Quines whose printed weights equal the stored ones bit for bit.

The code is rounded to a grid ``o + 2^-k Z^d``; then ``F`` is piecewise constant and ``F(theta) = theta`` can hold with
difference exactly 0, at fixed points that repel as well as at ones that attract. Which grid has one near which fixed
point is a matter of chance, about ``1 / |det(I - J)|`` for each pair. A fixed point costs hundreds of evaluations of the
network, another phase of the grid a closest-vector problem; so few fixed points are found, and many phases are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch

from ..errors import plural
from ..quines.networks.running import named
from ..quines.quine import Quine
from ..quines.tables.phases import grid_name
from ..quines.tables.philox import Stream, dyadic_gaussian
from .enumerate import costly, fixed_points, keep
from .grids import FixedPoint, Grid, GridQuine, check, grids, regenerate, settle, trials
from .loop import Search, Trace, affordable_starts, iterate, starting_points
from .maps import ReducedMap
from .methods import Broyden, Homotopy
from .search import Found, Request
from .solution import Status

LATTICE = "lattice"  # the name of this search in a solution, as its method
LATTICE_LIMIT = 64  # code size up to which the lattice is enumerated; above it the grid is searched locally
ROUNDS = ("race", "race", "race", "all", "race", "race", "all", "thorough", "thorough")
"""How the fixed points of each round are found: the first of 16 starts, all of 32, or all of 40 with Newton's method."""
_WIDTHS = {"race": 16, "all": 32, "thorough": 40}
_LARGE_BITS = 8  # the grid of a quine that is printed in place and names no grid: its sums stay exact in float32
_FLICKERS = 6  # phases on which a contraction regenerates before its fixed point is sought: most settle on the first
_ROBUST = {
    torch.float64: 1e-6,
    torch.float32: 1e-4,
}  # margin in units of the code, a hundred times any trunk's round-off
_PATIENCE = 8.0  # trials at one fixed point, in units of their expected number: all but 3 in 10,000 have succeeded then
_TRIALS = 1 << 13  # trials at one fixed point in the first round; each later round allows twice as many
_HOPELESS = 1e6  # determinant above which a fixed point is left: a million trials take a minute
_BATCH = (4, 256)  # fewest and most trials made at once, about as many as are expected to be needed
_WORK = 1 << 30  # partial lattice vectors after which a search ends: some minutes


@dataclass
class _Tally:
    """The attempts of a search for a grid quine, and the limit or interruption that ended it, if any."""

    points: list[FixedPoint] = field(default_factory=list)
    trials: int = 0
    visited: int = 0
    probes: int = 1
    fixed_points: int = 0
    ended: Status | None = None

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
    f = ReducedMap(quine)
    f.journal = request.journal
    trace, tally = Trace(f, request.progress), _Tally()
    first = quine.code_phase
    robust = min(_ROBUST.get(quine.dtype, 0.0), 0.05 * 2.0 ** -min(grids(quine)))
    found: GridQuine | None = None
    enough = np.inf
    with closing(_candidates(quine, f, request, trace, tally)) as candidates:
        for candidate in candidates:
            if candidate is not None and (found is None or candidate.reserve > found.reserve):
                found = candidate
            if found is None:
                continue
            enough = min(enough, 2 * tally.trials + 64)  # a more robust one is worth as much again, and no more
            if found.reserve >= robust or tally.trials >= enough:
                break
    detail = _detail(found, grids(quine), tally)
    if found is not None:
        quine.code_bits, quine.code_phase = found.bits, found.phase
        point, status = found.code, Status.CONVERGED
    else:
        quine.code_phase = first
        with torch.no_grad():
            point = f.known[0] if len(f.known) else quine.real_code()
        status = Status.ZERO_QUINE if bool(f.collapsed(point[None])) else tally.ended or Status.NOT_EXACT
    result = Search(point[None], torch.zeros(1, dtype=quine.dtype), point[None], [status], trace.steps)
    return Found(f, [(LATTICE, result)], trace, detail, exact=True)


def _candidates(
    quine: Quine, f: ReducedMap, request: Request, trace: Trace, tally: _Tally
) -> Generator[GridQuine | None]:
    """Yield after every batch of trials the best quine that it found, or None."""

    def late() -> bool:
        limit = request.stop.time_limit
        return limit is not None and trace.seconds() >= limit

    generator = torch.Generator().manual_seed(request.seed % 2**63)
    if quine.skip is not None and (quine.code_bits is not None or quine.in_place):
        bits = _LARGE_BITS if quine.code_bits is None else quine.code_bits
        for phase in range(quine.code_phase, quine.code_phase + _FLICKERS):
            if (found := regenerate(quine, f, bits, generator, phase=phase, late=late)) is not None:
                yield found
                return
            if late():
                break
    smooth = _smooth(quine, f, request)
    for tally.probes, _ in enumerate(_each_probe(quine, request.probes), 1):
        tally.points, smooth.known, f.known = [], f.known[:0], f.known[:0]
        for turn, kind in enumerate(ROUNDS):
            before = len(smooth.known)
            ends = _more_fixed_points(smooth, kind, generator, request, trace, own=turn == 0)
            for point in smooth.known[before:]:
                tally.fixed_points += 1
                tally.points.append(FixedPoint.at(smooth, point))
            f.known = smooth.known
            tally.points.sort(key=lambda p: p.determinant)
            for point in tally.points:
                yield from _tried(quine, f, point, _TRIALS << turn, tally, generator, late)
            if Status.INTERRUPTED in ends or late():
                tally.ended = Status.INTERRUPTED if Status.INTERRUPTED in ends else Status.TIME_LIMIT
                return
            if tally.visited > _WORK:
                return


def _tried(
    quine: Quine,
    f: ReducedMap,
    point: FixedPoint,
    most: int,
    tally: _Tally,
    generator: torch.Generator,
    late: Callable[[], bool],
) -> Iterator[GridQuine | None]:
    """The trials at one fixed point, up to ``most`` of them and no more than are promising."""
    tried = grids(quine)
    if not point.determinant < _HOPELESS:
        return
    most = min(most, int(_PATIENCE * point.determinant) + 64)
    size = int(np.clip(point.determinant, *_BATCH))
    while point.trials < most and not late() and tally.visited <= _WORK:
        batch, turn = point.trials // size, len(tried)
        bits, phase = tried[batch % turn], quine.code_phase + batch // turn * size
        if f.n <= LATTICE_LIMIT:
            found, visited = trials(quine, f, point, bits, phase, size)
        else:
            found, visited = _settled(quine, f, point, Grid.of(quine, bits, phase), generator), 0
        point.trials += size
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


def _more_fixed_points(
    f: ReducedMap, kind: str, generator: torch.Generator, request: Request, trace: Trace, *, own: bool
) -> list[Status]:
    """Add fixed points to ``f.known``; returns how the starts ended."""
    width = request.starts or _WIDTHS[kind]
    if kind != "race":
        thorough = kind == "thorough"
        return fixed_points(f.quine, f, width, generator, request.stop, trace, own=own, thorough=thorough)
    points = starting_points(f, affordable_starts(f.quine, width), generator, own=own)
    found = iterate(f, Homotopy() if costly(f.quine) else Broyden(), points, request.stop, trace)
    keep(f, found.best, found.status)
    return found.status


def _smooth(quine: Quine, f: ReducedMap, request: Request) -> ReducedMap:
    """The map whose fixed points are sought: of the same network in float32, where the weights are narrower.

    A map in bfloat16 is a staircase itself; its trials are made around the fixed points of the smooth one.
    """
    if quine.dtype == quine.code_dtype or quine.in_place:
        return f
    kept = {k: v for k, v in quine.settings().items() if k not in ("means", "gains", "code_phase", "code_bits")}
    twin = type(quine)(
        quine.trunk,
        quine.inputs,
        scales=(quine.means, quine.gains),
        dtype=quine.code_dtype,
        select=quine.select,
        print_frozen=quine.print_frozen,
        **kept,
    )
    smooth = ReducedMap(twin)
    smooth.journal = request.journal
    return smooth


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
        return f"tried {detail}"
    if tally.fixed_points == 0:
        detail = "no fixed point, by plain regeneration"
    grid = grid_name(found.bits, found.phase)
    return f"grid {grid}, margin {found.margin:.3g} of a step, after trying {detail}"
