"""Fixed linear maps from a code of ``d`` numbers to all ``P`` weights.

``theta = mean + gain * (A c)`` with ``A`` of shape ``(P, d)``, entries of mean 0 and variance 1, never
trained and never stored: they are regenerated from the seed. ``mean`` and ``gain`` are one number per
tensor, so that each tensor is printed at the mean and scale of its own initialization.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor

from ...errors import check_bytes
from ..tables.philox import Stream, dyadic_gaussian
from .base import Whole, printer, working_type


@printer
class GaussianExpansion(Whole):
    """The dense expansion of the blog post, with dyadic Gaussian entries.

    Args:
        sizes: weights in each tensor; they sum to P.
        means: one mean for each tensor.
        gains: one gain for each tensor; ``std(weights) = gain * ||c||``.
        code_size: d.
        seed: key of the generator.
        dtype: floating-point type of the printed weights. Narrower ones than float32 are computed in float32 and
            rounded once.

    Raises:
        TooLarge: ``A`` would take more than 2 GiB.
    """

    name: ClassVar[str] = "gaussian"

    def __init__(
        self,
        sizes: list[int],
        means: list[float],
        gains: list[float],
        *,
        code_size: int,
        seed: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sizes, parameters = sizes, sum(sizes)
        check_bytes(
            f"the dense {parameters} x {code_size} projection",
            parameters * code_size * 8,
            "choose a smaller code_size",
        )
        entries = dyadic_gaussian(seed, Stream.GAUSSIAN, 0, parameters * code_size)
        self.code_size, self.dtype, work = code_size, dtype, working_type(dtype)
        self.matrix = torch.from_numpy(entries).reshape(parameters, code_size).to(device, work)
        counts = torch.tensor(sizes)
        self.mean = torch.tensor(means, dtype=work).repeat_interleave(counts).to(device)
        self.gain = torch.tensor(gains, dtype=work).repeat_interleave(counts).to(device)

    def to(self, device: torch.device) -> GaussianExpansion:
        moved = copy.copy(self)
        moved.matrix, moved.mean, moved.gain = (t.to(device) for t in (self.matrix, self.mean, self.gain))
        return moved

    def linear(self, c: Tensor) -> Tensor:
        """``E(c) - mean``: codes ``(..., d)`` to ``(..., P)``."""
        return self.gain * (c @ self.matrix.mT)

    def __call__(self, c: Tensor) -> Tensor:
        """Codes ``(..., d)`` to weights ``(..., P)``."""
        return (self.mean + self.linear(c)).to(self.dtype)

    def pull_back(self, rows: Tensor) -> Tensor:
        """Multiply derivatives ``(..., P)`` by the expansion's Jacobian: ``(..., d)``."""
        return ((rows * self.gain) @ self.matrix).to(rows.dtype)

    def gram(self) -> Tensor:
        """``E^T E`` of the Jacobian ``E = diag(gain) A``, shape ``(d, d)``."""
        scaled = self.matrix * self.gain[:, None]
        return scaled.mT @ scaled
