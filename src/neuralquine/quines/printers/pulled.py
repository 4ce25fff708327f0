"""The pull-back of derivatives through the structured expansion, as products of matrices that are bound by the processor's cache.

With ``theta_b = mean + gain * (H diag(s_b) c)`` for every block of weights, a derivative ``x`` by the weights is, by the code,
``sum_b diag(s_b) H (gain x_b)``: the diagonal of ``H (sum_b gain x_b s_b^T)``. So the sum over all blocks is the product of two
tall matrices, derivatives and signs, and the Hadamard matrix is multiplied by its small result once.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_CHUNK = 1 << 18  # weights of one product: fewer pay too often for a call, more derivatives and signs leave the cache


class Sums:
    """``sum_b gain x_b s_b^T`` for some derivatives: ``(R, D, D)``, float64.

    Args:
        rows: R, the number of derivatives.
        hadamard: ``(D, D)``.
    """

    def __init__(self, rows: int, hadamard: Tensor) -> None:
        self._hadamard = hadamard.double()
        self._total = torch.zeros(rows, *hadamard.shape, dtype=torch.float64, device=hadamard.device)

    def add(self, row: int, blocks: Tensor, signs: Tensor, gain: float = 1.0) -> None:
        """Add what one derivative ``(n, D)`` by some blocks amounts to, whose signs are ``(n, D)``."""
        self._total[row].add_(blocks.mT @ signs, alpha=gain)

    def by_code(self) -> Tensor:
        """The derivatives by the code, padded to whole bytes: ``(R, D)``, float64."""
        return (self._total * self._hadamard).sum(-2)


def chunks(blocks: int, size: int) -> Iterator[tuple[int, int]]:
    """Stretches of blocks of one size that are multiplied at a time: (first, last + 1)."""
    step = max(1, _CHUNK // size)
    for first in range(0, blocks, step):
        yield first, min(first + step, blocks)


def padded(values: Tensor, before: int, blocks: int, size: int) -> Tensor:
    """Values as whole blocks ``(n, D)``, with zeros in front and behind where they do not fill them."""
    missing = blocks * size - before - len(values)
    if before or missing:
        values = torch.nn.functional.pad(values, (before, missing))
    return values.view(blocks, size)


def sign_table(like: Tensor) -> Tensor:
    """The eight signs of each byte, a set bit is a minus, low bit first: ``(256, 8)``."""
    bits = torch.arange(256, device=like.device)[:, None] >> torch.arange(8, device=like.device)
    return (1 - 2 * (bits & 1)).to(like)


def signs_of(index: Tensor, table: Tensor) -> Tensor:
    """The signs of blocks ``(n, D)`` whose bytes ``(n, D / 8)`` are the lowest bits of some numbers."""
    return torch.nn.functional.embedding(index.to(torch.int32) & 255, table).view(len(index), -1)
