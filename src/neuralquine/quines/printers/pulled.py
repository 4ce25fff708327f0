"""The pull-back of derivatives through the structured expansion, as products of matrices that are bound by the processor's cache.

With ``theta_b = mean + gain * (H diag(s_b) c)`` for every block of weights, a derivative ``x`` by the weights is, by the code,
``sum_b diag(s_b) H (gain x_b)``: the diagonal of ``H (sum_b gain x_b s_b^T)``. So the sum over all blocks is the product of two
tall matrices, derivatives and signs, and the Hadamard matrix is multiplied by its small result once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..outer import Outer

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


def by_code(derivatives: Sequence[Outer], index: Tensor, hadamard: Tensor) -> Tensor:
    """The derivatives by the code of some by a matrix of gain 1 that are sums of outer products: ``(R, D)``, float64.

    ``sum_ij s_ij * (H x_ij)`` with ``x = L^T R`` is the sum of ``(L S) * (H R)``, S ``(m, n)`` being the signs: no number of x
    is made, and L, which often is the same for all derivatives, is multiplied by S once.

    Args:
        derivatives: by all of the matrix, whose rows are whole blocks.
        index: bytes of its signs, as :func:`signs_of` takes them.
        hadamard: ``(D, D)``.
    """
    lefts = {id(left): left.to(hadamard) for one in derivatives for left, _ in one.pairs}
    places, count = {}, 0
    for name, left in lefts.items():
        places[name], count = slice(count, count + len(left)), count + len(left)
    stacked, table, size = torch.cat(list(lefts.values())), sign_table(hadamard), len(hadamard)
    rows, across = stacked.shape[1], len(index) // stacked.shape[1]
    signed = hadamard.new_zeros(count, across * size)
    for first, last in chunks(rows, across * size):
        signs = signs_of(index[first * across : last * across], table).view(last - first, -1)
        signed.addmm_(stacked[:, first:last], signs)
    total = torch.zeros(len(derivatives), size, dtype=torch.float64, device=hadamard.device)
    for number, one in enumerate(derivatives):
        for left, right in one.pairs:
            turned = right.to(hadamard).reshape(-1, size) @ hadamard
            total[number] += (signed[places[id(left)]].view(-1, size).double() * turned.double()).sum(0)
    return total


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
