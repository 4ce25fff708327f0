"""Numbers with a bound on what any machine may hold in their place.

``value`` is computed once, in float64. ``radius`` bounds ``|w - value|`` for every ``w`` that the same network can hold
there: in exact real arithmetic, or in IEEE arithmetic of the machine's unit, with sums in any order, products fused or
not, subnormal numbers flushed to zero or not, and elementary functions off by four ulp. So the bound of one operation has
two parts, the machine's rounding and this computation's own: ``units * (u + 2^-53) * size``.

Nothing is charged where nothing is rounded: a sum is exact in any order while all its terms together, in units of the
last place that any of them uses, stay below the mantissa. A network whose activations are rounded to a grid
(:meth:`Bounded.to_grid`) loses its radii there, unless a value lies so near a boundary that it could round either way.

No rounding mode is switched. A radius is made of sums, products, quotients and roots of non-negative numbers, in fewer
than 2^20 operations each time, so that a factor of ``1 + 2^-30`` pays for its own rounding. Every value and every radius is
finite, or nothing is claimed.

Sources: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 4.2: the error of a sum of n terms is at
most ``n u / (1 - n u)`` times the sum of their sizes, in any order.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..reals import Real
from ..verdicts import NotProved
from .held import FLUSHED, OWN, SLACK, ULPS, Floats, Held

# Roundings, each of a unit at most, with room to spare over those that can be counted.
_ROOT = 8.0  # x / sqrt(n), by a division, by a product with a reciprocal, before or after another product
_CONSTANT = 4.0  # a product with a constant that is itself rounded or computed, such as sqrt(2 / pi)
_FOLDED = 24.0  # batch normalization, where x * a + b has a and b computed first


class Bounded(Held):
    """An array of such numbers, with the operations of a network (``rules/common.py``)."""

    __slots__ = ()

    def _computed(
        self, value: Floats, spread: Floats | float, size: Floats | float, units: float, kept: Any = False
    ) -> Self:
        """The result of an operation.

        Args:
            value: as it was computed here.
            spread: how far the operands' radii move the exact result.
            size: of what is rounded.
            units: how many roundings there are, each of at most a unit of this size.
            kept: where nothing is rounded, on any machine.
        """
        local = self.machine.share(units) * size + units * (self.machine.tiny + FLUSHED)
        radius = (spread + np.where(kept, 0.0, local)) * SLACK
        return type(self)(value, np.asarray(radius), self.machine)

    def to_grid(self) -> Self:
        """Rounded to the activations' grid, if there is one. Every machine holds the same, but near a boundary."""
        if self.machine.grid is None:
            return self
        scale = 2.0**self.machine.grid
        middle = np.rint(self.value * scale)
        if self.radius is None:
            return type(self)(middle / scale, None, self.machine)
        # The two ends are computed, too, and rounding keeps the order.
        radius = np.where(self.radius > 0, self.radius * SLACK + 2 * OWN * np.abs(self.value), 0.0)
        low, high = np.rint((self.value - radius) * scale), np.rint((self.value + radius) * scale)
        return type(self)(middle / scale, np.maximum(middle - low, high - middle) / scale, self.machine)

    # -- arithmetic -----------------------------------------------------------------------------------------------------

    def __add__(self, other: Self | float) -> Self:
        other = other if isinstance(other, Bounded) else type(self)(np.array([other]), None, self.machine)
        value, spread = self.value + other.value, self.reach + other.reach
        back = value - self.value
        lost = (self.value - (value - back)) + (other.value - back)  # of this sum, exactly
        kept = (lost == 0) & (spread == 0) & self._held(value) & self._normal(self.value) & self._normal(other.value)
        return self._computed(value, spread, np.abs(value) + spread, 1.0, kept)

    def _held(self, value: Floats) -> NDArray[np.bool_]:
        """Where the machine's type has these very numbers."""
        steps = np.frexp(value)[0] * 2.0**self.machine.bits
        return (steps == np.rint(steps)) & (np.abs(value) <= self.machine.largest) & self._normal(value)

    def _normal(self, value: Floats) -> NDArray[np.bool_]:
        """Where nothing can be flushed to zero."""
        return (np.abs(value) >= self.machine.tiny) | (value == 0)

    def __neg__(self) -> Self:
        return type(self)(-self.value, self.radius, self.machine)

    def __sub__(self, other: Self) -> Self:
        return self + (-other)

    def __mul__(self, other: Self) -> Self:
        value = self.value * other.value
        spread = np.abs(self.value) * other.reach + np.abs(other.value) * self.reach + self.reach * other.reach
        return self._computed(value, spread, np.abs(value) + spread, 1.0)

    def absolute(self) -> Self:
        """``|x|``."""
        return type(self)(np.abs(self.value), self.radius, self.machine)

    def scale(self, factor: float | Real) -> Self:
        """Multiply by one number, which a machine may have rounded to its type."""
        nearest = factor.nearest if isinstance(factor, Real) else float(factor)
        value, spread = self.value * nearest, abs(nearest) * self.reach
        kept = (abs(math.frexp(nearest)[0]) == 0.5) & (spread == 0) & self._held(value) & self._normal(self.value)
        return self._computed(value, spread, np.abs(value) + spread, _CONSTANT, kept)

    def divide_by_root(self, n: int) -> Self:
        """``x / sqrt(n)``."""
        root = math.sqrt(n)
        return self._function(self.value / root, (1 + 4 * OWN) / root, _ROOT)

    def _function(self, value: Floats, slope: float, units: float) -> Self:
        """An elementary function, whose derivative is nowhere above ``slope``."""
        spread = slope * self.reach
        return self._computed(value, spread, np.abs(value) + spread, units)

    def tanh(self) -> Self:
        return self._function(np.tanh(self.value), 1.0, 2 * ULPS)

    def sigmoid(self) -> Self:
        with np.errstate(over="ignore"):
            return self._function(1 / (1 + np.exp(-self.value)), 0.25, 4 * ULPS + 2)

    def relu(self) -> Self:
        """``max(x, 0)``, which no machine rounds."""
        dead = self.value + self.reach <= 0
        return type(self)(np.maximum(self.value, 0), np.where(dead, 0.0, self.reach), self.machine)

    def erf(self) -> Self:
        return self._function(np.vectorize(math.erf, otypes=[np.float64])(self.value), 1.13, 2 * ULPS)

    def saturation(self) -> Self:
        """``1 - exp(-x)`` of numbers that are not negative; where 1 is subtracted, a machine rounds relative to 1."""
        return self._computed(-np.expm1(-self.value), self.reach, 1.0, 2 * ULPS + 1)

    def softsign(self) -> Self:
        return self._function(self.value / (1 + np.abs(self.value)), 1.0, 3.0)

    def mish_gate(self) -> Self:
        return self._function(np.tanh(np.logaddexp(0.0, self.value)), 0.33, 6 * ULPS + 1)

    # -- sums -----------------------------------------------------------------------------------------------------------

    def affine(self, weight: Self, bias: Self | None = None) -> Self:
        """``x W^T + b`` over the last axis, the bias before, between or after the products."""
        y = self._product(weight.mT)
        if bias is None:
            return self._computed(*y)
        value, spread, size, units, kept = y
        value, spread, size = value + bias.value, spread + bias.reach, size + bias.size
        unit = min(self._unit(self.value) * self._unit(weight.value), self._unit(bias.value))
        kept = kept & (bias.reach == 0) & self._fits(size, unit)
        return self._computed(value, spread, size, units + 1, kept)

    def __matmul__(self, other: Self) -> Self:
        """Products of stacked matrices ``(..., n, k)`` and ``(..., k, m)`` of the same leading axes.

        In attention, machines scale one of them or both before: each term is rounded twice more, and no sum is exact.
        """
        value, spread, size, units, _ = self._product(other)
        return self._computed(value, spread, size, units + 2)

    def _product(self, other: Self) -> tuple[Floats, Floats, Floats, float, NDArray[np.bool_]]:
        """A product of matrices as :meth:`_computed` takes it."""
        value, left, right = self.value @ other.value, np.abs(self.value), np.abs(other.value)
        spread = np.zeros(value.shape)
        if self.radius is not None:
            spread = spread + self.radius @ (right + other.reach)
        if other.radius is not None:
            spread = spread + left @ other.radius
        size = left @ right * SLACK + spread
        unit = self._unit(self.value) * self._unit(other.value)
        return value, spread, size, float(self.shape[-1] + 1), (spread == 0) & self._fits(size, unit)

    def _unit(self, numbers: Floats) -> float:
        """The last place that any of these numbers uses; 0 where some could be flushed to zero."""
        place = _last_place(numbers)
        return place if place >= self.machine.tiny else 0.0

    def _fits(self, size: Floats, unit: float) -> NDArray[np.bool_]:
        """Where all terms of a sum, of these sizes together and in these units, fit the mantissa: then every order is exact."""
        held = (size <= self.machine.wide) & (unit >= self.machine.tiny)
        return held & (size < 2.0**self.machine.bits * unit)

    def mean(self) -> Self:
        """The mean over the last axis, which stays, of length one: a sum, then one division."""
        n = self.shape[-1]
        size = self.size.mean(-1, keepdims=True)
        return self._computed(self.value.mean(-1, keepdims=True), self.reach.mean(-1, keepdims=True), size, n + 1.0)

    def largest(self) -> Self:
        """The largest over the last axis, which goes."""
        return type(self)(self.value.max(-1), None if self.radius is None else self.radius.max(-1), self.machine)

    def softmax(self, seen: NDArray[np.bool_] | None = None) -> Self:
        """Softmax over the last axis; entries that ``seen``, a mask of the last axes, leaves out are exactly zero."""
        mask = np.broadcast_to(True if seen is None else seen, self.shape)
        shifted = self.value - np.where(mask, self.value, -np.inf).max(-1, keepdims=True)
        powers = np.where(mask, np.exp(np.where(mask, shifted, 0.0)), 0.0)
        value = powers / powers.sum(-1, keepdims=True)
        # p_i is a quotient: a shift of all exponents cancels, and two of them move against each other by 2 D at most.
        far = np.where(mask, self.reach, 0.0).max(-1, keepdims=True)
        wide = np.where(mask, np.abs(shifted), 0.0).max(-1, keepdims=True) + 2 * far
        units = 4 * wide + 4 * ULPS + 2 * self.shape[-1] + 8  # of two exponents, two powers, a sum and a division
        relative = np.expm1(2 * far + (self.machine.unit + OWN) * units * SLACK)
        radius = np.where(mask, value * (1 + 1e-9) * relative + 4 * (self.machine.tiny + FLUSHED), 0.0)
        return type(self)(value, radius * SLACK, self.machine)

    # -- normalizations -------------------------------------------------------------------------------------------------

    def normalize(self, eps: float) -> Self:
        """``(x - mean) / sqrt(var + eps)`` over the last axis, biased variance in one pass, in two, or updated number by number.

        With ``e`` the 2-norm of the radii, ``s`` the root and ``y`` the result: ``s`` falls by ``e / sqrt n`` at most, the
        derivative ``(I - 11^T / n - y y^T / n) / s`` has no norm above ``1 / s``, and row ``i`` of it moves ``y_i`` by no
        more than ``(r_i + mean r + |y_i| mean(|y| r)) / s``.
        """
        n, u = self.shape[-1], self.machine.unit + OWN
        centered = self.value - self.value.mean(-1, keepdims=True)
        root = np.sqrt((centered * centered).mean(-1, keepdims=True) + eps)
        y, r, size = centered / root, self.reach, self.size
        norm = np.sqrt((r * r).sum(-1, keepdims=True))
        least = root * (1 - 3e-3) - norm / math.sqrt(n)
        if not (least > 0).all():
            raise NotProved("no bound of round-off is known: a normalized row may be zero")
        moved = norm / least
        high = np.abs(y) + moved
        spread = np.minimum(moved, (r + r.mean(-1, keepdims=True) + high * (high * r).mean(-1, keepdims=True)) / least)
        # A mean is off by 2 (n + 4) u mean|x|, a variance by (20 n + 80) u mean(x^2), and the rest by 8 units: derived in
        # ``tubes/normal.py``.
        mean, moment = size.mean(-1, keepdims=True), (size * size).mean(-1, keepdims=True)
        off = ((20 * n + 80) * u * moment + n * (self.machine.tiny + FLUSHED)) / least**2 / 2
        if not (off < 1e-3).all():
            raise NotProved("no bound of round-off is known: a normalized row is small beside its mean")
        local = (u / least) * (2 * (n + 4) * mean + 2 * (size + mean)) + high * (1.01 * off + 8 * u)
        flushed = 4 * (self.machine.tiny + FLUSHED) * (1 + 1 / least)  # a difference of zero, too, is scaled
        radius = (spread + local + flushed) * SLACK
        return type(self)(y, radius, self.machine)

    def batch_norm(self, mean: Self, variance: Self, weight: Self | None, bias: Self | None, eps: float) -> Self:
        """``(x - mean) / sqrt(var + eps) * weight + bias``, with shapes that broadcast; folded or not."""
        if not ((variance.value >= 0) & (variance.value + eps > 0)).all() or any(
            p is not None and p.radius is not None for p in (mean, variance)
        ):
            raise NotProved("batch normalization by a variance that is not positive")
        slope = 1 / np.sqrt(variance.value + eps)
        slope = slope if weight is None else slope * weight.value
        if not np.abs(slope).max() <= self.machine.wide:
            raise NotProved("batch normalization by a variance that may be zero")
        value = (self.value - mean.value) * slope
        size = (self.size + mean.size) * np.abs(slope)
        if bias is not None:
            value, size = value + bias.value, size + bias.size
        size = size + (self.machine.tiny + FLUSHED) * np.abs(slope) / (self.machine.unit + OWN)  # a difference of zero
        return self._computed(value, self.reach * np.abs(slope) * (1 + 1e-12), size, _FOLDED)


def _last_place(numbers: Floats) -> float:
    """The largest power of two that all these numbers are whole multiples of; infinite where all are zero."""
    mantissa, exponent = np.frexp(numbers[numbers != 0])
    if not mantissa.size:
        return math.inf
    whole = np.abs(mantissa * 2.0**53).astype(np.int64)
    lowest = np.log2((whole & -whole).astype(np.float64))  # exact: a power of two
    return float(2.0 ** (lowest + exponent - 53).min())
