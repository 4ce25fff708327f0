"""The two theorems that can be proved about a stored quine, as computations in balls.

*Fixed point.* Let ``g`` be the reduced map of the network without rounding, in real arithmetic, ``m`` a point, ``X``
the box of radius ``r`` around it and ``Y`` any matrix. If the Krawczyk operator

    K(X) = m - Y (m - g(m)) + (I - Y (I - g'(X))) (X - m)

lies in the interior of ``X``, then ``g`` has a fixed point in ``X`` and only one.

*Rounding.* If the exact real code at the stored weights lies strictly within half a grid step of the integer vector
``x``, and ``E(x / 2^k)`` rounds to the stored weights, then the exact network prints its stored weights.

Source: Krawczyk (1969); Rump, "Verification methods" (2010), theorem 13.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flint import arb, arb_mat, ctx

from .balls import Ball, Rounding, objects
from .network import Network

PRECISION = 128


@dataclass(frozen=True)
class Enclosure:
    """What Krawczyk's theorem gives for one box.

    Attributes:
        proved: K(X) lies in the interior of X.
        nonzero: the box of codes does not contain 0, so the quine is not the zero quine.
        theta_radius: no weight of the quine is farther than this from the stored one.
    """

    proved: bool
    nonzero: bool
    theta_radius: float


def value_and_derivative(network: Network, code: np.ndarray, *, derivative: bool = True) -> Ball:
    """``g`` over a box of codes (object array of balls), with ``g'`` if asked for."""
    grad = objects(np.eye(network.d)) if derivative else None
    return network.code(network.expand(Ball(code, grad)))


def krawczyk(network: Network, midpoint: list[float], radius: float, *, precision: int = PRECISION) -> Enclosure:
    """Apply the theorem to the box of one radius around a midpoint of ``d`` floats.

    The matrix ``Y`` is recomputed here: any matrix gives a valid proof, a poor one merely fails.
    """
    ctx.prec = precision
    d = network.d
    m = objects(np.array(midpoint, dtype=np.float64))
    box = np.array([x + arb(0, radius) for x in m], dtype=object)
    at_midpoint = value_and_derivative(network, m)
    over_box = value_and_derivative(network, box)
    assert at_midpoint.grad is not None
    assert over_box.grad is not None
    slopes = np.array([[float(v.mid()) for v in row] for row in at_midpoint.grad])
    if not (np.isfinite(slopes).all() and all(v.is_finite() for v in over_box.grad.flat)):
        return Enclosure(False, False, float("inf"))
    try:
        inverse = np.linalg.inv(np.eye(d) - slopes)
    except np.linalg.LinAlgError:
        return Enclosure(False, False, float("inf"))
    y, identity = _matrix(objects(inverse)), _matrix(objects(np.eye(d)))
    residual = _matrix((m - at_midpoint.value)[:, None])
    spread = _matrix(np.array([[arb(0, radius)] for _ in range(d)], dtype=object))
    image = _matrix(m[:, None]) - y * residual + (identity - y * (identity - _matrix(over_box.grad))) * spread
    proved = all(box[i].contains_interior(image[i, 0]) for i in range(d))
    weights = network.expand(Ball(box)).value
    distance = max(float((w - arb(float(t))).abs_upper()) for w, t in zip(weights, network.theta, strict=True))
    return Enclosure(proved, any(not x.contains(arb(0)) for x in box), float(np.nextafter(distance, np.inf)))


def _matrix(array: np.ndarray) -> arb_mat:
    return arb_mat([list(row) for row in array])


def refine(network: Network, code: list[float], *, steps: int = 3) -> list[float]:
    """Newton's method in ball arithmetic from a code, rounded to floats: a good midpoint for a small box."""
    ctx.prec = PRECISION
    for _ in range(steps):
        point = objects(np.array(code, dtype=np.float64))
        image = value_and_derivative(network, point)
        assert image.grad is not None
        slopes = np.array([[float(v.mid()) for v in row] for row in image.grad])
        residual = np.array([float((g - c).mid()) for g, c in zip(image.value, point, strict=True)])
        if not np.isfinite(slopes).all():
            break
        code = list(np.array(code) + np.linalg.solve(np.eye(network.d) - slopes, residual))
    return [float(c) for c in code]


def stored_code(network: Network) -> list[float]:
    """The code that the stored weights lead to, to the nearest floats."""
    ctx.prec = PRECISION
    return [float(v.mid()) for v in network.code(network.stored()).value]


def rounding_margin(
    network: Network, x: list[int], *, rounding: Rounding | None = None, precision: int = PRECISION
) -> float:
    """A lower bound of ``1/2 - max |2^k h - x|`` with ``h`` the unrounded code at the stored weights.

    Positive: the exact network (or, with a rounding model, every floating-point evaluation of it) rounds to ``x``.
    """
    ctx.prec = precision
    assert network.code_bits is not None
    h = network.code(network.stored(rounding)).value
    scale = arb(2) ** network.code_bits
    worst = arb(0)
    for value, integer in zip(h, x, strict=True):
        gap = (value * scale - integer).abs_upper()
        worst = worst.max(arb(gap)) if gap.is_finite() else arb("inf")
    bound = float((arb(0.5) - worst).lower()) if worst.is_finite() else float("-inf")
    return float(np.nextafter(bound, -np.inf))
