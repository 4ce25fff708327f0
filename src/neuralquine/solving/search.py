"""The request and the outcome of a search; and the search and the map that belong to a kind of quine.

``map_of`` and ``search`` dispatch on the kind of quine. A kind with a search of its own registers it in its own file,
as ``queried_search.py`` does; ``solve.py`` holds the search of all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from ..files.journal import Journal
from ..quines.quine import Quine
from .loop import Progress, Search, Stop, Trace
from .maps import FullMap, ReducedMap
from .methods import Method


@dataclass(frozen=True, kw_only=True)
class Request:
    """The request to :func:`neuralquine.solve`; the attributes are its arguments, with the defaults filled in."""

    method: Method | None
    seed: int
    starts: int | None
    stop: Stop
    exact: bool
    probes: int
    journal: Journal | None
    progress: Progress | None


@dataclass(frozen=True)
class Found:
    """The outcome of a search, which the judge is given.

    Attributes:
        f: the map that was searched, with its counts.
        results: the name and the result of each method that ran.
        trace: the trace of all methods.
        detail: what was tried, where the status alone does not say it.
        exact: whether a quine was sought that prints its own bits, so that a small residual is not enough.
    """

    f: FullMap | ReducedMap
    results: list[tuple[str, Search]]
    trace: Trace
    detail: str = ""
    exact: bool = False


@singledispatch
def map_of(quine: Quine) -> FullMap | ReducedMap:
    """The map whose fixed points are sought by default: on the code, unless the kind of quine says otherwise."""
    return ReducedMap(quine)


@singledispatch
def search(quine: Quine, request: Request) -> Found:
    """Look for weights that print themselves.

    Raises:
        BadOption: the quine cannot be searched in the way that was asked for.
    """
    raise NotImplementedError(f"no search is registered for {type(quine).__name__}")
