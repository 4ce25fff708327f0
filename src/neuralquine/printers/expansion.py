"""Fixed linear maps from a code of ``d`` numbers to all ``P`` weights.

``theta = mean + gain * (A c)`` with ``A`` of shape ``(P, d)``, entries of mean 0 and variance 1, never
trained and never stored: they are regenerated from the seed. ``mean`` and ``gain`` are one number per
tensor, so that each tensor is printed at the mean and scale of its own initialisation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import check_bytes
from .philox import dyadic_gaussian

_STREAM = 1  # Philox stream of the projection; probes use another one
MAX_BYTES = 2 << 30


class GaussianExpansion:
    """The dense expansion of the blog post, with dyadic Gaussian entries.

    Args:
        sizes: weights in each tensor; they sum to P.
        means: one mean for each tensor.
        gains: one gain for each tensor; ``std(weights) = gain * ||c||``.
        code_size: d.
        seed: key of the generator.
        dtype: floating-point type of the printed weights.

    Raises:
        TooLarge: ``A`` would take more than 2 GiB.
    """

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
        parameters = sum(sizes)
        check_bytes(
            f"the dense {parameters} x {code_size} projection",
            parameters * code_size * 8,
            MAX_BYTES,
            "choose a smaller code_size",
        )
        entries = dyadic_gaussian(seed, _STREAM, 0, parameters * code_size)
        self.matrix = torch.from_numpy(entries).reshape(parameters, code_size).to(device, dtype)
        counts = torch.tensor(sizes)
        self.mean = torch.tensor(means, dtype=dtype).repeat_interleave(counts).to(device)
        self.gain = torch.tensor(gains, dtype=dtype).repeat_interleave(counts).to(device)

    def __call__(self, c: Tensor) -> Tensor:
        """Codes ``(..., d)`` to weights ``(..., P)``."""
        return self.mean + self.gain * (c @ self.matrix.mT)

    def pull_back(self, rows: Tensor) -> Tensor:
        """Multiply derivatives ``(..., P)`` by the expansion's Jacobian: ``(..., d)``."""
        return (rows * self.gain) @ self.matrix

    def gram(self) -> Tensor:
        """``E^T E`` of the Jacobian ``E = diag(gain) A``, shape ``(d, d)``."""
        scaled = self.matrix * self.gain[:, None]
        return scaled.mT @ scaled
