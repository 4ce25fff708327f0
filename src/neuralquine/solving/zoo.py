"""Enumerating the quines of one network and probe: they come in a zoo."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ..checking.spectrum import local_spectrum
from ..quines.in_place import weights_kept
from ..quines.measure import CONSTANT_SENSITIVITY, measure, round_off
from ..quines.queried import QueryQuine
from ..quines.quine import Quine
from ..quines.threads import frugal
from .loop import Stop, Trace, affordable_starts, iterate, starting_points
from .maps import ReducedMap, SelfMap, refuse_constructed
from .methods import Broyden, Newton
from .queried_map import QueryMap
from .queried_search import put_aside, searches
from .solution import Status

_SAME = 1e-6  # relative distance of codes below which two quines are one


@dataclass(frozen=True, kw_only=True)
class ZooQuine:
    """One quine of the zoo, measured on a fresh evaluation of the full network.

    Attributes:
        theta: ``(P,)`` its weights.
        relative_residual, max_abs_residual, weight_rms, differing_weights, self_sensitivity, spectral_radius: as in
            :class:`neuralquine.Solution`.
    """

    theta: Tensor
    relative_residual: float
    max_abs_residual: float
    weight_rms: float
    differing_weights: int
    self_sensitivity: float
    spectral_radius: float


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """The distinct quines found, by growing spectral radius.

    Attributes:
        quines: verified, non-trivial, pairwise different.
        starts: starting points.
        rejected: candidates that failed the fresh evaluation or were trivial.
        map_evaluations, jvps, seconds: the cost of all starts together.
        interrupted: the search was stopped by the user; what was found is here.
    """

    quines: tuple[ZooQuine, ...]
    starts: int
    rejected: int
    map_evaluations: int
    jvps: int
    seconds: float
    interrupted: bool


@frugal
def zoo(
    quine: Quine,
    *,
    starts: int = 40,
    seed: int | None = None,
    stop: Stop | None = None,
    progress: Callable[[int], None] | None = None,
) -> Zoo:
    """Find as many distinct quines of one network as ``starts`` starting points lead to.

    Capped Broyden from every start, Newton from where it got to, then deflated Newton from the same starts,
    which avoids everything found before. A queried quine's starts are those of its own search, each followed once. Each
    candidate is judged on a fresh evaluation.

    Args:
        quine: the network; its stored weights stay as they are.
        starts: starting points.
        seed: of the starting points; by default the quine's own.
        stop: limits, for each of the three searches.
        progress: called with the number of quines found so far.

    Source: deflation: Farrell, Birkisson and Funke (2015).
    """
    if starts < 1:
        raise ValueError(f"starts must be at least 1, not {starts}")
    refuse_constructed(quine)
    stop = stop or Stop()
    f = QueryMap(quine) if isinstance(quine, QueryQuine) else ReducedMap(quine)
    generator = torch.Generator().manual_seed((quine.seed if seed is None else seed) % 2**63)
    trace = Trace(f, None)
    with weights_kept(quine):
        if isinstance(f, QueryMap):
            ends = _queried(f, starts, generator, stop, trace, progress)
        else:
            ends = fixed_points(quine, f, starts, generator, stop, trace, progress=progress)
        seconds = trace.seconds()
        found = _measured(quine, f, stop)
    return Zoo(
        quines=tuple(sorted(found, key=lambda q: q.spectral_radius)),
        starts=starts,
        rejected=len(f.known) - len(found),
        map_evaluations=f.evaluations,
        jvps=f.jvps,
        seconds=seconds,
        interrupted=Status.INTERRUPTED in ends,
    )


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
    """Add to ``f.known`` what ``starts`` starting points lead to, by Broyden alone unless thorough; how it ended."""
    status: list[Status] = []
    width = affordable_starts(quine, starts)
    for first in range(0, starts, width):
        points = starting_points(quine, f, min(width, starts - first), generator, own=own and first == 0)
        broyden = iterate(f, Broyden(), points, stop, trace, every=True)
        unsolved = torch.tensor([s is not Status.CONVERGED for s in broyden.status])
        _keep(f, broyden.best, status := broyden.status)
        if thorough and bool(unsolved.any()) and Status.INTERRUPTED not in status:
            newton = iterate(f, Newton(), broyden.best[unsolved], stop, trace, every=True)
            _keep(f, newton.best, status := newton.status)
        if thorough and Status.INTERRUPTED not in status:
            deflated = iterate(f, Newton(deflate=True), points, stop, trace, every=True)
            _keep(f, deflated.best, status := deflated.status)
        if progress is not None:
            progress(len(f.known))
        if Status.INTERRUPTED in status:
            break
    return status


def _queried(
    f: QueryMap,
    starts: int,
    generator: torch.Generator,
    stop: Stop,
    trace: Trace,
    progress: Callable[[int], None] | None,
) -> list[Status]:
    status: list[Status] = []
    try:
        with closing(searches(f, stop, generator, trace)) as found:
            for _, search in islice(found, starts):
                if search.status[0] is Status.CONVERGED:
                    put_aside(f, search)
                _keep(f, search.best, search.status)
                status = search.status
                if progress is not None:
                    progress(len(f.known))
    except KeyboardInterrupt:
        status = [Status.INTERRUPTED]
    f.cancelled.clear()  # what was running ahead has ended
    return status


def _keep(f: SelfMap, points: Tensor, status: list[Status]) -> None:
    """Add the solved points that are not known yet."""
    for point, reason in zip(points, status, strict=True):
        gaps = torch.linalg.vector_norm(f.known - point, dim=1)
        if reason is Status.CONVERGED and not bool((gaps <= _SAME * torch.linalg.vector_norm(point)).any()):
            f.known = torch.cat([f.known, point[None]])


def _measured(quine: Quine, f: ReducedMap | QueryMap, stop: Stop) -> list[ZooQuine]:
    rtol = stop.rtol if stop.rtol is not None else round_off(quine.dtype)
    found = []
    for point in f.known:
        f.install(point)
        figures, local = measure(quine), local_spectrum(quine)
        f.evaluations += 1
        f.jvps += local.jvps
        if figures.relative_residual <= rtol and local.self_sensitivity >= CONSTANT_SENSITIVITY:
            found.append(
                ZooQuine(
                    theta=quine.theta,
                    relative_residual=figures.relative_residual,
                    max_abs_residual=figures.max_abs_residual,
                    weight_rms=figures.weight_rms,
                    differing_weights=figures.differing_weights,
                    self_sensitivity=local.self_sensitivity,
                    spectral_radius=local.spectral_radius,
                )
            )
    return found
