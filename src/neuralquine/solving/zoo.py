"""Enumerating the distinct quines of one network and probe: a zoo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..checking.spectrum import local_spectrum
from ..errors import BadOption
from ..quines.in_place import weights_kept
from ..quines.interrupts import interrupts_held
from ..quines.measure import CONSTANT_SENSITIVITY, Measurement, measure
from ..quines.numbers import whole
from ..quines.quine import Quine
from ..quines.threads import one_thread_if_small
from . import itself_search as itself_search  # registers those of modules that print themselves
from . import queried_search as queried_search  # registers the map and the fixed points of queried quines
from .enumerate import fixed_points
from .harvest import smooth_map
from .loop import Stop, Trace, iterate
from .maps import FullMap, ReducedMap, refuse_constructed
from .methods import Broyden
from .queried_map import QueryMap
from .search import map_of
from .solution import Status

_NEAR = 40  # steps of a narrow type around a fixed point of a wider one: of 21, all that came near did so within these

_FIGURES = (
    *("relative_residual", "max_abs_residual", "weight_rms", "differing_weights"),
    *("self_sensitivity", "spectral_radius"),
)


@dataclass(frozen=True, kw_only=True)
class ZooQuine(Measurement):
    """One quine of the zoo, measured on a fresh evaluation of the full network.

    Eight figures of that evaluation, ``relative_residual``, ``squared_residual``, ``max_abs_residual``,
    ``weight_rms``, ``differing_weights``, ``max_ulp``, ``nonfinite_weights`` and ``subnormal_weights``, are described by
    :class:`~neuralquine.quines.measure.Measurement`.

    Attributes:
        theta: its weights ``(P,)``.
        self_sensitivity, spectral_radius: as in :class:`neuralquine.Solution`.
    """

    theta: Tensor
    self_sensitivity: float
    spectral_radius: float

    def figures(self) -> dict[str, Any]:
        """The figures that tell one quine of a zoo from another, by name."""
        return {name: getattr(self, name) for name in _FIGURES}


@dataclass(frozen=True, kw_only=True, repr=False)
class Zoo:
    """The distinct quines found, by growing spectral radius.

    Attributes:
        quines: the quines, verified, non-trivial and pairwise different.
        starts: the number of starting points.
        rejected: candidates that failed the fresh evaluation or were trivial.
        map_evaluations, jvps, seconds: the cost of all starts together.
        interrupted: whether the user stopped the search; ``quines`` holds what was found until then.
    """

    quines: tuple[ZooQuine, ...]
    starts: int
    rejected: int
    map_evaluations: int
    jvps: int
    seconds: float
    interrupted: bool

    def __repr__(self) -> str:
        radii = [q.spectral_radius for q in self.quines]
        between = f", spectral radii {min(radii):.3g} to {max(radii):.3g}" if radii else ""
        stopped = ", interrupted" if self.interrupted else ""
        return f"Zoo({len(self.quines)} quines from {self.starts} starts{between}, {self.seconds:.2f} s{stopped})"


@one_thread_if_small
def zoo(
    quine: Quine,
    *,
    starts: int = 40,
    seed: int | None = None,
    stop: Stop | None = None,
    progress: Callable[[int], None] | None = None,
) -> Zoo:
    """Find as many distinct quines of one network as ``starts`` starting points lead to.

    Capped Broyden runs from every start, Newton from where Broyden ended, then deflated Newton from the same starts,
    which avoids everything found before. A queried quine's starts are those of its own search, each followed once. Each
    candidate is judged on a fresh evaluation. A grid of the code is left out: listed are the quines of the unrounded map.

    Args:
        quine: the network; its stored weights stay as they are.
        starts: starting points.
        seed: of the starting points; by default the quine's own.
        stop: limits, for each of the three searches.
        progress: called with the number of quines found so far.

    Raises:
        BadOption: ``starts`` is less than 1.
        NothingToSolve: the network prints itself whatever its code is.

    Source: deflation: Farrell, Birkisson and Funke (2015).
    """
    starts, seed = whole("starts", starts), None if seed is None else whole("seed", seed)
    if starts < 1:
        raise BadOption(f"starts must be at least 1, not {starts}")
    refuse_constructed(quine)
    stop, f = stop or Stop(), map_of(quine)
    smooth = smooth_map(f) if isinstance(f, ReducedMap) else f
    generator = torch.Generator().manual_seed((quine.seed if seed is None else seed) % 2**63)
    trace = Trace(f, None)
    smooth.late = stop.clock(trace)
    with interrupts_held(forget=True):
        # A queried quine's searches install no weights, and are threads that have to take their turn with the module.
        with nullcontext() if isinstance(smooth, QueryMap) else weights_kept(quine):
            ends = fixed_points(smooth.quine, smooth, starts, generator, stop, trace, progress=progress)
        with weights_kept(quine), _without_grid(quine):
            if smooth is not f:
                ends = [*ends, *_settle(f, smooth, stop, trace)]
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


@contextmanager
def _without_grid(quine: Quine) -> Iterator[None]:
    """Let the network print its code unrounded for a while."""
    bits, quine.code_bits = quine.code_bits, None
    try:
        yield
    finally:
        quine.code_bits = bits


def _settle(f: FullMap | ReducedMap, smooth: FullMap | ReducedMap, stop: Stop, trace: Trace) -> list[Status]:
    """Take over the points of a map in a wider type, each where it is best near by: a narrow type's own map is a staircase.

    Returns:
        How the searches near by ended.
    """
    f.evaluations, f.jvps, f.known = smooth.evaluations, smooth.jvps, smooth.known
    if not len(f.known):
        return []
    near = replace(stop, rtol=stop.tolerance(f.quine.dtype), max_steps=_NEAR)
    found = iterate(f, Broyden(), f.known, near, trace, every=True)
    own = torch.cdist(found.best, f.known).argmin(1) == torch.arange(len(f.known), device=f.known.device)
    f.known = torch.where(own[:, None], found.best, f.known)  # what went over to another one is no second quine
    return found.status


def _measured(quine: Quine, f: FullMap | ReducedMap, stop: Stop) -> list[ZooQuine]:
    """The known points that a fresh evaluation confirms and that are no printed constants."""
    rtol = stop.tolerance(quine.dtype)
    found = []
    for point in f.known:
        f.install(point)
        figures, local = measure(quine), local_spectrum(quine)
        f.evaluations += 1
        f.jvps += local.jvps
        if figures.relative_residual <= rtol and local.self_sensitivity >= CONSTANT_SENSITIVITY:
            found.append(
                ZooQuine(
                    **vars(figures),
                    theta=quine.theta,
                    self_sensitivity=local.self_sensitivity,
                    spectral_radius=local.spectral_radius,
                )
            )
    return found
