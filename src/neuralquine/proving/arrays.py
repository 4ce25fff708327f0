"""Arrays of balls: numbers with a rigorous error bound, their derivatives, and the rounding of any computer.

An array holds Arb balls (midpoint and radius; the true value always lies inside). It can carry the derivative by d
variables, so that an interval Jacobian comes with the value. And it can follow a *rounding model*: after every
operation the ball grows by what any IEEE machine may have rounded there, whatever the order of a sum and whether or
not products are fused. So one set of rules gives proofs about the real network and bounds on every floating-point
evaluation of it.

Source: Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval arithmetic" (2017); sums: Higham,
"Accuracy and Stability of Numerical Algorithms", section 4.2, valid for any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from flint import arb

Objects = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rounding:
    """The largest rounding errors of a floating-point machine at each operation.

    Attributes:
        unit: u = 2**-53 for float64: relative error of +, -, *, / and, doubled, of the square root.
        tiny: largest absolute error of an underflow.
        ulps: relative error of exp, tanh, erf and the like, in units of ``2 u``. 4 covers Sleef (1.0), glibc (below
            3) and CUDA's documented bounds (2).
    """

    unit: float
    tiny: float
    ulps: float = 4.0

    @staticmethod
    def of(dtype: str) -> Rounding:
        """The model of a type by name: float64 or float32."""
        return {"float64": Rounding(2.0**-53, 2.0**-1074), "float32": Rounding(2.0**-24, 2.0**-149)}[dtype]


class BallArray:
    """An array of balls, optionally with derivatives ``(..., d)`` and a rounding model.

    Args:
        value: object array of ``arb``.
        grad: object array of ``arb``, one more axis; None for a constant.
        rounding: the rounding model; None for exact real arithmetic.
    """

    __slots__ = ("grad", "rounding", "value")

    def __init__(self, value: Objects, grad: Objects | None = None, rounding: Rounding | None = None) -> None:
        self.value, self.grad, self.rounding = value, grad, rounding

    @classmethod
    def exact(cls, numbers: np.ndarray[Any, Any], rounding: Rounding | None = None) -> Self:
        """Floating-point numbers, which are exact."""
        return cls(objects(numbers), None, rounding)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def _new(self, value: Objects, grad: Objects | None) -> Self:
        return type(self)(value, grad, self.rounding)

    def _rounded(
        self, value: Objects, grad: Objects | None, other: BallArray | None = None, error: float = 1.0
    ) -> Self:
        """A result that a machine rounded, with a relative error of ``error`` units."""
        rounding = self.rounding or (other.rounding if other is not None else None)
        if rounding is not None and error:
            value = _grow(value, error * rounding.unit, rounding.tiny)
        return type(self)(value, grad, rounding)

    def widened(self, bounds: Objects) -> Self:
        """The same array with every radius larger by an absolute bound."""
        return self._new(_widen(self.value, bounds), self.grad)

    def _constant(self, number: Any) -> Self:
        """One exact number that any shape can be combined with."""
        return type(self)(np.array([arb(number)], dtype=object))

    # -- shapes -------------------------------------------------------------------------------------------------

    def reshape(self, *shape: int) -> Self:
        grad = None if self.grad is None else self.grad.reshape(*self.value.reshape(*shape).shape, self.grad.shape[-1])
        return self._new(self.value.reshape(*shape), grad)

    def move(self, *order: int) -> Self:
        """The axes in another order."""
        grad = None if self.grad is None else self.grad.transpose(*order, self.grad.ndim - 1)
        return self._new(self.value.transpose(order), grad)

    @property
    def mT(self) -> Self:  # noqa: N802 - as torch and numpy call it
        """The last two axes exchanged."""
        *first, last, previous = range(self.value.ndim)
        return self.move(*first, previous, last)

    def __getitem__(self, key: Any) -> Self:
        key = key if isinstance(key, tuple) else (key,)
        full = key if any(k is Ellipsis for k in key) else (*key, Ellipsis)
        grad = None if self.grad is None else self.grad[(*full, slice(None))]
        return self._new(np.asarray(self.value[full], dtype=object), grad)

    @classmethod
    def concat(cls, arrays: Sequence[Self], axis: int = 0) -> Self:
        """The arrays one after the other along an axis that they have."""
        axis = axis % arrays[0].value.ndim
        d = next((a.grad.shape[-1] for a in arrays if a.grad is not None), 0)
        parts = [a.grad if a.grad is not None else objects(np.zeros((*a.shape, d))) for a in arrays] if d else []
        grad = np.concatenate(parts, axis) if d else None
        return cls(np.concatenate([a.value for a in arrays], axis), grad, arrays[0].rounding)

    # -- arithmetic ---------------------------------------------------------------------------------------------

    def __add__(self, other: Self | float) -> Self:
        other = other if isinstance(other, BallArray) else self._constant(other)
        value = self.value + other.value
        if self.grad is None and other.grad is None:
            return self._rounded(value, None, other)
        left, right = (_spread(g, b.shape, value.shape) for g, b in ((self.grad, self), (other.grad, other)))
        grad = left if right is None else (right if left is None else left + right)
        return self._rounded(value, grad, other)

    def __neg__(self) -> Self:
        return self._new(-self.value, None if self.grad is None else -self.grad)

    def __sub__(self, other: Self) -> Self:
        return self + (-other)

    def __mul__(self, other: Self) -> Self:
        value = self.value * other.value
        grad = None
        for a, b in ((self, other), (other, self)):
            if a.grad is not None:
                part = _spread(a.grad, a.shape, value.shape) * np.broadcast_to(b.value, value.shape)[..., None]
                grad = part if grad is None else grad + part
        return self._rounded(value, grad, other)

    def map(self, f: Callable[[arb], arb], derivative: Callable[[arb], arb], *, error: float | None = None) -> Self:
        """An elementary function with its derivative. ``error``: relative, in units of u; by default the model's."""
        grad = None
        if self.grad is not None:
            grad = _each(derivative, self.value)[..., None] * self.grad
        if error is None:
            error = 2 * self.rounding.ulps if self.rounding is not None else 0.0
        return self._rounded(_each(f, self.value), grad, error=error)

    def sum(self) -> Self:
        """The sum over the last axis, which stays, of length one: the bound holds for every order of summation."""
        grad = None if self.grad is None else self.grad.sum(axis=-2, keepdims=True)
        value = np.asarray(self.value.sum(axis=-1, keepdims=True), dtype=object)
        total = self._new(value, grad)
        if self.rounding is None:
            return total
        unit = np.maximum(_terms(self.value) - 1, 0) * self.rounding.unit
        return total.widened(_each(_magnitude, self.value).sum(axis=-1, keepdims=True) * (unit / (1 - unit)))

    def mean(self) -> Self:
        """The mean over the last axis, which stays, of length one: a sum, then one division."""
        n = self.shape[-1]
        return self.sum().map(lambda x: x / n, lambda _: arb(1) / n, error=1.0)

    def contract(self, other: Self) -> Self:
        """``y[..., o] = sum_i x[..., i] w[o, i]`` for ``x`` = self and ``w`` = other, sums in any order."""
        x, w = self.value, other.value
        value = np.asarray(np.dot(x, w.T), dtype=object)
        grad = None
        if other.grad is not None:
            grad = np.tensordot(x, other.grad, axes=([x.ndim - 1], [1]))
        if self.grad is not None:
            moved = np.moveaxis(self.grad, -2, -1)  # (..., d, i)
            part = np.moveaxis(np.dot(moved, w.T), -1, -2)  # (..., o, d)
            grad = part if grad is None else grad + part
        rounding = self.rounding or other.rounding
        product = type(self)(value, grad, rounding)
        if rounding is None:
            return product
        terms = _terms(x)
        unit = terms * rounding.unit  # n products and n - 1 sums: gamma_n, fused or not
        bound = np.dot(_each(_magnitude, x), _each(_magnitude, w).T) * (unit / (1 - unit))
        return product.widened(np.asarray(bound, dtype=object) + rounding.tiny * terms)

    def __matmul__(self, other: Self) -> Self:
        """Products of stacked matrices ``(..., n, k)`` and ``(..., k, m)`` of the same leading axes."""
        if self.shape[:-2] != other.shape[:-2]:
            raise ValueError(f"stacks of matrices differ: {self.shape}, {other.shape}")
        left, right = (a.reshape(-1, *a.shape[-2:]) for a in (self, other.mT))
        products = [left[i].contract(right[i]) for i in range(left.shape[0])]
        return self.concat(products).reshape(*self.shape[:-1], other.shape[-1])


