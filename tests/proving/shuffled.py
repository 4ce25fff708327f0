"""One admissible evaluation of a network at a time: sums in a random order, functions off by what a library may be off.

:class:`Shuffled` has the operations that rules are written in. With longdouble and no machine it is the exact evaluation, but for
2^-64. :func:`source` makes nodes with errors of their own, so that one operation can be attacked by itself.
"""

import numpy as np

from neuralquine.proving.tubes.machine import Machine
from neuralquine.proving.tubes.node import Charge, norm
from neuralquine.proving.tubes.tube import held, tape_of

WIDE = np.longdouble


class Shuffled:
    """Numbers as one machine has them."""

    def __init__(self, value, dtype, generator=None):
        self.value, self.dtype, self.generator = np.asarray(value, dtype), dtype, generator
        self.machine = Machine() if generator is None else Machine.of(np.dtype(dtype).name)

    def new(self, value):
        return Shuffled(value, self.dtype, self.generator)

    hold = new

    @property
    def shape(self):
        return self.value.shape

    def off(self, wide, units, absolute=False):
        """A value in longdouble, rounded after an error of up to so many units."""
        if self.generator is None:
            return self.new(wide)
        share = self.generator.choice([-0.97, 0.97, 0.0]) if self.generator.random() < 0.5 else None
        share = self.generator.uniform(-0.97, 0.97, np.shape(wide)) if share is None else share
        room = max(units - 1, 0) * self.machine.unit * share
        return self.new(wide + room if absolute else wide * (1 + room))

    def total(self, terms):
        """The sum over the last axis, which goes, in a random order."""
        if self.generator is None:
            return terms.sum(-1)
        terms = terms[..., self.generator.permutation(terms.shape[-1])]
        while terms.shape[-1] > 1:
            if self.generator.random() < 0.4:  # one after the other
                for_one = terms[..., 0]
                for k in range(1, terms.shape[-1]):
                    for_one = for_one + terms[..., k]
                return for_one
            half = terms.shape[-1] // 2  # in pairs
            pairs = terms[..., :half] + terms[..., half : 2 * half]
            terms = np.concatenate([pairs, terms[..., 2 * half :]], -1)
        return terms[..., 0] if terms.shape[-1] else np.zeros(terms.shape[:-1], self.dtype)

    def __add__(self, other):
        return self.new(self.value + (other.value if isinstance(other, Shuffled) else self.dtype(other)))

    def __sub__(self, other):
        return self.new(self.value - other.value)

    def __mul__(self, other):
        return self.new(self.value * other.value)

    def __neg__(self):
        return self.new(-self.value)

    def __matmul__(self, other):
        return self.new(self.total(self.value[..., :, None, :] * np.swapaxes(other.value, -1, -2)[..., None, :, :]))

    def scale(self, factor):
        if isinstance(factor, int | float | np.floating):
            return self.new(self.value * self.dtype(factor))
        return self.off(self.value.astype(WIDE) * WIDE(factor.nearest), 4)

    def divide_by_root(self, n):
        return self.off(self.value.astype(WIDE) / np.sqrt(WIDE(n)), 8)

    def function(self, f, ulps=1.0, steps=0.0):
        return self.off(f(self.value.astype(WIDE)), 2 * self.machine.ulps * ulps + steps)

    def tanh(self):
        return self.function(np.tanh)

    def sigmoid(self):
        return self.function(lambda v: 1 / (1 + np.exp(-v)), 2.0, 2.0)

    def saturation(self):
        if self.generator is not None and self.generator.random() < 0.5:
            return self.new(self.dtype(1) - self.function(lambda v: np.exp(-v)).value)
        return self.new(-self.function(lambda v: np.expm1(-v)).value)

    def softsign(self):
        return self.new(self.value / (np.abs(self.value) + self.dtype(1)))

    def mish_gate(self):
        return self.function(np.exp).function(np.log1p).function(np.tanh)

    def erf(self):
        return self.function(_erf)

    def relu(self):
        return self.new(np.maximum(self.value, 0))

    def largest(self):
        return self.new(self.value.max(-1))

    def to_grid(self):
        return self

    def mean(self):
        return self.new(self.total(self.value)[..., None] / self.dtype(self.shape[-1]))

    def softmax(self, seen=None):
        mask = np.broadcast_to(True if seen is None else seen, self.shape)
        top = np.where(mask, self.value, -np.inf).max(-1, keepdims=True)
        shifted = self.new(np.where(mask, self.value - top, 0))
        powers = np.where(mask, shifted.function(np.exp).value, 0)
        return self.new(powers / self.total(powers)[..., None])

    def affine(self, weight, bias=None):
        terms = self.value[..., None, :] * weight.value
        if bias is not None:
            terms = np.concatenate([terms, np.broadcast_to(bias.value[:, None], (*terms.shape[:-1], 1))], -1)
        return self.new(self.total(terms))

    def normalize(self, eps):
        way = 0 if self.generator is None else self.generator.integers(4)
        x, n, eps = self.value, self.dtype(self.shape[-1]), self.dtype(eps)
        mean = self.total(x)[..., None] / n
        if way == 1:
            variance = self.total(x * x)[..., None] / n - mean * mean
        elif way == 2:
            mean, variance = _welford(x, self.dtype)
        else:
            variance = self.total((x - mean) * (x - mean))[..., None] / n
        inverse = 1 / np.sqrt(variance + eps)
        if way == 3:
            return self.new(x * inverse - mean * inverse)
        return self.new((x - mean) * inverse if way == 1 else (x - mean) / np.sqrt(variance + eps))

    def batch_norm(self, mean, variance, weight, bias, eps):
        one = np.ones((), self.dtype)
        w, b = (one if weight is None else weight.value), (one * 0 if bias is None else bias.value)
        inverse = 1 / np.sqrt(variance.value + self.dtype(eps))
        if self.generator is not None and self.generator.random() < 0.5:
            scale = inverse * w
            return self.new(self.value * scale + (b - mean.value * scale))
        return self.new((self.value - mean.value) * inverse * w + b)

    def constant(self, numbers):
        if self.generator is None:
            return self.new(numbers.nearest)
        room = self.generator.uniform(-1, 1, numbers.nearest.shape) * (numbers.within - 1) * self.machine.unit
        return self.new(numbers.nearest.astype(WIDE) + room)

    def reshape(self, *shape):
        return self.new(self.value.reshape(*shape))

    def move(self, *order):
        return self.new(self.value.transpose(order))

    @property
    def mT(self):  # noqa: N802
        return self.new(np.swapaxes(self.value, -1, -2))

    def cut(self, axis, start, stop):
        if stop > self.shape[axis]:
            raise ValueError("an axis is too short")
        return self.new(np.take(self.value, np.arange(start, stop), axis))

    def windows(self, index):
        return self.new(np.concatenate([self.value, np.zeros((len(self.value), 1), self.dtype)], 1)[:, index])

    def lookup(self, places):
        return self.new(self.value[places.value.astype(int)])

    def zeros(self, *shape):
        return self.new(np.zeros(shape))

    @classmethod
    def concat(cls, arrays, axis=0):
        return arrays[0].new(np.concatenate([a.value for a in arrays], axis))


