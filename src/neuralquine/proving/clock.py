"""The clock of a recurrent network that runs freely: sines and cosines of its steps, as real numbers."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any

import numpy as np

from .reals import Reals

_PRECISION = 50  # decimal digits of a tick before it is rounded
_SMALL = Decimal(10) ** -40  # terms of a series below this are left out
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582")
# Roundings of an angle, relative: 10^x from a rounded x (at most 1.5 ln 10 times four units) by one function of the library
# (8 units), two pi, and three products: below 28 units; then the sine by another function.
_ANGLE, _SINE = 28.0, 8.0


@lru_cache(maxsize=4)
def ticks(count: int, waves: int) -> Reals:
    """Sines, then cosines, of ``2 pi t 10^(3 j / (2 waves - 2)) / count`` for the waves j at every step t."""

    def exact() -> Any:
        from flint import arb

        powers = [arb(10) ** (arb(3) * j / (2 * max(waves - 1, 1))) for j in range(waves)]
        angles = [[2 * arb.pi() * t * power / count for power in powers] for t in range(count)]
        return np.array([[a.sin() for a in row] + [a.cos() for a in row] for row in angles], dtype=object)

    with localcontext() as context:
        context.prec = _PRECISION
        powers = [Decimal(10) ** (Decimal(3) * j / (2 * max(waves - 1, 1))) for j in range(waves)]
        turns = [[power * t / count for power in powers] for t in range(count)]
        pairs = [[sine_and_cosine(2 * _PI * (turn - turn.to_integral_value())) for turn in row] for row in turns]
        angles = np.array([[float(2 * _PI * turn) for turn in row] for row in turns])
    nearest = np.array([[float(s) for s, _ in row] + [float(c) for _, c in row] for row in pairs])
    return Reals(exact, nearest, _ANGLE * np.concatenate([angles, angles], 1) * (1 + 2.0**-30) + _SINE)


def sine_and_cosine(angle: Decimal) -> tuple[Decimal, Decimal]:
    """By Taylor's series of the angle without its whole turns, in the precision of the context, at most 50 digits."""
    angle -= 2 * _PI * (angle / (2 * _PI)).to_integral_value()
    sine, cosine, term, n = Decimal(0), Decimal(0), Decimal(1), 0
    while n < 4 or abs(term) > _SMALL:
        sine, cosine = (
            (sine, cosine + term * (-1) ** (n // 2)) if n % 2 == 0 else (sine + term * (-1) ** (n // 2), cosine)
        )
        n += 1
        term = term * angle / n
    return sine, cosine
