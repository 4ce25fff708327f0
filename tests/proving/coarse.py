"""An evaluation that rounds as badly as it may: few bits, each result up, down or either way, sums in random order.

It runs the table of rules on plain numbers. Its unit is so large that a rounding which a bound does not count shows.
"""

import math

import numpy as np

from neuralquine.proving.checker.held import Machine


def machine(bits):
    """What bounds it: rounding up or down errs by two halves of a unit."""
    return Machine(2.0 ** (1 - bits), 2.0**-100, 2.0**100, bits)


class Coarse:
    """Numbers of few bits with the operations of a network."""

    def __init__(self, value, draw, way, bits):
        self.value, self.draw, self.way, self.bits = np.asarray(value, dtype=np.float64), draw, way, bits

    def made(self, value):
        return type(self)(value, self.draw, self.way, self.bits)

    def rounded(self, value):
        """To few bits: up (1), down (-1), away from zero (2) or either way (0)."""
        mantissa, exponent = np.frexp(value)
        steps = mantissa * 2.0**self.bits
        way = self.way or self.draw.choice([-1, 1], np.shape(value))
        up = np.sign(value) > 0 if self.way == 2 else np.broadcast_to(way, np.shape(value)) > 0
        return np.ldexp(np.where(up, np.ceil(steps), np.floor(steps)), exponent - self.bits)

    def op(self, value):
        return self.made(self.rounded(value))

    @property
    def shape(self):
        return self.value.shape

    @property
    def mT(self):  # noqa: N802
        return self.made(np.swapaxes(self.value, -1, -2))

    def __add__(self, other):
        return self.op(self.value + (other.value if isinstance(other, Coarse) else other))

    def __sub__(self, other):
        return self.op(self.value - other.value)

    def __mul__(self, other):
        return self.op(self.value * other.value)

    def __neg__(self):
        return self.made(-self.value)

    def scale(self, factor):
        return self.op(self.value * (factor if isinstance(factor, float) else self.rounded(factor.nearest)))

    def divide_by_root(self, n):
        return self.op(self.value / self.rounded(math.sqrt(n)))

    def tanh(self):
        return self.op(np.tanh(self.value))

    def sigmoid(self):
        return self.op(1 / self.rounded(1 + self.rounded(np.exp(-self.value))))

    def saturation(self):
        return self.op(1 - self.rounded(np.exp(-self.value)))

    def softsign(self):
        return self.op(self.value / self.rounded(1 + np.abs(self.value)))

    def mish_gate(self):
        return self.op(np.tanh(self.rounded(np.log1p(self.rounded(np.exp(self.value))))))

    def relu(self):
        return self.made(np.maximum(self.value, 0))

    def erf(self):
        return self.op(np.vectorize(math.erf, otypes=[float])(self.value))

    def largest(self):
        return self.made(self.value.max(-1))

    def to_grid(self):
        return self

    def summed(self, terms):
        """The sum over the last axis, term by term in an order of its own."""
        order = self.draw.permutation(terms.shape[-1])
        total = terms[..., order[0]]
        for i in order[1:]:
            total = self.rounded(total + terms[..., i])
        return total

    def mean(self):
        return self.op(self.summed(self.value) / self.shape[-1]).reshape(*self.shape[:-1], 1)

    def affine(self, weight, bias=None):
        terms = self.rounded(self.value[..., None, :] * weight.value)
        if bias is not None:
            terms = np.concatenate([terms, np.broadcast_to(bias.value[:, None], (*terms.shape[:-1], 1))], -1)
        return self.made(self.summed(terms))

    def __matmul__(self, other):
        return self.made(self.summed(self.rounded(self.value[..., :, None, :] * other.mT.value[..., None, :, :])))

    def softmax(self, seen=None):
        mask = np.broadcast_to(True if seen is None else seen, self.shape)
        top = np.where(mask, self.value, -np.inf).max(-1, keepdims=True)
        shifted = self.rounded(np.where(mask, self.value - top, 0))
        powers = np.where(mask, self.rounded(np.exp(shifted)), 0.0)
        return self.op(powers / self.summed(powers)[..., None])

    def normalize(self, eps):
        centered = self - self.mean()
        variance = (centered * centered).mean()
        return self.op(centered.value / self.rounded(np.sqrt(self.rounded(variance.value + eps))))

    def batch_norm(self, mean, variance, weight, bias, eps):
        slope = self.op(1 / self.rounded(np.sqrt(self.rounded(variance.value + eps))))
        slope = slope if weight is None else slope * weight
        y = (self - mean) * slope
        return y if bias is None else y + bias

    def reshape(self, *shape):
        return self.made(self.value.reshape(*shape))

    def move(self, *order):
        return self.made(self.value.transpose(order))

    def cut(self, axis, start, stop):
        if stop > self.shape[axis]:
            raise ValueError("too long")
        return self.made(self.value[(slice(None),) * (axis % self.value.ndim) + (slice(start, stop),)])

    def windows(self, index):
        return self.made(np.concatenate([self.value, np.zeros((len(self.value), 1))], 1)[:, index])

    def lookup(self, places):
        return self.made(self.value[places.value.astype(int)])

    def zeros(self, *shape):
        return self.made(np.zeros(shape))

    def constant(self, numbers):
        return self.op(numbers.nearest)

    @classmethod
    def concat(cls, arrays, axis=0):
        return arrays[0].made(np.concatenate([a.value for a in arrays], axis))
