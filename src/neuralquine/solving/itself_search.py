"""``solve`` for modules that print their own weights: in the coordinates of the subspace that their outputs lie in.

Where there is no such subspace of few dimensions, and where what was found in it does not hold for the module itself, all P
equations in P unknowns are solved as for a queried quine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import BadOption, NothingToSolve
from ..quines.gradients import reverse_jacobian
from ..quines.itself import SelfQuine
from ..quines.measure import measure
from ..quines.quine import Quine
from ..quines.subspace import Subspace
from .enumerate import fixed_points
from .ladder import climb
from .loop import Stop, Trace
from .maps import FullMap, ReducedMap, SelfMap
from .methods import Broyden
from .queried_map import QueryMap
from .queried_search import followed_once, search_all_weights
from .search import Found, Request, map_of, search
from .solution import Status

# Of 28 modules that print themselves the shorter steps solved all, in 0.15 to 0.57 s of CPU; those of the ladder's first rung
# 25, in 0.11 to 0.51 s, and then it went on for 0.8 to 2.7 s.
_FIRST = ((Broyden(step_limit=0.3), Broyden.starts),)
_LINE = 1e-9  # distance of an eigenvalue to 1 in the subspace, if a solution lies on a line of them


class SubspaceMap(ReducedMap):
    """``F`` of a module that prints itself, on the coordinates of the subspace that its values lie in."""

    def __init__(self, quine: SelfQuine, space: Subspace) -> None:
        SelfMap.__init__(self, self._evaluate, space.rank, dtype=quine.code_dtype, device=quine.trunk_device)
        self.quine, self.space = quine, space
        self._nothing = 1e-8 * space.spread**2 * space.rank  # as elsewhere, 1e-4 of what is usual

    def _evaluate(self, c: Tensor) -> Tensor:
        return self.space.coordinates(self.quine.real_codes(self.space.expand(c)))

    def _jacobian(self, x: Tensor) -> Tensor:
        quine, space = self.quine, self.space

        def along(thetas: Tensor) -> Tensor:
            return quine.real_codes(thetas) @ space.basis.mT

        return reverse_jacobian(along, space.expand(x), self.n, replicate=quine.vectorized) @ space.basis.mT

    def install(self, x: Tensor) -> None:
        self.quine.theta = self.space.expand(x).to(self.quine.dtype)

    def squared_length(self, r: Tensor, length: Tensor) -> Tensor:
        return (self.space.spread * length) ** 2

    @torch.no_grad()
    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """What the module prints at random weights: ``(count, r)``."""
        self.evaluations += count
        return self.space.coordinates(self.quine.real_codes(self.quine.random_codes(count, generator)))

    @torch.no_grad()
    def own(self) -> Tensor:
        self.evaluations += 1
        return self.space.coordinates(self.quine.real_code())

    def collapsed(self, x: Tensor) -> Tensor:
        """Whether the weights are zero."""
        return torch.linalg.vector_norm(self.space.base) ** 2 + (self.space.spread * x).square().sum(-1) < self._nothing


def refuse_copies(quine: SelfQuine) -> None:
    """Refuse a module that hands back weights that it holds, whatever they are.

    Raises:
        NothingToSolve: it does; any values of them are a fixed point, and none is found.
    """
    count = quine.handed_back()
    if count:
        raise NothingToSolve(
            f"this module hands back {count:,} of its {quine.parameter_count:,} weights, whatever they are (as they stand "
            "or up to a factor): any values of them are a fixed point, none is a quine"
        )


@map_of.register(SelfQuine)
def _map_of(quine: SelfQuine) -> FullMap | ReducedMap:
    refuse_copies(quine)
    return QueryMap(quine) if quine.subspace is None else SubspaceMap(quine, quine.subspace)


@search.register(SelfQuine)
def _search(quine: SelfQuine, request: Request) -> Found:
    """Search the subspace; then, if need be, all weights."""
    if request.exact:
        raise BadOption(
            "exact=True rounds a code to a grid, and a module that prints itself has none, nor may its output be rounded "
            'by others: leave it out, or have another map solved with prints="code"'
        )
    refuse_copies(quine)
    space, method = quine.subspace, request.method
    if space is None or (method is not None and method.space == "full"):
        return search_all_weights(quine, request)
    found = climb(quine, replace(request, stop=_widened(request.stop, quine, space)), _FIRST)
    return found if _holds(quine, found, request.stop) else _in_all_weights(quine, found, request)


@fixed_points.register(SelfQuine)
def _fixed_points(
    quine: SelfQuine,
    f: FullMap | ReducedMap,
    starts: int,
    generator: torch.Generator,
    stop: Stop,
    trace: Trace,
    *,
    own: bool = True,
    thorough: bool = True,
    progress: Callable[[int], None] | None = None,
) -> list[Status]:
    """Enumerate in the subspace as on a code; without one, follow the starts of a queried quine."""
    if isinstance(f, QueryMap):
        return followed_once(quine, f, starts, generator, stop, trace, progress=progress)
    assert quine.subspace is not None
    stop = _widened(stop, quine, quine.subspace)
    of_codes = fixed_points.dispatch(Quine)
    return of_codes(quine, f, starts, generator, stop, trace, own=own, thorough=thorough, progress=progress)


def _widened(stop: Stop, quine: SelfQuine, space: Subspace) -> Stop:
    """Limits in coordinates: where a constant part outweighs them, the same error is a larger share of them."""
    part = float(torch.linalg.vector_norm(space.base)) / (space.spread * space.rank**0.5)
    return replace(stop, rtol=stop.tolerance(quine.dtype) * max(1.0, part))


def _holds(quine: SelfQuine, found: Found, stop: Stop) -> bool:
    """Whether the search ended for good: unsolved, or with weights that the module itself prints."""
    search = next((s for _, s in found.results if Status.CONVERGED in s.status), None)
    if search is None:
        return True
    row = int(search.residuals.argmin())
    found.f.install(search.best[row])
    found.f.evaluations += 1
    eigenvalues, _ = quine.directional().eigenvalues()
    if float((1 - eigenvalues).abs().min()) < _LINE:
        search.status[row] = Status.CONSTANT_QUINE
        return True
    return measure(quine).relative_residual <= stop.tolerance(quine.dtype)


def _in_all_weights(quine: SelfQuine, found: Found, request: Request) -> Found:
    """Go on from the weights that the quine now holds, and count what was spent before."""
    more = search_all_weights(quine, replace(request, method=None))
    f, before = more.f, found.f
    f.evaluations += before.evaluations
    f.jvps += before.jvps
    return more
