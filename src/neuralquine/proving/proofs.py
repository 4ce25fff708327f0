"""The two theorems that can be proved about a stored quine, as computations in balls.

*Fixed point.* By Krawczyk's theorem (``krawczyk.py``) the network without rounding, in real arithmetic, has a quine in a
box, and only one.

*Rounding.* If the exact real code at the stored weights lies strictly within half a grid step of the integer vector
``x``, and ``E(x / 2^k)`` rounds to the stored weights, then the exact network prints its stored weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flint import arb, ctx

from .balls import Ball, Rounding, objects
from .enclosed import coded, expanded, stored
from .krawczyk import krawczyk_image, lies_inside, midpoints, value_and_derivative
from .network import Network

PRECISION = 128


@dataclass(frozen=True)
class Enclosure:
    """The outcome of Krawczyk's theorem for one box.

    Attributes:
        proved: whether K(X) lies in the interior of X.
        nonzero: whether the boxes of codes and of weights exclude 0, so that the quine is not the zero quine.
        theta_radius: no weight of the quine is farther than this from the stored one.
    """

    proved: bool
    nonzero: bool
    theta_radius: float


def krawczyk(network: Network, midpoint: list[float], radius: float, *, precision: int = PRECISION) -> Enclosure:
    """Apply the theorem to the box of one radius around a midpoint of ``d`` floats."""
    ctx.prec = precision
    found = krawczyk_image(network, objects(np.array(midpoint, dtype=np.float64)), arb(radius))
    if found is None:
        return Enclosure(False, False, float("inf"))
    box, image = found
    weights = expanded(network, Ball(box)).value
    distance = max(float((w - arb(float(t))).abs_upper()) for w, t in zip(weights, network.theta, strict=True))
    nonzero = any(not x.contains(arb(0)) for x in box) and any(not w.contains(arb(0)) for w in weights)
    return Enclosure(lies_inside(image, box), nonzero, float(np.nextafter(distance, np.inf)))


def refine(network: Network, code: list[float], *, steps: int = 3) -> list[float]:
    """Newton's method in ball arithmetic from a code, rounded to floats: a good midpoint for a small box."""
    ctx.prec = PRECISION
    for _ in range(steps):
        point = objects(np.array(code, dtype=np.float64))
        image = value_and_derivative(network, point)
        assert image.grad is not None
        slopes, residual = midpoints(image.grad), midpoints(image.value - point)
        if not (np.isfinite(slopes).all() and np.isfinite(residual).all()):
            break
        try:
            code = list(np.array(code) + np.linalg.solve(np.eye(network.d) - slopes, residual))
        except np.linalg.LinAlgError:  # no Newton step; the box around this code will say whether it is one
            break
    return [float(c) for c in code]


def stored_code(network: Network) -> list[float]:
    """The code that the stored weights lead to, to the nearest floats."""
    ctx.prec = PRECISION
    return midpoints(coded(network, stored(network)).value).tolist()


def rounding_margin(
    network: Network, x: list[int], *, rounding: Rounding | None = None, precision: int = PRECISION
) -> float:
    """A lower bound of ``1/2 - max |2^k (h - x / 2^m)|`` with ``h`` the unrounded code at the stored weights.

    Positive: the exact network (or, with a rounding model, every floating-point evaluation of it) rounds to ``x``, a code
    on the grid in units of ``2^-m``.
    """
    ctx.prec = precision
    assert network.code_bits is not None
    h = coded(network, stored(network, rounding)).value
    scale, steps = arb(2) ** network.code_bits, 2 ** (network.printer.unit - network.code_bits)
    # A moved grid: the machine subtracts the offset before it rounds, once, from a number of about this size.
    unit = 0.0 if rounding is None or steps == 1 else 2 * rounding.unit
    worst = arb(0)
    for value, integer in zip(h, x, strict=True):
        gap = (value * scale - arb(integer) / steps).abs_upper() + unit * (abs(integer) // steps + 2)
        worst = worst.max(arb(gap)) if gap.is_finite() else arb("inf")
    bound = float((arb(0.5) - worst).lower()) if worst.is_finite() else float("-inf")
    return float(np.nextafter(bound, -np.inf))
