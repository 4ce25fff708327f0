"""``solve``: find weights that print themselves, by one method or by the ladder of them."""

from __future__ import annotations

import torch

from ..errors import NotSolved, UnknownName
from ..files.journal import Journal
from ..quines.queried import QueryQuine
from ..quines.quine import Quine
from ..quines.threads import frugal
from .exact import solve_exact
from .judge import judge
from .loop import Progress, Search, Stop, Trace, affordable_starts, iterate, starting_points
from .maps import FullMap, ReducedMap, refuse_constructed
from .methods import Anderson, Broyden, Method, Newton, make_method
from .queried_search import solve_queried
from .solution import Solution, Status

LADDER: tuple[tuple[Method, int], ...] = (
    (Broyden(), 32),
    (Broyden(step_limit=0.3), 32),
    (Newton(), 8),
    (Broyden(), 64),
    (Newton(), 16),
    (Broyden(step_limit=0.15), 64),
    (Newton(), 32),
)
"""What ``method=None`` tries, in order, with the number of starts of each rung; for an anchored quine after ``ATTRACTED``.

Broyden with many capped starts needs no derivatives and finds a quine of the blog's network on the first rung;
its first start is the network as it stands, so an attracting quine is found in a handful of evaluations. Newton
with line search takes over where the capped steps wander.
"""
ATTRACTED: tuple[Method, int] = (Anderson(), 1)


@frugal
def solve(
    quine: Quine,
    method: str | Method | None = None,
    *,
    seed: int | None = None,
    starts: int | None = None,
    stop: Stop | None = None,
    exact: bool = False,
    probes: int = 0,
    journal: Journal | None = None,
    throw: bool = True,
    progress: Progress | None = None,
) -> Solution:
    """Find weights that print themselves, ``F(theta) = theta``, and store them in the quine.

    Args:
        quine: its present weights are the first start; on return it holds the best iterate.
        method: a name from ``neuralquine methods``, a method object, or None for the documented ladder.
        seed: of the other starts; by default the quine's own.
        starts: how many starts are tried side by side; by default the method's.
        stop: limits and tolerance.
        exact: find a quine whose printed weights equal the stored ones bit for bit, by rounding the code to a grid
            (the quine's ``code_bits``, or the best of all grids). Implied by ``code_bits``.
        probes: with ``exact``, how many other probes may be tried when the given one has no exact quine.
        journal: where a search is written down, to be resumed after a crash.
        throw: raise when no quine was found; otherwise look at ``status``.
        progress: called with a :class:`~neuralquine.solving.solution.TracePoint` now and then.

    Returns:
        The figures of the weights now stored, evaluated afresh.

    Raises:
        NothingToSolve: the network prints itself whatever its code is; train it instead.
        NotSolved: no non-trivial quine was found (unless ``throw=False``); it carries the solution.
        UnknownName: no such method.
        TooLarge: the method would need a matrix of more than 2 GiB.
    """
    refuse_constructed(quine)
    if isinstance(quine, QueryQuine):
        if exact:
            raise UnknownName("a queried quine has no grid to be exact on: leave out exact")
        solution = solve_queried(
            quine,
            make_method(method) if isinstance(method, str) else method,
            seed=quine.seed if seed is None else seed,
            starts=starts,
            stop=stop or Stop(),
            journal=journal,
            progress=progress,
        )
        return _kept(quine, solution, throw)
    if exact or quine.code_bits is not None:
        if method is not None:
            raise UnknownName("an exact quine is found by its own search: leave out the method")
        return solve_exact(
            quine,
            seed=seed,
            starts=starts,
            stop=stop,
            probes=probes,
            journal=journal,
            throw=throw,
            progress=progress,
        )
    stop = stop or Stop()
    seed = quine.seed if seed is None else seed
    chosen = make_method(method) if isinstance(method, str) else method
    rungs = ((chosen, chosen.starts),) if chosen else (LADDER if quine.skip is None else (ATTRACTED, *LADDER))
    full = chosen is not None and chosen.space == "full"
    f: FullMap | ReducedMap = FullMap(quine) if full else ReducedMap(quine)
    if isinstance(f, FullMap):
        f.codes = journal
    else:
        f.journal = journal
    generator = torch.Generator().manual_seed(seed % 2**63)
    trace = Trace(f, progress)
    results: list[tuple[str, Search]] = []
    for rung, (tool, width) in enumerate(rungs):
        width = affordable_starts(quine, starts or (1 if full else width))
        points = starting_points(quine, f, width, generator, own=rung == 0)
        search = iterate(f, tool, points, stop, trace)
        results.append((type(tool).__name__.lower(), search))
        if {Status.CONVERGED, Status.INTERRUPTED, Status.TIME_LIMIT} & set(search.status):
            break
        if stop.max_evaluations is not None and f.evaluations >= stop.max_evaluations:
            break
    return _kept(quine, judge(quine, f, results, stop, trace, seed), throw)


def _kept(quine: Quine, solution: Solution, throw: bool) -> Solution:
    quine.solution = solution
    if throw and not solution.converged:
        raise NotSolved(solution.failure, solution)
    return solution