def objects(numbers: np.ndarray[Any, Any]) -> Objects:
    """Floating-point numbers as exact balls."""
    numbers = np.asarray(numbers)
    out = np.empty(numbers.shape, dtype=object)
    flat = out.reshape(-1)
    for i, x in enumerate(numbers.reshape(-1).tolist()):
        flat[i] = arb(x)
    return out


def _each(f: Callable[[arb], arb], values: Objects) -> Objects:
    out = np.empty(values.shape, dtype=object)
    flat, source = out.reshape(-1), values.reshape(-1)
    for i in range(len(source)):
        flat[i] = f(source[i])
    return out


def _magnitude(x: arb) -> arb:
    return arb(x.abs_upper())


def _terms(values: Objects) -> np.ndarray[Any, Any]:
    """The number of terms over the last axis, which stays, that are not exactly zero: only those are ever rounded."""
    zeros = np.fromiter((v.is_zero() for v in values.reshape(-1)), bool, values.size).reshape(values.shape)
    return (~zeros).sum(axis=-1, keepdims=True)


def _grow(values: Objects, relative: float, absolute: float) -> Objects:
    return _each(lambda x: x + arb(0, _magnitude(x) * relative + absolute), values)


def _widen(values: Objects, bounds: Objects) -> Objects:
    out = np.empty(values.shape, dtype=object)
    flat, source, radii = out.reshape(-1), values.reshape(-1), np.broadcast_to(bounds, values.shape).reshape(-1)
    for i in range(len(source)):
        flat[i] = source[i] + arb(0, _magnitude(radii[i]))
    return out


def _spread(grad: Objects | None, shape: tuple[int, ...], target: tuple[int, ...]) -> Objects | None:
    """Derivatives of a broadcast array."""
    if grad is None:
        return None
    padded = grad.reshape(*(1,) * (len(target) - len(shape)), *grad.shape)
    return np.broadcast_to(padded, (*target, grad.shape[-1]))