def _welford(x, dtype):
    mean, total = np.zeros_like(x[..., 0]), np.zeros_like(x[..., 0])
    for k in range(x.shape[-1]):
        step = x[..., k] - mean
        mean = mean + step / dtype(k + 1)
        total = total + step * (x[..., k] - mean)
    return mean[..., None], (total / dtype(x.shape[-1]))[..., None]


def _erf(v):
    """By the series of positive terms, in longdouble; beyond 6 it is 1."""
    x = np.minimum(np.abs(v), WIDE(6.5))
    term = total = x
    n = 0
    while (term > total * WIDE(2) ** -66).any():
        n += 1
        term = term * 2 * x * x / (2 * n + 1)
        total = total + term
    return np.sign(v) * np.minimum(2 / np.sqrt(WIDE(np.pi)) * np.exp(-x * x) * total, 1)


def source(tape, value, radius, row=None):
    """A node whose admissible values are all within a radius, and if ``row`` is given all of such a 2-norm."""
    empty = held(tape, value)
    node = empty.derived("source", value, (), lambda _: (), linear=np.zeros(value.shape), local=radius)
    if row is not None:
        node.row = np.minimum(node.row, row)
        node.radius = np.minimum(node.radius, node.row[..., None])
        node.charge = Charge(np.zeros(value.shape), node.radius, node.row)
    return node


__all__ = ["WIDE", "Shuffled", "held", "norm", "source", "tape_of"]
