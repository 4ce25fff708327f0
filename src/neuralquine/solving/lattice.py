"""Grid points near a fixed point: the closest-vector problem behind a bit-exact quine, for many grids at once.

On the grid ``o + 2^-k Z^d`` a quine is an integer vector ``x`` with ``||2^k g(o + x / 2^k) - 2^k o - x||_inf < 1/2``. Near
a fixed point ``c`` of ``g`` the left side is ``||B x - t||_inf`` with ``B = I - J`` and ``t = 2^k B (c - o)``, up to
curvature. So the candidates are the lattice points ``B x`` in a cube of side 1 around ``t``; their expected number is
``1 / |det B|``. The basis is the same for every offset o, so that all targets share one QR decomposition and one search.

Source: Fincke and Pohst (1985), enumerated breadth first with the pruning of Schnorr and Euchner (1994); the bounds
come from the distribution of a uniform point of the cube. fpylll and OR-tools were looked at: both bound by the
2-norm (or relax to a linear program) and visit far more of the tree at d = 20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..quines.interrupts import interrupt_here

_WIDTH = 200_000  # partial vectors kept at each level, of all targets together
_DEVIATIONS = 3.0  # how far above its mean the squared length may be: 3 loses few points of the cube


@dataclass(frozen=True)
class Near:
    """Lattice points near several targets.

    Attributes:
        owner: ``(K,)`` the number of each point's target.
        points: ``(K, d)`` integers as floats.
        visited: partial vectors looked at, which is what the search costs.
    """

    owner: NDArray[np.int64]
    points: NDArray[np.float64]
    visited: int


def points_in_cubes(
    basis: NDArray[np.float64], targets: NDArray[np.float64], side: float = 1.06, width: int = _WIDTH
) -> Near:
    """Integer vectors x with ``||B x - t||_inf <= side / 2`` for each of several targets t, most of them.

    Args:
        basis: ``(d, d)``, B.
        targets: ``(n, d)``.
        side: a little above 1, because B is only a linearization.
        width: partial vectors kept at each level, of all targets together.

    Returns:
        The points: complete but for those whose partial lengths are improbably long, and for levels wider than ``width``, of
        which the closest are kept. In many dimensions that is what makes the search end: the ball that holds the cube has
        ``1.19^d`` times its volume, and of many targets the luckiest points are enough.
    """
    d = len(basis)
    order = _order(basis)
    orthogonal, triangle = np.linalg.qr(basis[:, order])
    goals = targets @ orthogonal
    owner = np.arange(len(targets))
    chosen, squared = np.zeros((len(targets), 0)), np.zeros(len(targets))
    visited, whole = 0, d / 12 + _DEVIATIONS * math.sqrt(d / 180) + 0.3
    for level in range(1, d + 1):
        interrupt_here()
        i = d - level
        partial = level / 12 + _DEVIATIONS * math.sqrt(level / 72) + 0.25
        center = (goals[owner, i] - chosen @ triangle[i, i + 1 :]) / triangle[i, i]
        reach = np.sqrt(np.maximum(min(whole, partial) * side**2 - squared, 0)) / abs(triangle[i, i])
        first = np.ceil(center - reach)
        count = np.maximum(np.floor(center + reach) - first + 1, 0)
        if not count.any() or count.sum() > 50 * width:
            return Near(owner[:0], np.zeros((0, d)), visited)  # nothing there, or B is nearly singular
        visited += int(count.sum())
        count = count.astype(np.int64)
        parent = np.repeat(np.arange(len(count)), count)
        value = first[parent] + np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
        squared = squared[parent] + (triangle[i, i] * (value - center[parent])) ** 2
        if len(squared) > width:
            kept = np.sort(np.argpartition(squared, width)[:width])
            parent, value, squared = parent[kept], value[kept], squared[kept]
        chosen, owner = np.column_stack([value, chosen[parent]]), owner[parent]
    points = np.empty_like(chosen)
    points[:, order] = chosen
    inside = np.abs(points @ basis.T - targets[owner]).max(1, initial=0.0) <= side / 2
    return Near(owner[inside], points[inside], visited)


def _order(basis: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order of the columns in which the search narrows early: the longest part that is left is decided first."""
    left, order = basis.copy(), []
    remaining = list(range(basis.shape[1]))
    while remaining:  # the shortest column goes to the front of the triangle, where it is decided last
        lengths = [float(left[:, j] @ left[:, j]) for j in remaining]
        j = remaining.pop(int(np.argmin(lengths)))
        order.append(j)
        unit = left[:, j] / max(math.sqrt(min(lengths)), np.finfo(float).tiny)
        left[:, remaining] -= np.outer(unit, unit @ left[:, remaining])
    return np.array(order, dtype=np.int64)
