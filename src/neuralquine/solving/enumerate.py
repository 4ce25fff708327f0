"""Enumerating fixed points: many starts are followed, and ``f.known`` keeps each distinct fixed point once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import singledispatch

import torch
from torch import Tensor

from ..quines.quine import Quine
from ..quines.trunk import LARGE
from .loop import Stop, Trace, affordable_starts, iterate, starting_points
from .maps import ReducedMap, SelfMap
from .methods import Broyden, Homotopy, Newton
from .solution import Status

_CURVE = 400  # steps of every start that follows curves: one to its end, and the beginning of another
SAME = 1e-6  # relative distance below which two fixed points count as one: far above the error of a converged one


def costly(quine: Quine) -> bool:
    """Whether evaluations are so dear that following curves pays, which needs half as many, but more work beside them."""
    return quine.skip is None and quine.normalize and quine.parameter_count > LARGE


@singledispatch
def fixed_points(
    quine: Quine,
    f: ReducedMap,
    starts: int,
    generator: torch.Generator,
    stop: Stop,
    trace: Trace,
    *,
    own: bool = True,
    thorough: bool = True,
    progress: Callable[[int], None] | None = None,
) -> list[Status]:
    """Add to ``f.known`` the fixed points that ``starts`` starting points lead to.

    Capped Broyden runs from every start, or where evaluations are dear the homotopy; if thorough, Newton then runs from
    where that ended, and deflated Newton from the same starts. A kind of quine with starts of its own registers another
    enumeration.

    Args:
        quine: the network.
        f: its map, whose ``known`` points are avoided and added to.
        starts: how many starting points.
        generator: draws them.
        stop: limits of each search.
        trace: the trace that the searches continue.
        own: begin with the network as it stands.
        thorough: go on with the two searches of Newton.
        progress: called with the number of points known so far.

    Returns:
        How the starts of the last search ended.
    """
    status: list[Status] = []
    width = affordable_starts(quine, starts)
    for first in range(0, starts, width):
        points = starting_points(f, min(width, starts - first), generator, own=own and first == 0)
        if costly(quine):
            curves = replace(stop, max_steps=stop.max_steps or _CURVE)
            first_ends = iterate(f, Homotopy(), points, curves, trace, every=True)
        else:
            first_ends = iterate(f, Broyden(), points, stop, trace, every=True)
        unsolved = torch.tensor([s is not Status.CONVERGED for s in first_ends.status])
        keep(f, first_ends.best, status := first_ends.status)
        if thorough and bool(unsolved.any()) and Status.INTERRUPTED not in status:
            newton = iterate(f, Newton(), first_ends.best[unsolved], stop, trace, every=True)
            keep(f, newton.best, status := newton.status)
        if thorough and Status.INTERRUPTED not in status:
            deflated = iterate(f, Newton(deflate=True), points, stop, trace, every=True)
            keep(f, deflated.best, status := deflated.status)
        if progress is not None:
            progress(len(f.known))
        if Status.INTERRUPTED in status:
            break
    return status


def keep(f: SelfMap, points: Tensor, status: list[Status], *, same: float = SAME) -> None:
    """Add the solved points that are not known yet, to within a relative distance, to ``f.known``."""
    for point, reason in zip(points, status, strict=True):
        gaps = torch.linalg.vector_norm(f.known - point, dim=1)
        if reason is Status.CONVERGED and not bool((gaps <= same * torch.linalg.vector_norm(point)).any()):
            f.known = torch.cat([f.known, point[None]])
