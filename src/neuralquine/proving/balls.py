"""The operations of a network on balls, each with the largest rounding of any implementation.

These are the same operations that ``keeping/onnx/values.py`` writes as nodes of a graph, so that one table of rules
(``rules/``) serves a proof and an export. How far implementations may differ is said here, in units u of the
rounding model: ``affine``, ``softmax``, ``divide_by_root`` and ``batch_norm`` allow for more than one way to compute.
"""

from __future__ import annotations

from functools import reduce
from typing import Self

import numpy as np
from flint import arb

from .arrays import BallArray, Objects, Rounding, objects
from .normalization import normalized
from .reals import Real, Reals

__all__ = ["Ball", "Objects", "Rounding", "objects"]

# Relative errors in units of round-off, each with room to spare over the roundings that can be counted.
_ROOT = 8.0  # a division by a square root: at once, in two factors, before or after a product
_REAL = 4.0  # a product with a constant that is itself computed: four roundings of sqrt(2 / pi), and of a decimal one
_INVERSE_ROOT = 4.0  # 1 / sqrt(v): the root (2 units) and the division, and one for a reciprocal root at once
_FOLDED = 16.0  # batch normalization as x * a + b with a and b computed first: at most 9 roundings of any term


class Ball(BallArray):
    """An array of balls with the operations of a network."""

    __slots__ = ()

    # -- elementary functions -------------------------------------------------------------------------------------------

    def tanh(self) -> Self:
        def slope(v: arb) -> arb:
            t = v.tanh()
            return 1 - t * t  # not t ** 2: a power of a ball around zero is NaN

        return self.map(arb.tanh, slope)

    def sigmoid(self) -> Self:
        """``1 / (1 + exp(-x))``, whether computed by exp, by tanh or at once: two functions and two operations."""
        error = 0.0 if self.rounding is None else 4 * self.rounding.ulps + 2
        return self.map(_sigmoid, lambda v: _sigmoid(v) * (1 - _sigmoid(v)), error=error)

    def relu(self) -> Self:
        """``max(x, 0)``, which no machine rounds; the derivative at 0 is anything from 0 to 1."""

        def f(v: arb) -> arb:
            return v if v > 0 else (arb(0) if v <= 0 else arb(0).union(arb(v.upper())))

        def slope(v: arb) -> arb:
            return arb(1) if v > 0 else (arb(0) if v < 0 else arb(0).union(arb(1)))

        return self.map(f, slope, error=0.0)

    def erf(self) -> Self:
        density = 2 / arb.pi().sqrt()
        return self.map(arb.erf, lambda v: density * (-v * v).exp())

    def saturation(self) -> Self:
        """``1 - exp(-x)``, whether computed at once, as ``expm1``, or as it is written: an error of units of 1."""
        y = self.map(lambda v: 1 - (-v).exp(), lambda v: (-v).exp(), error=0.0)
        if self.rounding is None:
            return y
        return y.widened(objects(np.full(self.shape, (2 * self.rounding.ulps + 1) * self.rounding.unit)))

    def softsign(self) -> Self:
        """``x / (1 + |x|)``: a sum and a division."""
        error = 0.0 if self.rounding is None else 3.0
        return self.map(lambda v: v / (1 + abs(v)), lambda v: 1 / ((1 + abs(v)) * (1 + abs(v))), error=error)

    def mish_gate(self) -> Self:
        """``tanh(log(1 + exp(x)))``: three functions, none of which makes the relative error of what it is given larger."""

        def slope(v: arb) -> arb:
            t = _mish_gate(v)
            return (1 - t * t) * _sigmoid(v)

        error = 0.0 if self.rounding is None else 6 * self.rounding.ulps + 1
        return self.map(_mish_gate, slope, error=error)

    # -- products with constants ----------------------------------------------------------------------------------------

    def scale(self, factor: float | Real) -> Self:
        """Multiply by one number: a float, which is exact, or a real one, which a machine has rounded."""
        exact, error = (factor.exact(), _REAL) if isinstance(factor, Real) else (arb(factor), 1.0)
        return self._rounded(self.value * exact, None if self.grad is None else self.grad * exact, error=error)

    def divide_by_root(self, n: int) -> Self:
        """``x / sqrt(n)``."""
        root = arb(n).sqrt()
        return self.map(lambda v: v / root, lambda _: 1 / root, error=_ROOT)

    # -- layers ---------------------------------------------------------------------------------------------------------

    def affine(self, weight: Self, bias: Self | None = None) -> Self:
        """``x W^T + b`` over the last axis. The bias may have been the first term of the sum: every rounding counts it."""
        y = self.contract(weight)
        if bias is None:
            return y
        if bias.rounding is not None:
            unit = (self.shape[-1] + 1) * bias.rounding.unit
            bias = bias.widened(np.array([b.abs_upper() * unit for b in bias.value.flat], dtype=object))
        return y + bias

    def softmax(self, seen: np.ndarray | None = None) -> Self:
        """Softmax over the last axis; entries that ``seen``, a mask of the last axes, leaves out are exactly zero."""
        # Any shift cancels; the midpoint of the largest entry is exact, as the computed maximum is.
        mask = np.broadcast_to(True if seen is None else seen, self.shape)
        rows = zip(self.value.reshape(-1, self.shape[-1]), mask.reshape(-1, self.shape[-1]), strict=True)
        top = [max((arb(v.mid()) for v, s in zip(*row, strict=True) if s), key=float) for row in rows]
        shifted = self - type(self)(np.array(top, dtype=object).reshape(*self.shape[:-1], 1))
        powers = shifted.map(arb.exp, arb.exp)._where(mask)
        inverse = powers.sum().map(lambda v: 1 / v, lambda v: -1 / (v * v), error=1.0)
        return (powers * inverse)._where(mask)

    def _where(self, mask: np.ndarray) -> Self:
        grad = None if self.grad is None else np.where(mask[..., None], self.grad, objects(np.zeros(1)))
        return self._new(np.where(mask, self.value, objects(np.zeros(1))), grad)

    def normalize(self, eps: float) -> Self:
        """``(x - mean) / sqrt(var + eps)`` over the last axis, biased variance in one pass or in two."""
        return normalized(self, eps)

    def batch_norm(self, mean: Self, variance: Self, weight: Self | None, bias: Self | None, eps: float) -> Self:
        """``(x - mean) / sqrt(var + eps) * weight + bias``, with shapes that broadcast; folded or not."""
        inverse = (variance + eps).map(lambda v: 1 / v.sqrt(), lambda v: -1 / (2 * v * v.sqrt()), error=_INVERSE_ROOT)
        slope = inverse if weight is None else inverse * weight
        y = (self - mean) * inverse
        y = y if weight is None else y * weight
        y = y if bias is None else y + bias
        if self.rounding is None:
            return y
        size, middle, steep = (np.abs(part.value) for part in (self, mean, slope))
        reach = (size + middle) * steep + (0 if bias is None else np.abs(bias.value))
        return y.widened(reach * (_FOLDED * self.rounding.unit))

    def largest(self) -> Self:
        """The largest over the last axis, which goes; its derivative is that of any entry that may be the largest."""
        rows = self.value.reshape(-1, self.shape[-1])
        best = [reduce(arb.max, row[1:], row[0]) for row in rows]
        value = np.array(best, dtype=object).reshape(self.shape[:-1])
        if self.grad is None:
            return self._new(value, None)
        slopes = self.grad.reshape(*rows.shape, -1)
        grad = [
            reduce(np.frompyfunc(arb.union, 2, 1), [g for v, g in zip(*pair, strict=True) if not v < top])
            for *pair, top in zip(rows, slopes, best, strict=True)
        ]
        return self._new(value, np.array(grad, dtype=object).reshape(*self.shape[:-1], -1))

    def to_grid(self) -> Self:
        """Nothing: balls know no grid of activations."""
        return self

    # -- moving numbers about ---------------------------------------------------------------------------------------

    def cut(self, axis: int, start: int, stop: int) -> Self:
        """The stretch ``start .. stop`` of one axis, counted from the front."""
        axis = axis % self.value.ndim
        if stop > self.shape[axis]:
            raise ValueError(f"an axis of {self.shape[axis]} has no element {stop - 1}")
        return self[(*(slice(None),) * axis, slice(start, stop))]

    def windows(self, index: np.ndarray) -> Self:
        """The columns of a matrix that ``index`` names, ``(rows, *index.shape)``; one past the last column is zero."""
        zero = type(self)(objects(np.zeros((self.shape[0], 1))), None, self.rounding)
        return self.concat([self, zero], 1)[:, index]

    def lookup(self, places: Self) -> Self:
        """The rows of a table that whole numbers name."""
        index = np.array([int(v.unique_fmpz()) for v in places.value.flat], dtype=np.int64).reshape(places.shape)
        if index.size and not 0 <= index.min() <= index.max() < self.shape[0]:
            raise ValueError(f"a table of {self.shape[0]} rows is asked for row {index.max()} or {index.min()}")
        return self[index]

    def zeros(self, *shape: int) -> Self:
        """Exact zeros that follow the same rounding model."""
        return type(self)(objects(np.zeros(shape)), None, self.rounding)

    def constant(self, numbers: Reals) -> Self:
        """Real numbers that a machine computes for itself, each to so many units."""
        exact = type(self)(numbers.exact(), None, self.rounding)
        if self.rounding is None:
            return exact
        return exact.widened(objects(numbers.within * self.rounding.unit))


def _sigmoid(v: arb) -> arb:
    return 1 / (1 + (-v).exp())


def _mish_gate(v: arb) -> arb:
    """Grows with v, so that its values at the ends enclose all between them."""

    def at(x: arb) -> arb:
        e = x.exp()
        return 1 - 2 / ((1 + e) * (1 + e) + 1)

    return at(arb(v.lower())).union(at(arb(v.upper())))
