"""Printing from a tape: the code stands in the weights themselves, and all weights are made from it.

The code of a *sign tape* is ``d`` signs, each many times over. The body's weights are ``theta = mean + gain (2 g + c_i +-
c_j +- c_k +- c_l)`` with ``g`` fixed Gaussian numbers cut off at 2 and four code entries of fixed signs for each weight;
the tape's are ``W[r d + j, :] = gain c_j``, ``repeats`` rows of f weights for every sign. Means are multiples of gains,
gains powers of two: every sum is exact, so that the same code prints the same bits on every machine. No weight that is
printed is farther than ``8 gain`` from its mean; one that is read from farther is damaged, and
:meth:`SignTape.saturate` lets it count for that much at most.

Source: von Neumann, "Theory of self-reproducing automata" (1966): a description that is copied, and a constructor that
reads it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import check_bytes
from ..tables.philox import Stream, dyadic_gaussian, words
from .base import Whole

USES = 4  # code entries in each weight of the body
REACH = 8  # largest distance of a body's weight from its mean, in gains


class SignTape(Whole):
    """``E(c)``: the fixed map from a code of ``d`` numbers to the body's weights and the tape.

    Args:
        sizes: weights in each tensor of the body, then in those of the tape.
        means: one mean for each tensor.
        gains: one gain for each tensor, a power of two.
        code_size: d.
        seed: key of the generator.
        dtype: type of the printed weights.
        features: f, the weights in one row of the tape.
        repeats: rows of the tape for each code entry.

    Raises:
        TooLarge: the table of entries would take more than 2 GiB.
    """

    name: ClassVar[str] = "tape"
    parts: ClassVar[int] = 1  # number of the tape's tensors

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
        device: torch.device | str = "cpu",
    ) -> None:
        self.sizes, self.code_size, self.dtype = list(sizes), code_size, dtype
        self.means, self.gains = list(means), list(gains)
        self.features, self.repeats = features, repeats
        self.body_sizes = self.sizes[: -self.parts]
        count, bodies = sum(self.body_sizes), len(self.body_sizes)
        check_bytes("the table of the tape's entries", 12 * count * USES, "choose a smaller body")
        gauss = dyadic_gaussian(seed, Stream.TAPE_START, 0, count).clip(-2.0, 2.0)
        self.entries = torch.from_numpy(_entries(seed, code_size, count)).to(device)
        signs = 1.0 - 2.0 * (words(seed, Stream.TAPE_SIGNS, 0, count * USES) & 1).astype(np.float64)
        spread = np.repeat(np.array(gains[:bodies]), self.body_sizes)
        center = np.repeat(np.array(means[:bodies]), self.body_sizes)

        def tensor(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values).to(device, dtype)

        self.start = tensor(center + spread * 2 * gauss)
        self.signs = tensor(signs.reshape(count, USES) * spread[:, None])
        self.amplitude = float(gains[bodies])
        self.low = [m - REACH * g for m, g in zip(means, gains, strict=True)]
        self.high = [m + REACH * g for m, g in zip(means, gains, strict=True)]
        self.low[bodies], self.high[bodies] = -self.amplitude, self.amplitude

    def to(self, device: torch.device) -> SignTape:
        moved = copy.copy(self)
        moved.__dict__.pop("_mean", None)
        moved.entries, moved.start, moved.signs = (t.to(device) for t in (self.entries, self.start, self.signs))
        return moved

    # -- the map --------------------------------------------------------------------------------------------------

    def body(self, c: Tensor) -> Tensor:
        """The body's weights: codes ``(..., d)`` to ``(..., B)``. Differentiable."""
        return self.start + (c[..., self.entries] * self.signs).sum(-1)

    def tape(self, c: Tensor) -> Tensor:
        """The tape's weights: codes ``(..., d)`` to ``(..., rows f)``."""
        rows = (self.amplitude * c)[..., None, :, None]
        return rows.expand(*c.shape[:-1], self.repeats, self.code_size, self.features).flatten(-3)

    def __call__(self, c: Tensor) -> Tensor:
        """Codes ``(..., d)`` to all weights ``(..., P)``, the body's first."""
        return torch.cat([self.body(c), self.tape(c)], -1)

    # -- the tape as a reader sees it -----------------------------------------------------------------------------

    def saturate(self, number: int, weights: Tensor) -> Tensor:
        """The weights of a tensor as they are read: NaN as the mean, and all others at most 8 gains away from it.

        A damaged weight has one vote, however large it has become.
        """
        finite = torch.nan_to_num(weights, nan=self.means[number], posinf=torch.inf, neginf=-torch.inf)
        return finite.clamp(self.low[number], self.high[number])

    def votes(self, u: Tensor) -> Tensor:
        """The votes for each code entry, summed over its rows of the tape: ``(..., rows)`` to ``(..., d)``."""
        return u.unflatten(-1, (-1, self.code_size)).sum(-2)

    # -- what solvers and checks ask of a printer -----------------------------------------------------------------

    @property
    def mean(self) -> Tensor:
        """``(P,)``: the weights that a code of zeros is expanded to."""
        return self._mean

    @cached_property
    def _mean(self) -> Tensor:
        return self(self.start.new_zeros(self.code_size))

    @property
    def gain(self) -> Tensor:
        """``(P,)``: the gain of each weight's tensor."""
        return self.start.new_tensor(self.gains).repeat_interleave(torch.tensor(self.sizes).to(self.start.device))

    def linear(self, c: Tensor) -> Tensor:
        """``E(c) - E(0)``: codes ``(..., d)`` to ``(..., P)``."""
        return self(c) - self.mean

    def pull_back(self, rows: Tensor) -> Tensor:
        """Multiply derivatives by the weights ``(..., P)`` by the Jacobian of ``E``: ``(..., d)``."""
        count = sum(self.body_sizes)
        shares = (rows[..., :count, None] * self.signs).flatten(-2)
        pulled = rows.new_zeros(*rows.shape[:-1], self.code_size).index_add(-1, self.entries.reshape(-1), shares)
        return pulled + self._pull_back_tape(rows[..., count:])

    def _pull_back_tape(self, rows: Tensor) -> Tensor:
        return self.amplitude * rows.unflatten(-1, (self.repeats, self.code_size, self.features)).sum((-3, -1))

    def gram(self) -> Tensor:
        """``E^T E`` of the Jacobian of ``E``, ``(d, d)``.

        Raises:
            TooLarge: it would take more than 2 GiB.
        """
        d = self.code_size
        check_bytes(f"the {d} x {d} matrix of the expansion", 8 * d * d, "choose a smaller code_size")
        return torch.stack(
            [self.pull_back(self.linear(row)) for row in torch.eye(d, dtype=self.dtype, device=self.start.device)]
        )


