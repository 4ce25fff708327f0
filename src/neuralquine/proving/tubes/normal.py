"""Normalizations: ``y = c / s``, ``s^2 = mean c^2 + eps`` of a row of n numbers, ``c = x - mean x``.

*Derivative.* ``s' = y.h / n`` and ``y' = (h - y (y.h) / n) / s`` along a centered direction h, so that ``|y'| <= |h| / s``: the
matrix ``I - y y^T / n`` has its eigenvalues in [0, 1]. Differentiated again, ``|y''| <= 3 |h|^2 / (sqrt(n) s^2)``, because
``|s'| <= |h| / sqrt(n)`` and ``|y| <= sqrt(n)``: the second order of an error of norm E is at most ``1.5 E^2 / (sqrt(n) s0^2)``,
with ``s0 = s - E / sqrt(n)`` below every s on the way.

*Roundings*, of an evaluation of unit u at a row w with ``m1 = mean |w|``, ``m2 = mean w^2``:

- the mean, in any order of summation, or updated with each number (Welford): ``dm = 2.1 (n + 4) u m1``. A sum and a division
  make ``(n + 1) u m1``. Updated, the k-th mean has an error of ``u |mean_k|`` and one of ``3 u |w_k - mean_(k-1)| / k``, which
  count ``k / n`` times in the end: together ``(n + 3 (2 + ln n)) u m1``.
- the variance: in two passes ``gamma_(n+4) (m2 + dm^2) + dm^2``; in one, ``mean w^2 - mean^2``, ``(n + 2) u m2 + 2 |mean| dm +
  dm^2 + 3 u m2`` with ``|mean| dm <= 2.1 (n + 4) u m2``; updated, ``n u`` of the variance, and twice ``2 dm`` times the mean distance
  of the numbers, at most ``2 sqrt(m2)``. ``(20 n + 80) u m2 + 2 dm^2`` is above all three.
- eps, the root, and a division, or a reciprocal root of up to two units in the last place and a product: 10 u of the result,
  and half the relative error of ``s^2``, 0.51 where that is below a hundredth.
- the numerator ``w - mean``: ``dm`` and one rounding; where the result is taken as ``w a + b`` with ``a = 1 / s``, ``b = -mean a``, in
  place of it, three of ``(|w| + |mean|) a``, which cancel no longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .machine import GROWTH, SMALLER, TINY, UNIT, Unbounded
from .node import Array, Node, norm

N = TypeVar("N", bound=Node)

_ROOT = 10.0  # units of eps, of a root and of a division or a reciprocal root
_CERTAIN = 0.01  # relative error of s^2 below which 0.51 of it bounds that of 1 / s
_FOLDED = 16.0  # batch normalization as x * a + b with a and b computed first: at most 9 roundings of any term


@dataclass(frozen=True)
class Run:
    """A normalization of given rows in float64, and how far it is off.

    Attributes:
        s, y: the deviation and the result.
        own: bound of the relative error of ``1 / s``.
        low: below the true deviation.
        off: bound of the error of y.
    """

    s: Array
    y: Array
    own: Array
    low: Array
    off: Array

    @staticmethod
    def of(v: Array, eps: float) -> Run:
        n = v.shape[-1]
        c = v - v.mean(-1, keepdims=True)
        s = np.sqrt((c * c).mean(-1, keepdims=True) + eps)
        y = c / s
        _, own = _roundings(np.abs(v), s * SMALLER, UNIT, TINY, n)
        low = s * (1 - 2 * own) * SMALLER
        off = difference(np.abs(v), np.abs(y), low, UNIT, TINY, n)
        return Run(s, y, own, low, difference(np.abs(v), np.abs(y) + off, low, UNIT, TINY, n))


def normalize(x: N, eps: float) -> N:
    """``(x - mean) / sqrt(var + eps)`` over the last axis, biased variance."""
    n, v = x.shape[-1], x.numbers
    if not x.reach.max(initial=0.0) <= x.tape.machine.wide:
        raise Unbounded("a normalization of numbers whose squares may overflow")
    run = Run.of(v, eps)
    s, y, own, low, off = run.s, run.y, run.own, run.low, run.off
    error = x.row[..., None]
    least = (low - error / np.sqrt(n) * GROWTH) * SMALLER  # below that of any evaluation
    if not (least > 0.05 * s).all():
        raise Unbounded("a normalization of numbers that are not certain to differ")
    size = np.abs(y) + off
    middle = x.radius.mean(-1, keepdims=True)
    product = (size * x.radius).sum(-1, keepdims=True)
    linear = (x.radius + middle + size * product / n) / low
    product, middle = np.minimum(product, norm(size)[..., None] * error), np.minimum(middle, error / np.sqrt(n))
    second = 1.5 * error * error / (np.sqrt(n) * least * least)
    through = (x.radius + middle + size * product / n) / low + second
    other = difference(x.reach, size + through, least, x.tape.machine.unit, x.tape.machine.lost, n)
    # The backward step takes this run's y and s: off by `off`, and by the share `own`.
    slope = (off * product + size * (off * x.radius).sum(-1, keepdims=True)) / (n * low)

    def pull(a: Array) -> tuple[Array]:
        flat = a - a.mean(-1, keepdims=True)
        return ((flat - y * (y * a).mean(-1, keepdims=True)) / s,)

    return x.derived(
        "normalize",
        y,
        (x,),
        pull,
        linear=linear,
        through=through,
        row=(error / least)[..., 0],
        local=off + other,
        second_rows=second[..., 0],
        rounded=2 * n + 12,
        slope=1.1 * slope + 4 * own * linear,
    )


def _roundings(size: Array, s: Array, unit: float, tiny: float, n: int) -> tuple[Array, Array]:
    """Bounds of the error of the mean, and of the relative error of 1 / s, of one evaluation of numbers up to ``size``."""
    m1, m2 = size.mean(-1, keepdims=True), (size * size).mean(-1, keepdims=True)
    mean = 2.1 * (n + 4) * unit * m1 + tiny
    square = ((20 * n + 80) * unit * m2 + 2 * mean * mean + 4 * tiny) / (s * s)
    if not square.max() < _CERTAIN:
        raise Unbounded("a normalization of numbers whose variance may lose every digit")
    return mean, 0.51 * square + _ROOT * unit


def difference(size: Array, y: Array, s: Array, unit: float, tiny: float, n: int) -> Array:
    """Bound of what one evaluation of numbers up to ``size`` with results up to ``y`` and deviations from s rounds."""
    mean, inverse = _roundings(size, s, unit, tiny, n)
    numerator = mean + 4 * unit * (size + size.mean(-1, keepdims=True) + mean)
    return 1.02 * numerator / s + y * inverse + 2 * tiny * (1 + 1 / s)


def batch_norm(x: N, mean: Node, variance: Node, weight: Node | None, bias: Node | None, eps: float) -> N:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` by frozen statistics, with shapes that broadcast; folded or not."""
    machine = x.tape.machine
    if not (variance.numbers >= 0).all():
        raise Unbounded("a batch normalization by a variance below zero")
    slope = 1 / np.sqrt(variance.numbers + eps) * (1.0 if weight is None else weight.numbers)
    value = (x.numbers - mean.numbers) * slope + (0.0 if bias is None else bias.numbers)
    steep = np.abs(slope) * (1 + 8 * UNIT)
    if not steep.max() <= machine.wide:
        raise Unbounded("a batch normalization by a variance that may be zero")
    reach = (x.reach + np.abs(mean.numbers)) * steep + (0.0 if bias is None else np.abs(bias.numbers))
    linear = np.broadcast_to(steep * x.radius, value.shape)
    return x.derived(
        "batch_norm",
        value,
        (x,),
        lambda a: (a * slope,),
        linear=linear,
        row=np.broadcast_to(steep, value.shape).max(-1) * x.row,
        local=_FOLDED * machine.both * reach + _FOLDED * machine.lost * (1 + steep),
        rounded=9,
    )
