"""``solve``: find weights that print themselves, by one method or by the ladder of them."""

from __future__ import annotations

from dataclasses import replace

from ..errors import BadOption
from ..files.journal import Journal
from ..quines.interrupts import interrupts_held
from ..quines.numbers import whole
from ..quines.quine import Quine
from ..quines.threads import one_thread_if_small
from . import itself_search as itself_search  # registers the search of modules that print themselves
from . import queried_search as queried_search  # registers the search of queried quines
from .bar import shown
from .exact import search_exact
from .judge import finish
from .ladder import climb
from .loop import Progress, Stop
from .maps import refuse_constructed
from .methods import Method, make_method
from .search import Found, Request, can_be_anchored, search, step_limit
from .solution import Solution, Status


@one_thread_if_small
def solve(
    quine: Quine,
    method: str | Method | None = None,
    *,
    seed: int | None = None,
    starts: int | None = None,
    stop: Stop | None = None,
    max_steps: int | None = None,
    time_limit: float | None = None,
    exact: bool = False,
    probes: int = 0,
    journal: Journal | None = None,
    throw: bool = True,
    progress: Progress | bool | None = None,
) -> Solution:
    """Find weights that print themselves, ``F(theta) = theta``, and store them in the quine.

    Args:
        quine: its present weights are the first start; on return it holds the best iterate.
        method: a name from ``neuralquine methods``, a method object, or None for the documented ladder.
        seed: seed of the other starts; by default the quine's own.
        starts: how many starts are tried side by side; by default the method's.
        stop: the limits and the tolerance.
        max_steps: steps of the loop, in the place of ``stop.max_steps``.
        time_limit: seconds, in the place of ``stop.time_limit``.
        exact: find a quine whose printed weights equal the stored ones bit for bit, by rounding the code to a grid
            (the quine's ``code_bits``, or the best of all grids). Implied by ``code_bits``.
        probes: with ``exact``, how many other probes may be tried when the given one has no exact quine.
        journal: the file that records the search, so that it can be resumed after a crash.
        throw: raise where no quine was found; with False, ``status`` says so.
        progress: called with a :class:`~neuralquine.solving.solution.TracePoint` now and then. By default a line on
            stderr shows a search that lasts, where stderr is a terminal; True asks for it anywhere, False for none.

    Returns:
        The figures of the weights now stored, evaluated afresh.

    Raises:
        NothingToSolve: the network prints itself whatever its code is; train it instead.
        NotSolved: no non-trivial quine was found (unless ``throw=False``); it carries the solution.
        UnknownName: there is no such method.
        BadOption: a number is out of range, or two options exclude each other.
        TooLarge: the method would need a matrix of more than 2 GiB.
    """
    refuse_constructed(quine)
    seed, starts = (None if v is None else whole(n, v) for n, v in (("seed", seed), ("starts", starts)))
    probes = whole("probes", probes)
    if starts is not None and starts < 1:
        raise BadOption(f"starts must be at least 1, not {starts}")
    if probes < 0:
        raise BadOption(f"probes must be at least 0, not {probes}")
    limits = {"max_steps": max_steps, "time_limit": time_limit}
    stop = replace(stop or Stop(), **{name: value for name, value in limits.items() if value is not None})
    if stop.rtol is not None and stop.rtol >= 1:
        raise BadOption(f"rtol must be below 1, which a network has that prints zeros, not {stop.rtol:g}")
    tool = make_method(method) if isinstance(method, str) else method
    getattr(tool, "prepare", lambda: None)()  # what it imports, before a clock runs
    limit = step_limit(quine, None if exact else tool, stop)
    # An interrupt of the search gives its best iterate; one that comes when the search has ended changes nothing.
    with interrupts_held(forget=True), shown(progress, steps=limit) as follow:
        request = Request(
            method=tool,
            seed=quine.seed if seed is None else seed,
            starts=starts,
            stop=stop,
            exact=exact,
            probes=probes,
            journal=journal,
            progress=follow,
        )
        return finish(quine, search(quine, request), request.stop, request.seed, throw=throw)


@search.register(Quine)
def _search(quine: Quine, request: Request) -> Found:
    """The search of every kind of quine that registers no other."""
    if not request.exact and quine.code_bits is None:
        return _advised(quine, climb(quine, request))
    if request.method is not None:
        raise BadOption("an exact quine is sought by a search of its own: leave the method out")
    return search_exact(quine, request)


def _advised(quine: Quine, found: Found) -> Found:
    """Name the remedy that no limit is, where a free network was not solved: an anchored one contracts."""
    ends = {status for _, ended in found.results for status in ended.status}
    if not can_be_anchored(quine) or ends & {Status.CONVERGED, Status.INTERRUPTED, Status.NONFINITE}:
        return found
    return replace(found, detail="with skip=0.1 the network is anchored, and plain regeneration finds its one quine")
