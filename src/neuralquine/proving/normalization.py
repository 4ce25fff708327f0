"""Instance normalization in balls, by its operations and by the mean value theorem; the narrower enclosure counts."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from flint import arb

from .arrays import BallArray, Objects

A = TypeVar("A", bound=BallArray)


def normalized(x: A, eps: float) -> A:
    """Instance normalization over the last axis.

    The variance may have been computed in one pass, as a difference of second moments, or in two; the bound
    covers both.
    """
    n = x.shape[-1]
    centered = x - x.mean()
    variance = (centered * centered).mean()
    if x.rounding is not None:
        slack = arb(4 * (n + 4) * x.rounding.unit)
        moment = [m.abs_upper() * slack for m in (x * x).mean().value.flat]
        variance = variance.widened(np.array(moment, dtype=object).reshape(variance.shape))
    inverse = (variance + eps).map(lambda v: 1 / v.sqrt(), lambda v: -1 / (2 * v * v.sqrt()), error=4.0)
    y = centered * inverse
    return y if x.rounding is None or x.grad is not None else _tightened(x, y, inverse, eps)


def _tightened(x: A, y: A, inverse: A, eps: float) -> A:
    """Instance normalization by the mean value theorem, which accounts for its entries moving together.

    ``dy_i/dx_j = ((i = j) - (1 + y_i y_j) / n) / s``: an input of radius r gives an output whose radius is the sum of
    ``r_j`` times the largest of these in the box y. The rounding errors are added: ``2 (n + 4) u mean|x|`` of a mean,
    ``(6 n + 30) u mean(x^2)`` of a variance in one pass or two, and 8 units of the rest.
    """
    assert x.rounding is not None
    n, u = x.shape[-1], x.rounding.unit
    rows = [b.value.reshape(-1, b.shape[-1]) for b in (x, y, inverse)]
    out = []
    for xs, ys, (scale,) in zip(*rows, strict=True):
        middle = normalized(type(x)(np.array([arb(v.mid()) for v in xs], dtype=object)), eps).value
        r, far, size = (np.array([float(v) for v in vs]) for vs in _reach(xs, ys, middle))
        at, top = np.array([float(v.mid()) for v in middle]), float(scale.abs_upper())
        slope = (np.abs(1 + np.outer(at, at)) + np.add.outer(far, far) * np.abs(at).max() + np.outer(far, far)) / n
        np.fill_diagonal(slope, np.abs(1 - (1 + at * at) / n) + (2 * np.abs(at) + far) * far / n)
        mean, moment, high = size.mean(), (size * size).mean(), np.abs(at) + far
        off = ((6 * n + 30) * u * moment + n * x.rounding.tiny) * top * top / 2
        local = top * u * (2 * (n + 4) * mean + 2 * (size + mean)) + high * (1.01 * off + 8 * u) + x.rounding.tiny
        radius = (top * (slope @ r) + local) * (1 + 1e-9)  # the last factor for the rounding of these very lines
        for m, v, e in zip(middle, ys, radius.tolist(), strict=True):
            new = m + arb(0, e) if off < 1e-3 and np.isfinite(e) else v
            out.append(new if new.rad() < v.rad() else v)
    return type(x)(np.array(out, dtype=object).reshape(y.shape), None, x.rounding)


def _reach(xs: Objects, ys: Objects, middle: Objects) -> tuple[list[arb], list[arb], list[arb]]:
    """For each row: its radii, the distance of the box y from the middle one, and the largest sizes."""
    return (
        [v.rad() for v in xs],
        [(v - m).abs_upper() for v, m in zip(ys, middle, strict=True)],
        [v.abs_upper() for v in xs],
    )
