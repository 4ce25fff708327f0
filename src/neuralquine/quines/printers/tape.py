"""Printing from a tape: the code stands in the weights themselves, many times over, and everything is made from it.

The code is ``d`` signs. The body's weights are ``theta = mean + gain (2 g + c_i +- c_j +- c_k +- c_l)`` with ``g`` fixed
Gaussian numbers cut off at 2 and four code entries of fixed signs for each weight; the tape's are ``W[r d + j, :] = gain
c_j``, ``repeats`` rows of f weights for every sign. Means are multiples of gains, gains powers of two: every sum is exact,
so that the same code prints the same bits on every machine. No weight that is printed is farther than ``8 gain`` from its
mean; one that is read from farther is damaged, and :meth:`TapeExpansion.saturate` lets it count for that much and no more.

Source: von Neumann, "Theory of self-reproducing automata" (1966): a description that is copied, and a constructor that
reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import check_bytes
from .philox import dyadic_gaussian, words

USES = 4  # code entries in each weight of the body
REACH = 8  # gains from its mean that a weight of the body can lie
_START, _ENTRIES, _SIGNS, _PROBE = 6, 7, 8, 9  # Philox streams


class TapeExpansion:
    """``E(c)``: the fixed map from a code of ``d`` numbers to the body's weights and the tape.

    Args:
        sizes: weights in each tensor of the body; then the tape's.
        means: one mean for each tensor.
        gains: one gain for each tensor, a power of two.
        code_size: d.
        seed: key of the generator.
        dtype: type of the printed weights.
        features: f, the weights in one row of the tape.
        repeats: rows of the tape for each code entry.
        bias: the code stands once, in a bias of ``d`` numbers after rows of zeros, and not in the rows.

    Raises:
        TooLarge: the table of entries would take more than 2 GiB.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        means: Sequence[float],
        gains: Sequence[float],
        *,
        code_size: int,
        seed: int,
        dtype: torch.dtype,
        features: int,
        repeats: int,
        bias: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sizes, self.code_size, self.dtype = list(sizes), code_size, dtype
        self.features, self.repeats, self.bias = features, repeats, bias
        self.body_sizes = self.sizes[: -2 if bias else -1]
        count = sum(self.body_sizes)
        check_bytes("the table of the tape's entries", 12 * count * USES, "choose a smaller body")
        gauss = dyadic_gaussian(seed, _START, 0, count).clip(-2.0, 2.0)
        self.entries = torch.from_numpy(_entries(seed, code_size, count)).to(device)
        signs = 1.0 - 2.0 * (words(seed, _SIGNS, 0, count * USES) & 1).astype(np.float64)
        spread = np.repeat(np.array(gains[: len(self.body_sizes)]), self.body_sizes)
        center = np.repeat(np.array(means[: len(self.body_sizes)]), self.body_sizes)

        def tensor(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values).to(device, dtype)

        self.start = tensor(center + spread * 2 * gauss)
        self.signs = tensor(signs.reshape(count, USES) * spread[:, None])
        self.amplitude = float(gains[len(self.body_sizes)])
        self.low = [m - REACH * g for m, g in zip(means, gains, strict=True)]
        self.high = [m + REACH * g for m, g in zip(means, gains, strict=True)]
        self.low[len(self.body_sizes)], self.high[len(self.body_sizes)] = -self.amplitude, self.amplitude
        self.means = list(means)

    def to(self, device: torch.device) -> TapeExpansion:
        import copy

        moved = copy.copy(self)
        moved.entries, moved.start, moved.signs = (t.to(device) for t in (self.entries, self.start, self.signs))
        return moved

    def body(self, c: Tensor) -> Tensor:
        """The body's weights: codes ``(..., d)`` to ``(..., B)``. Differentiable."""
        return self.start + (c[..., self.entries] * self.signs).sum(-1)

    def tape(self, c: Tensor) -> Tensor:
        """The tape's weights: codes ``(..., d)`` to ``(..., rows f)``, or rows of zeros and the bias."""
        if self.bias:
            return torch.cat([c.new_zeros(*c.shape[:-1], self.code_size * self.features), c], -1)
        rows = (self.amplitude * c)[..., None, :, None]
        return rows.expand(*c.shape[:-1], self.repeats, self.code_size, self.features).flatten(-3)

    def __call__(self, c: Tensor) -> Tensor:
        """Codes ``(..., d)`` to all weights ``(..., P)``, the body's first."""
        return torch.cat([self.body(c), self.tape(c)], -1)

    @torch.no_grad()
    def pieces(self, c: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """``E(c)`` of one code ``(d,)``, tensor by tensor: (number of the tensor, 0, values)."""
        for number, values in enumerate(self(c).split(self.sizes)):
            yield number, 0, values

    def saturate(self, number: int, weights: Tensor) -> Tensor:
        """How a tensor's weights are read: NaN as its mean, and none farther from it than any that is printed.

        A damaged weight has one vote, however large it has become.
        """
        if self.bias and number >= len(self.body_sizes):  # real numbers of any size
            return weights
        mean = self.means[number]
        return torch.nan_to_num(weights, nan=mean, posinf=torch.inf, neginf=-torch.inf).clamp(
            self.low[number], self.high[number]
        )

    def votes(self, u: Tensor) -> Tensor:
        """Sum over the repeats of what the rows say: ``(..., rows)`` to ``(..., d)``."""
        return u.unflatten(-1, (-1, self.code_size)).sum(-2)


def _entries(seed: int, code_size: int, count: int) -> NDArray[np.int64]:
    """Which code entries each weight uses, ``(count, USES)``: permutations one after the other, so all are used alike."""
    rounds = -(-count * USES // code_size) if count else 0
    keys = words(seed, _ENTRIES, 0, rounds * code_size).reshape(rounds, code_size)
    order = np.argsort(keys, axis=1, kind="stable").astype(np.int64)
    return order.reshape(-1)[: count * USES].reshape(count, USES)


def sign_images(seed: int, *shape: int) -> Tensor:
    """A probe of fixed random signs, the same on every machine: float32 of ``shape``."""
    size = int(torch.Size(shape).numel())
    return torch.from_numpy(1.0 - 2.0 * (words(seed, _PROBE, 0, size) & 1).astype(np.float32)).reshape(shape)
