"""The ladder of methods that a search climbs where none is named; or the one that is."""

from __future__ import annotations

import torch

from ..quines.quine import Quine
from .enumerate import costly
from .loop import Search, Trace, affordable_starts, iterate, starting_points
from .maps import FullMap, ReducedMap
from .methods import Anderson, Broyden, Homotopy, Method, Newton, name_of
from .search import Found, Request, map_of
from .solution import Status

LADDER: tuple[tuple[Method, int], ...] = (
    (Broyden(), 32),
    (Broyden(step_limit=0.3), 32),
    (Newton(), 8),
    (Broyden(), 64),
    (Newton(), 16),
    (Broyden(step_limit=0.15), 64),
    (Newton(), 32),
)
"""The ladder: the methods that ``method=None`` tries in order, each with its number of starts. For an anchored quine
``ATTRACTED`` comes first.

Broyden with many capped starts needs no derivatives and finds a quine of the blog's network on the first rung;
its first start is the network as it stands, so an attracting quine is found in a handful of evaluations. Newton
with line search takes over where the capped steps wander.
"""
ATTRACTED: tuple[Method, int] = (Anderson(), 1)
COSTLY: tuple[Method, int] = (Homotopy(), Homotopy.starts)
"""The first rung for a free network of more than 100,000 weights, whose evaluations are dear."""

_LAST_RUNG = {Status.CONVERGED, Status.INTERRUPTED, Status.TIME_LIMIT}  # no further rung is tried after these


def climb(quine: Quine, request: Request, first: tuple[tuple[Method, int], ...] = ()) -> Found:
    """Run one method, or the ladder rung by rung until a method converges or a limit is reached.

    Args:
        quine: the network.
        request: the search that was asked for.
        first: rungs below the first, for a kind of quine that is solved sooner by them.
    """
    chosen, stop = request.method, request.stop
    first = first if quine.skip is None else (ATTRACTED,)
    rungs = ((chosen, chosen.starts),) if chosen else (*first, *((COSTLY,) if costly(quine) else ()), *LADDER)
    f: FullMap | ReducedMap
    if full := chosen is not None and chosen.space == "full":
        f = FullMap(quine)
        f.codes = request.journal
    else:
        f = map_of(quine)
        f.journal = request.journal
    generator = torch.Generator().manual_seed(request.seed % 2**63)
    trace = Trace(f, request.progress)
    f.late = stop.clock(trace)
    results: list[tuple[str, Search]] = []
    for rung, (tool, width) in enumerate(rungs):
        width = affordable_starts(quine, request.starts or (1 if full else width))
        points = starting_points(f, width, generator, own=rung == 0)
        found = iterate(f, tool, points, stop, trace)
        results.append((name_of(tool), found))
        if _LAST_RUNG & set(found.status):
            break
        if stop.max_evaluations is not None and f.evaluations >= stop.max_evaluations:
            break
    return Found(f, results, trace)
