"""Fertility: install what was printed, print again, and see how long the line stays true."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import torch

from ..errors import BadOption
from ..quines.bits import same
from ..quines.in_place import weights_kept
from ..quines.lineage import line
from ..quines.measure import Measurement, measure, relative_residual
from ..quines.quine import Quine


@dataclass(frozen=True, repr=False)
class Generations:
    """The distances and residuals of a quine's descendants.

    Attributes:
        distances: ``||theta_k - theta_0|| / ||theta_0||`` for generations k = 1, 2, ...
        residuals: relative residual of each generation.
        survived: generations before the distance first passes ``tolerance``.
        tolerance: relative distance at which a descendant no longer counts as a copy.
        identical: generations, from the first on, that equal the start bit for bit.
    """

    distances: tuple[float, ...]
    residuals: tuple[float, ...]
    survived: int
    tolerance: float
    identical: int

    def __repr__(self) -> str:
        last = f", last distance {self.distances[-1]:.2e}" if self.distances else ""
        return (
            f"Generations({self.survived} of {len(self.distances)} survived within {self.tolerance:g}, the first "
            f"{self.identical} bit for bit{last})"
        )


@torch.no_grad()
def generations(
    quine: Quine, n: int = 100, *, tolerance: float = 1e-2, measured: Measurement | None = None
) -> Generations:
    """Print ``n`` times in a row from the stored weights, which stay as they are.

    Args:
        quine: the start.
        n: generations.
        tolerance: relative distance up to which a descendant counts as a copy.
        measured: the figures of the stored weights, from whoever has measured them afresh. The line of a large network is
            then followed no further than to the first descendant that is no copy, and so is that of a small one whose
            figures say already that it is far from a quine: near one, each print may still tell that the module changes.
    """
    if n < 1:
        raise BadOption(f"n must be at least 1, not {n}")
    if quine.in_place:
        return _in_place(quine, n, tolerance, measured)
    start = current = quine.theta
    distances, residuals = [], []
    identical, whole = 0, True
    far = measured is not None and not measured.relative_residual <= tolerance
    for child, settled in islice(line(quine, start), n):
        residuals.append(relative_residual(child, current))
        distances.append(relative_residual(child, start))
        whole = whole and same(child, start)
        identical += whole
        if far and not distances[-1] <= tolerance:
            break
        if (quine.constructed and bool(settled)) or same(child, current):  # so are all that follow
            left = n - len(distances)
            distances, residuals = distances + [distances[-1]] * left, residuals + [residuals[-1]] * left
            identical += left if whole else 0
            break
        current = child
    # Written so that a NaN counts as dead.
    survived = next((k for k, distance in enumerate(distances) if not distance <= tolerance), n)
    return Generations(tuple(distances), tuple(residuals), survived, tolerance, identical)


def _in_place(quine: Quine, n: int, tolerance: float, measured: Measurement | None) -> Generations:
    """Follow a large network's descendants; once a child is its parent bit for bit, so are all that follow."""
    distances, residuals, identical = [], [], 0
    if measured is not None and measured.differing_weights == 0:
        return Generations((0.0,) * n, (measured.relative_residual,) * n, n, tolerance, n)
    with weights_kept(quine) as start:
        for k in range(n):
            figures = measure(quine) if k or measured is None else measured
            residuals.append(figures.relative_residual)
            if figures.differing_weights == 0:
                identical = n if k == 0 else identical
                distances += [distances[-1] if distances else 0.0] * (n - k)
                residuals += [figures.relative_residual] * (n - k - 1)
                break
            quine.install(quine.code())
            distances.append(start.distance())
            if measured is not None and not distances[-1] <= tolerance:
                break
    survived = next((k for k, distance in enumerate(distances) if not distance <= tolerance), n)
    return Generations(tuple(distances), tuple(residuals), survived, tolerance, identical)
