"""Grid points near a fixed point: the closest-vector problem behind a bit-exact quine.

On the grid ``2^-k`` a quine is an integer vector ``x`` with ``||2^k g(x / 2^k) - x||_inf < 1/2``. Near a fixed point
``c`` of ``g`` the left side is ``||B x - t||_inf`` with ``B = I - J`` and ``t = 2^k B c``, up to curvature. So the
candidates are the lattice points ``B x`` in a cube of side 1 around ``t``; their expected number is ``1 / |det B|``.

Source: Fincke and Pohst (1985), enumerated breadth first with the pruning of Schnorr and Euchner (1994); the bounds
come from the distribution of a uniform point of the cube. fpylll and OR-tools were looked at: both bound by the
2-norm (or relax to a linear program) and visit far more of the tree at d = 20.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_WIDTH = 200_000  # partial vectors kept at each level
_DEVIATIONS = 3.0  # how far above its mean the squared length may be: 3 loses few points of the cube


def points_in_cube(basis: NDArray[np.float64], target: NDArray[np.float64], side: float = 1.06) -> NDArray[np.float64]:
    """Integer vectors x with ``||B x - t||_inf <= side / 2``, most of them.

    Args:
        basis: ``(d, d)``, B.
        target: ``(d,)``, t.
        side: a little above 1, because B is only a linearization.

    Returns:
        ``(K, d)`` integers as floats. Complete but for points whose partial lengths are improbably long, and for
        levels wider than 200,000, of which the closest are kept.
    """
    d = len(basis)
    orthogonal, triangle = np.linalg.qr(basis)
    goal = orthogonal.T @ target
    chosen, squared = np.zeros((1, 0)), np.zeros(1)
    whole = d / 12 + _DEVIATIONS * math.sqrt(d / 180) + 0.3
    for level in range(1, d + 1):
        i = d - level
        partial = level / 12 + _DEVIATIONS * math.sqrt(level / 72) + 0.25
        center = (goal[i] - chosen @ triangle[i, i + 1 :]) / triangle[i, i]
        reach = np.sqrt(np.maximum(min(whole, partial) * side**2 - squared, 0)) / abs(triangle[i, i])
        first = np.ceil(center - reach)
        count = np.maximum(np.floor(center + reach) - first + 1, 0)
        if not count.any() or count.sum() > 50 * _WIDTH:
            return np.zeros((0, d))  # nothing there, or so many that the fixed point is nearly singular
        count = count.astype(np.int64)
        parent = np.repeat(np.arange(len(count)), count)
        value = first[parent] + np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
        squared = squared[parent] + (triangle[i, i] * (value - center[parent])) ** 2
        chosen = np.column_stack([value, chosen[parent]])
        if len(squared) > _WIDTH:
            kept = np.argpartition(squared, _WIDTH)[:_WIDTH]
            chosen, squared = chosen[kept], squared[kept]
    inside = np.abs(chosen @ basis.T - target).max(1, initial=0.0) <= side / 2
    return chosen[inside]
