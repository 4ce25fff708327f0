"""The request and the outcome of a search; and the search and the map that belong to a kind of quine.

``map_of`` and ``search`` dispatch on the kind of quine. A kind with a search of its own registers it in its own file,
as ``queried_search.py`` does; ``solve.py`` holds the search of all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from ..files.journal import Journal
from ..quines.quine import Quine
from ..recipes.registry import RECIPES, options_of
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


def step_limit(quine: Quine, method: Method | None, stop: Stop) -> int | None:
    """The steps that one method takes at most; None for the ladder, whose methods usually end long before."""
    if method is None:
        return None
    count = quine.parameter_count if method.space == "full" else quine.code_size
    return method.limits(count)[0] if stop.max_steps is None else stop.max_steps


def can_be_anchored(quine: Quine) -> bool:
    """Whether who made a free quine could have said ``skip=0.1``: in Python, or as an option of its recipe."""
    if quine.skip is not None or not quine.normalize:
        return False
    if quine.recipe is None:
        return True
    made = RECIPES.get(quine.recipe["name"])
    return made is not None and "skip" in options_of(made)
