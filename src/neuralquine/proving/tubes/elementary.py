"""exp, tanh, the logistic function and erf in float64, with errors that are proved rather than measured.

The float64 run that tubes lie around must not rest on somebody's library of functions. Each error below is an absolute one, in
units of 2^-53, unless it says otherwise, and holds for every float64 argument, provided + - * / round to nearest.

``exp``: the argument is ``k ln 2 + r`` with ``|r| <= 0.3467``. ``k`` times the high part of ln 2 (32 bits) is exact, its
subtraction loses at most one unit of r, that of the low part another; together 2 * 0.35 of a unit of the result. Taylor's
series to degree 13 leaves out ``r^14 / 14! < 0.1`` unit; Horner's rule adds at most 1 + 3 |r| e^|r| < 2.5 units, relative to
``e^r >= 0.707`` 3.6. Scaling by a power of two is exact, or underflows. Sum: below 5; 8 are charged.

``tanh``: ``(1 - E) / (1 + E)``, ``E = exp(-2 |x|)``: the error of E counts ``2 E / (1 + E)^2 <= 1/2`` times, and there are
three more roundings. ``logistic``: ``1 / (1 + E)`` or ``E / (1 + E)`` with ``E = exp(-|x|)``: a quarter of it, and two.

``saturation``: the error of ``exp(-x) <= 1`` and one rounding. ``softsign``: two roundings of a number below 1.
``mish_gate``: with ``E = exp(-|x|)`` it is ``(1 + 2 E) / (1 + 2 E + 2 E^2)`` or ``(E^2 + 2 E) / (E^2 + 2 E + 2)``, whose derivatives by
E are at most 0.51 and 1.01 for E in [0, 1]; times 8 units of E that is 8.1; roundings of numerator and rest count at most a
quarter each, those of the denominator and of the quotient one unit each.

``erf``: Taylor's series around the nearest multiple of 1/16, from a table that is computed with 40 decimal digits. By Cramer's
inequality ``|H_n(x)| exp(-x^2) <= 1.09 * 2^(n/2) sqrt(n!)``, so that what follows degree 10 is below 1e-19. The table's value,
the last addition and the rest (at most 1.13/32 times four roundings each) are below 3 units; beyond 6, ``1 - erf < 0.2`` unit.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

EXP_ERROR = 8.0  # relative
TANH_ERROR = 8.0
LOGISTIC_ERROR = 6.0
ERF_ERROR = 4.0
SATURATION_ERROR = 10.0
SOFTSIGN_ERROR = 3.0
MISH_GATE_ERROR = 13.0
SLOPE_ERROR = 32.0  # of 1 - t^2, s (1 - s) and 2 / sqrt(pi) exp(-x^2), computed from these

_INVERSE_LOG = 1.4426950408889634
_LOG_HIGH = float.fromhex("0x1.62e42feep-1")  # ln 2 to 32 bits: times an integer below 2^21 it is exact
_LOG_LOW = float.fromhex("0x1.a39ef35793c76p-33")  # the rest
_DEGREE = 13
_STEP, _LARGEST, _TERMS = 16, 6, 11  # of the table of erf: nodes in a unit, where it ends, coefficients of each node


def exp(x: Array) -> Array:
    """``e^x`` with a relative error below :data:`EXP_ERROR` units, beside an underflow; infinite above 709."""
    x = np.clip(x, -1000.0, 710.0)
    k = np.rint(x * _INVERSE_LOG)
    r = (x - k * _LOG_HIGH) - k * _LOG_LOW
    y = np.full_like(r, 1.0 / _DEGREE)
    for n in range(_DEGREE - 1, 0, -1):
        y = (1.0 + r * y) / n  # 1/n (1 + r (1/(n+1) + ...)): the first 1/n! of each term is a chain of divisions
    y = 1.0 + r * y
    with np.errstate(over="ignore"):
        return np.ldexp(y, k.astype(np.int32))


def tanh(x: Array) -> Array:
    """``tanh(x)``, with an error below :data:`TANH_ERROR` units."""
    e = exp(-2.0 * np.abs(x))
    return np.copysign((1.0 - e) / (1.0 + e), x)


def logistic(x: Array) -> Array:
    """``1 / (1 + exp(-x))``, with an error below :data:`LOGISTIC_ERROR` units."""
    e = exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def saturation(x: Array) -> Array:
    """``1 - exp(-x)`` of numbers that are not negative, with an error below :data:`SATURATION_ERROR` units."""
    return 1.0 - exp(-x)


def softsign(x: Array) -> Array:
    """``x / (1 + |x|)``, with an error below :data:`SOFTSIGN_ERROR` units."""
    return x / (1.0 + np.abs(x))


def mish_gate(x: Array) -> Array:
    """``tanh(log(1 + exp(x)))``, with an error below :data:`MISH_GATE_ERROR` units."""
    e = exp(-np.abs(x))
    up = np.where(x >= 0, 1.0 + 2.0 * e, e * (e + 2.0))
    return up / (up + np.where(x >= 0, 2.0 * e * e, 2.0))


def erf(x: Array) -> Array:
    """``erf(x)``, with an error below :data:`ERF_ERROR` units."""
    size = np.minimum(np.abs(x), float(_LARGEST))
    node = np.rint(size * _STEP)
    table = _table()[node.astype(np.intp)]
    h = size - node / _STEP  # exact
    y = table[..., _TERMS - 1]
    for n in range(_TERMS - 2, -1, -1):
        y = table[..., n] + h * y
    return np.copysign(np.where(np.abs(x) >= _LARGEST, 1.0, y), x)


def erf_slope(x: Array) -> Array:
    """``2 / sqrt(pi) exp(-x^2)``, with an error below :data:`SLOPE_ERROR` units."""
    return 1.1283791670955126 * exp(-x * x)


@cache
def _table() -> Array:
    """Taylor's coefficients of erf at the nodes ``k / 16``: ``(97, 11)``."""
    with localcontext() as context:
        context.prec = 50
        pi = Decimal("3.14159265358979323846264338327950288419716939937510")
        front = 2 / pi.sqrt()
        rows = [[float(c) for c in _taylor(Decimal(k) / _STEP, front)] for k in range(_STEP * _LARGEST + 1)]
    table = np.array(rows)
    table.flags.writeable = False
    return table


def _taylor(x: Decimal, front: Decimal) -> list[Decimal]:
    """``erf^(n)(x) / n!``: erf by its series of positive terms, then ``g = exp(-x^2)``, ``g^(n+1) = -2 x g^(n) - 2 n g^(n-1)``."""
    g = (-x * x).exp()
    term = total = x
    n = 0
    while abs(term) > Decimal(10) ** -45:
        n += 1
        term = term * 2 * x * x / (2 * n + 1)
        total += term
    coefficients, before, now, factorial = [front * g * total], Decimal(0), g, Decimal(1)
    for n in range(1, _TERMS):
        factorial *= n
        coefficients.append(front * now / factorial)
        before, now = now, -2 * x * now - 2 * (n - 1) * before
    return coefficients
