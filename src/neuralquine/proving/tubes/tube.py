"""Tubes with the operations of a network, so that the rules of ``rules/`` run on them as on balls and on ONNX values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from ..reals import Real, Reals
from . import functions, layers, normal
from .machine import UNIT, Machine
from .node import Array, Node, Tape, norm

_ROOT = 8.0  # units of a division by a square root: at once, in two factors, before or after a product
_REAL = (
    4.0  # of a product with a constant that is itself computed: four roundings of sqrt(2 / pi), and of a decimal one
)


class Tube(Node):
    """An array of numbers with its tube and the operations of :class:`~neuralquine.proving.rules.common.Arithmetic`."""

    __slots__ = ()

    # -- arithmetic ---------------------------------------------------------------------------------------------------

    def __add__(self, other: Self | float) -> Self:
        return layers.add(self, other if isinstance(other, Node) else self.hold(np.array([float(other)])))

    def __sub__(self, other: Self) -> Self:
        return layers.add(self, layers.negate(other))

    def __mul__(self, other: Self) -> Self:
        return layers.multiply(self, other)

    def __neg__(self) -> Self:
        return layers.negate(self)

    def __matmul__(self, other: Self) -> Self:
        return layers.matmul(self, other)

    def scale(self, factor: float | Real) -> Self:
        if isinstance(factor, Real):
            return layers.times(self, factor.nearest, _REAL)
        power = abs(np.frexp(factor)[0]) == 0.5 and 2.0**-60 <= abs(factor) <= 2.0**60
        short = float(np.float32(factor)) == factor or self.tape.machine.unit <= 2.0**-53
        return layers.times(self, float(factor), 0.0 if power else (1.0 if short else 2.0))

    def divide_by_root(self, n: int) -> Self:
        return layers.times(self, 1 / float(np.sqrt(n)), _ROOT)

    def tanh(self) -> Self:
        return functions.smooth(self, functions.TANH)

    def sigmoid(self) -> Self:
        return functions.smooth(self, functions.LOGISTIC)

    def erf(self) -> Self:
        return functions.smooth(self, functions.ERF)

    def saturation(self) -> Self:
        return functions.smooth(self, functions.SATURATION)

    def softsign(self) -> Self:
        return functions.smooth(self, functions.SOFTSIGN)

    def mish_gate(self) -> Self:
        return functions.smooth(self, functions.MISH_GATE)

    def relu(self) -> Self:
        return functions.relu(self)

    def mean(self) -> Self:
        return layers.mean(self)

    def largest(self) -> Self:
        return functions.largest(self)

    def to_grid(self) -> Self:
        """Nothing: a network whose activations are rounded to a grid is proved by ``checker/``."""
        return self

    def softmax(self, seen: Array | None = None) -> Self:
        return layers.softmax(self, seen)

    def affine(self, weight: Self, bias: Self | None = None) -> Self:
        return layers.affine(self, weight, bias)

    def normalize(self, eps: float) -> Self:
        return normal.normalize(self, eps)

    def batch_norm(self, mean: Self, variance: Self, weight: Self | None, bias: Self | None, eps: float) -> Self:
        return normal.batch_norm(self, mean, variance, weight, bias, eps)

    # -- numbers that are given -----------------------------------------------------------------------------------------

    def zeros(self, *shape: int) -> Self:
        return self.hold(np.zeros(shape))

    def constant(self, numbers: Reals) -> Self:
        """Real numbers, which each evaluation has computed for itself."""
        machine = self.tape.machine
        units = numbers.within * machine.unit + UNIT * np.maximum(np.abs(numbers.nearest), 1.0) + machine.lost
        nothing = self.hold(numbers.nearest)
        return nothing.derived(
            "constant", numbers.nearest, (), lambda _: (), linear=np.zeros(numbers.nearest.shape), local=units
        )

    # -- moving numbers about -------------------------------------------------------------------------------------------

    def reshape(self, *shape: int) -> Self:
        value = self.value.reshape(*shape)
        if self.fixed:
            return self.hold(value)
        old = self.shape
        return self._moved(
            "reshape",
            value,
            lambda a: a.reshape(len(a), *old),
            self.radius.reshape(value.shape),
            _rows_reshaped(self.row, old, value.shape),
        )

    def move(self, *order: int) -> Self:
        value = self.value.transpose(order)
        if self.fixed:
            return self.hold(value)
        back = (0, *(int(i) + 1 for i in np.argsort(order)))
        row = self.row.transpose(order[:-1]) if order[-1] == len(order) - 1 else None
        return self._moved("move", value, lambda a: a.transpose(back), self.radius.transpose(order), row)

    @property
    def mT(self) -> Self:  # noqa: N802 - as torch and numpy call it
        *first, last, previous = range(self.value.ndim)
        return self.move(*first, previous, last)

    def cut(self, axis: int, start: int, stop: int) -> Self:
        axis = axis % self.value.ndim
        if stop > self.shape[axis]:
            raise ValueError(f"an axis of {self.shape[axis]} has no element {stop - 1}")
        key = (*(slice(None),) * axis, slice(start, stop))
        if self.fixed:
            return self.hold(self.value[key])
        row = self.row if axis == self.value.ndim - 1 else self.row[key]

        def pull(a: Array) -> Array:
            whole = np.zeros((len(a), *self.shape))
            whole[(slice(None), *key)] = a
            return whole

        return self._moved("cut", self.value[key], pull, self.radius[key], row)

    def windows(self, index: Array) -> Self:
        def padded(a: Array) -> Array:
            return np.concatenate([a, np.zeros((len(a), 1))], 1)[:, index]

        if self.fixed:
            return self.hold(padded(self.numbers))
        flat, end = index.reshape(-1), self.shape[1]
        often = int(np.bincount(flat[flat < end], minlength=1).max())
        row = np.broadcast_to(self.row.reshape(-1, *(1,) * (index.ndim - 1)), (self.shape[0], *index.shape[:-1]))

        def pull(a: Array) -> Array:
            parts = a.reshape(len(a) * self.shape[0], -1)
            sums = [np.bincount(flat, weights=part, minlength=end + 1)[:end] for part in parts]
            return np.stack(sums).reshape(len(a), *self.shape)

        return self._moved("windows", padded(self.value), pull, padded(self.radius), row, rounded=often)

    def lookup(self, places: Self) -> Self:
        index = places.value.astype(np.int64)
        if not (places.fixed and (index == places.value).all()):
            raise ValueError("a table is asked for rows that are no whole numbers")
        if index.size and not 0 <= index.min() <= index.max() < self.shape[0]:
            raise ValueError(f"a table of {self.shape[0]} rows is asked for row {index.max()} or {index.min()}")
        if not self.fixed:
            raise ValueError("a table is looked up that is computed")
        return self.hold(self.value[index])

    @classmethod
    def concat(cls, arrays: Sequence[Self], axis: int = 0) -> Self:
        first = arrays[0]
        axis = axis % first.value.ndim
        value = np.concatenate([a.numbers for a in arrays], axis)
        if all(a.fixed for a in arrays):
            return first.hold(value)
        ends = np.cumsum([a.shape[axis] for a in arrays])[:-1]
        if axis == first.value.ndim - 1:
            row = np.sqrt(sum(a.row * a.row for a in arrays))
        else:
            row = np.concatenate([a.row for a in arrays], axis)
        radius = np.concatenate([a.radius for a in arrays], axis)

        def pull(a: Array) -> tuple[Array, ...]:
            return tuple(np.split(a, ends, axis + 1))

        return first.derived("concat", value, arrays, pull, linear=radius, row=row)

    def _moved(self, kind: str, value: Array, pull, radius: Array, row: Array | None, rounded: int = 0) -> Self:
        return self.derived(kind, value, (self,), lambda a: (pull(a),), linear=radius, row=row, rounded=rounded)


def held(tape: Tape, numbers: Array) -> Tube:
    """Fixed numbers on a tape."""
    return Tube(tape, np.asarray(numbers))


def tape_of(dtype: str | None, norms: dict | None = None) -> Tape:
    """An empty tape for the evaluations of a type; None: of exact real arithmetic."""
    return Tape(Machine.of(dtype), {} if norms is None else norms)


def _rows_reshaped(row: Array, old: tuple[int, ...], new: tuple[int, ...]) -> Array | None:
    """Bounds of the norms of new rows: parts of old ones, several of them, or neither, which says None."""
    if not old or not new or 0 in old or 0 in new:
        return None
    if old[-1] % new[-1] == 0:
        return np.repeat(row.reshape(-1), old[-1] // new[-1]).reshape(new[:-1])
    if new[-1] % old[-1] == 0:
        return norm(row.reshape(*new[:-1], new[-1] // old[-1]))
    return None