class RealTape(SignTape):
    """The tape of real numbers: it holds the code once, in a bias of ``d`` numbers after rows of zeros.

    Args:
        sizes, means, gains, code_size, seed, dtype, features, repeats: as for :class:`SignTape`; the code is not repeated.
    """

    parts: ClassVar[int] = 2

    def tape(self, c: Tensor) -> Tensor:
        """Rows of zeros and the bias: codes ``(..., d)`` to ``(..., d f + d)``."""
        return torch.cat([c.new_zeros(*c.shape[:-1], self.code_size * self.features), c], -1)

    def saturate(self, number: int, weights: Tensor) -> Tensor:
        """Clamp the body's weights as :meth:`SignTape.saturate` does; the code's real numbers may be of any size."""
        return weights if number >= len(self.body_sizes) else super().saturate(number, weights)

    def _pull_back_tape(self, rows: Tensor) -> Tensor:
        return rows[..., self.code_size * self.features :]


def _entries(seed: int, code_size: int, count: int) -> NDArray[np.int64]:
    """The code entries that each weight uses, ``(count, USES)``: permutations in turn, so that all are used alike."""
    rounds = -(-count * USES // code_size) if count else 0
    keys = words(seed, Stream.TAPE_ENTRIES, 0, rounds * code_size).reshape(rounds, code_size)
    order = np.argsort(keys, axis=1, kind="stable").astype(np.int64)
    return order.reshape(-1)[: count * USES].reshape(count, USES)


def sign_images(seed: int, *shape: int) -> Tensor:
    """A probe of fixed random signs, the same on every machine: float32 of ``shape``."""
    size = int(torch.Size(shape).numel())
    return torch.from_numpy(1.0 - 2.0 * (words(seed, Stream.TAPE_PROBE, 0, size) & 1).astype(np.float32)).reshape(shape)
