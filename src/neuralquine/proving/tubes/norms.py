"""Upper bounds of spectral norms that hold for whatever a matrix product rounds."""

from __future__ import annotations

from math import sqrt

import numpy as np

from .machine import GROWTH, UNIT, gamma
from .node import Array, Node

_SQUARINGS = (
    4  # of the Gram matrix: the Frobenius norm of its 16th power is within r^(1/32) of the spectral norm, r its rank
)
_LARGEST = 1 << 24  # entries of a matrix up to which this pays; above, the Frobenius norm is taken
_SMALL = 1 << 18  # entries up to which it is done in float64
_LONG = 1 << 16  # numbers of a row that are added up in float32
_NARROW, _LOST = 2.0**-24, 2.0**-125  # unit of float32, and more than what an underflow of a square in it loses
_FLOOR = 1e-30  # of a matrix whose Frobenius norm is near 1: more than all underflows together


def norm_bound(weight: Node) -> float:
    """A bound of ``||W||_2`` of fixed weights; it is kept with their array."""
    known = weight.tape.norms
    key = weight.value.__array_interface__["data"][0], weight.shape, weight.value.strides
    if key not in known:  # the array is kept as well, so that no other one comes to lie at its place
        known[key] = (weight.value, spectral(weight.value))
    return known[key][1]


def frobenius(w: Array) -> float:
    """A bound of the Frobenius norm; of float32 numbers by sums of rows in their own type, of which the last digits are paid for."""
    if w.dtype != np.float32 or w.ndim != 2 or not 0 < w.shape[1] <= _LONG:
        w = np.asarray(w, np.float64).reshape(-1)
        return sqrt(float(w @ w)) * GROWTH
    squares = float(np.einsum("ij,ij->i", w, w).sum(dtype=np.float64))  # not finite where one overflows
    return sqrt(squares * (1 + gamma(w.shape[1] + 1, _NARROW)) + w.size * _LOST) * GROWTH


def spectral(w: Array, squarings: int = _SQUARINGS) -> float:
    """A bound of ``||W||_2``, at most some 5 % above it for matrices of a few hundred rows.

    ``G = W W^T`` is squared again and again, and divided by powers of two on the way. A computed product C of A and B is off by
    at most ``gamma_n |A||B|``, whose norm is at most ``gamma_n ||A||_F ||B||_F``: hence ``||A A^T|| <= ||C|| + gamma_n ||A||_F^2``
    in any order of summation, in float32 as well as in float64.
    """
    whole = frobenius(w)
    if min(w.shape) == 1 or w.size > _LARGEST or not 1e-30 < whole < 1e30:
        return whole
    kind, unit = (np.float64, UNIT) if w.size <= _SMALL or w.dtype != np.float32 else (np.float32, _NARROW)
    scale = 2.0 ** round(np.log2(whole))
    a = (w if w.shape[0] <= w.shape[1] else w.T) * kind(1 / scale)  # exact, but for underflows
    size = whole / scale
    steps: list[tuple[float, float]] = []
    for _ in range(squarings + 1):
        product = a @ a.T
        error = gamma(a.shape[1] + 2, unit) * size * size + _FLOOR
        size = frobenius(product)
        power = 2.0 ** round(np.log2(max(size, _FLOOR)))
        steps.append((error, power))
        product *= kind(1 / power)
        a, size = product, size / power
    bound = size
    for error, power in reversed(steps):
        bound = sqrt(bound * power + error) * GROWTH
    return min(bound * scale * GROWTH, whole)
