"""Arrays of balls: numbers with a rigorous error bound, their derivatives, and the rounding of any computer.

A :class:`Ball` is an array of Arb balls (midpoint and radius; the true value is inside, always). It can carry the
derivative by d variables, so that an interval Jacobian comes with the value. And it can follow a *rounding
model*: after every operation the ball grows by what any IEEE machine may have rounded there, whatever the order of
a sum and whether or not products are fused. So one set of rules gives proofs about the real network and bounds on
every floating-point evaluation of it.

Source: Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval arithmetic" (2017); sums: Higham,
"Accuracy and Stability of Numerical Algorithms", section 4.2, valid for any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb

Objects = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rounding:
    """What a floating-point machine may do at each operation.

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


class Ball:
    """An array of balls, optionally with derivatives ``(..., d)`` and a rounding model.

    Args:
        value: object array of ``arb``.
        grad: object array of ``arb``, one more axis; None for a constant.
        rounding: None for exact real arithmetic.
    """

    __slots__ = ("grad", "rounding", "value")

    def __init__(self, value: Objects, grad: Objects | None = None, rounding: Rounding | None = None) -> None:
        self.value, self.grad, self.rounding = value, grad, rounding

    @staticmethod
    def exact(numbers: np.ndarray[Any, Any], rounding: Rounding | None = None) -> Ball:
        """Floating-point numbers, which are exact."""
        return Ball(objects(numbers), None, rounding)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def _like(self, value: Objects, grad: Objects | None, other: Ball | None = None, error: float = 1.0) -> Ball:
        rounding = self.rounding or (other.rounding if other is not None else None)
        if rounding is not None and error:
            value = _grow(value, error * rounding.unit, rounding.tiny)
        return Ball(value, grad, rounding)

    # -- shapes -------------------------------------------------------------------------------------------------

    def reshape(self, *shape: int) -> Ball:
        grad = None if self.grad is None else self.grad.reshape(*shape, self.grad.shape[-1])
        return Ball(self.value.reshape(*shape), grad, self.rounding)

    def move(self, order: tuple[int, ...]) -> Ball:
        """Transpose."""
        grad = None if self.grad is None else self.grad.transpose(*order, self.grad.ndim - 1)
        return Ball(self.value.transpose(order), grad, self.rounding)

    def __getitem__(self, key: Any) -> Ball:
        key = key if isinstance(key, tuple) else (key,)
        full = key if any(k is Ellipsis for k in key) else (*key, Ellipsis)
        grad = None if self.grad is None else self.grad[(*full, slice(None))]
        return Ball(np.asarray(self.value[full], dtype=object), grad, self.rounding)

    # -- arithmetic ---------------------------------------------------------------------------------------------

    def __add__(self, other: Ball) -> Ball:
        value = self.value + other.value
        if self.grad is None and other.grad is None:
            return self._like(value, None, other)
        left, right = (_spread(g, b.shape, value.shape) for g, b in ((self.grad, self), (other.grad, other)))
        grad = left if right is None else (right if left is None else left + right)
        return self._like(value, grad, other)

    def __neg__(self) -> Ball:
        return Ball(-self.value, None if self.grad is None else -self.grad, self.rounding)

    def __sub__(self, other: Ball) -> Ball:
        return self + (-other)

    def __mul__(self, other: Ball) -> Ball:
        value = self.value * other.value
        grad = None
        for a, b in ((self, other), (other, self)):
            if a.grad is not None:
                part = _spread(a.grad, a.shape, value.shape) * np.broadcast_to(b.value, value.shape)[..., None]
                grad = part if grad is None else grad + part
        return self._like(value, grad, other)

    def scale(self, factor: Any) -> Ball:
        """Multiply by one exact number, rounding once."""
        return self._like(self.value * factor, None if self.grad is None else self.grad * factor)

    def map(self, f: Callable[[arb], arb], derivative: Callable[[arb], arb], *, error: float | None = None) -> Ball:
        """An elementary function with its derivative. ``error``: relative, in units of u; by default the model's."""
        grad = None
        if self.grad is not None:
            grad = _each(derivative, self.value)[..., None] * self.grad
        if error is None:
            error = 2 * self.rounding.ulps if self.rounding is not None else 0.0
        return self._like(_each(f, self.value), grad, error=error)

    def sum(self, axis: int) -> Ball:
        """Sum along one axis: the rounding bound holds for every order of summation."""
        axis = axis % self.value.ndim
        grad = None if self.grad is None else self.grad.sum(axis=axis)
        value = np.asarray(self.value.sum(axis=axis), dtype=object)
        if self.rounding is not None:
            terms = self.shape[axis]
            unit = (terms - 1) * self.rounding.unit
            bound = np.asarray(_each(_magnitude, self.value).sum(axis=axis), dtype=object) * (unit / (1 - unit))
            value = _widen(value, bound)
        return Ball(value, grad, self.rounding)

    def mean(self, axis: int) -> Ball:
        """Sum, then one division."""
        return self.sum(axis).map(lambda x: x / self.shape[axis], lambda _: arb(1) / self.shape[axis], error=1.0)

    def keep(self, axis: int) -> Ball:
        """Put back an axis of length one."""
        axis = axis % (self.value.ndim + 1)
        grad = None if self.grad is None else np.expand_dims(self.grad, axis)
        return Ball(np.expand_dims(self.value, axis), grad, self.rounding)

    def contract(self, other: Ball) -> Ball:
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
        if rounding is not None:
            unit = x.shape[-1] * rounding.unit  # n products and n - 1 sums: gamma_n, fused or not
            bound = np.dot(_each(_magnitude, x), _each(_magnitude, w).T) * (unit / (1 - unit))
            value = _widen(value, np.asarray(bound, dtype=object) + rounding.tiny * x.shape[-1])
        return Ball(value, grad, rounding)


def stack(balls: list[Ball], axis: int = 0) -> Ball:
    """Join along a new axis."""
    d = next((b.grad.shape[-1] for b in balls if b.grad is not None), 0)
    axis = axis % (balls[0].value.ndim + 1)
    grad = None
    if d:
        parts = [b.grad if b.grad is not None else objects(np.zeros((*b.shape, d))) for b in balls]
        grad = np.stack(parts, axis)
    return Ball(np.stack([b.value for b in balls], axis), grad, balls[0].rounding)


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
