"""What a search is asked for and what it hands to the judge; and which search, and which map, belong to a quine.

``map_of`` and ``search`` are answered by kind of quine. A kind with a way of its own registers it in its own file, as
``queried_search.py`` does; ``solve.py`` holds the way of all others.
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
    """What :func:`neuralquine.solve` was asked for; the attributes are its arguments, with the defaults filled in."""

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
    """What a search hands to the judge.

    Attributes:
        f: the map that was searched, with its counts.
        results: the name of each method that ran and what it left behind.
        trace: of all of them.
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
