"""Parameter-free normalization: the trick that makes the all-zero quine repelling.

Source: Evan Fletcher, "Neural Quines" (2022); the derivative is worked out in the blog post this project
starts from: at ``h = 0`` it is ``(I - 11^T / n) / sqrt(eps)``, far from zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def instance_norm(h: Tensor, eps: float) -> Tensor:
    """Center and scale the last axis: ``(h - mean(h)) / sqrt(var(h) + eps)``, biased variance.

    The same numbers as ``nn.InstanceNorm1d(affine=False)`` on one channel, written with elementary
    operations so that every use of it (forward, derivative, proof, export) can follow them one by one.

    Args:
        h: ``(..., n)``.
        eps: added to the variance, in units of ``h`` squared.
    """
    centered = h - h.mean(-1, keepdim=True)
    return centered / torch.sqrt((centered * centered).mean(-1, keepdim=True) + eps)


class InstanceNorm(nn.Module):
    """:func:`instance_norm` over the last axis as a layer without parameters."""

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, h: Tensor) -> Tensor:
        return instance_norm(h, self.eps)

    def extra_repr(self) -> str:
        return f"eps={self.eps}"
