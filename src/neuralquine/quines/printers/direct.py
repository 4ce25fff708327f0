"""Printing without an expansion: every weight is answered for itself, ``E(c) = c`` with ``d = P``."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor


class DirectExpansion:
    """The identity, with the interface of the others.

    Args:
        sizes: weights in each tensor; they sum to P.
        means, gains: of the initial weights, ``std = gain sqrt(P)``: not printed, but where searches start and against
            which zero is told.
        code_size: P.
        seed: not used, as nothing is drawn.
        dtype: type of the printed weights.
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
        del means, seed
        self.sizes, self.dtype, self.code_size = sizes, dtype, code_size
        work = dtype if dtype in (torch.float64, torch.float32) else torch.float32
        self.mean = torch.zeros(code_size, dtype=work, device=device)
        self.gain = torch.tensor(gains, dtype=work).repeat_interleave(torch.tensor(sizes)).to(device)

    def to(self, device: torch.device) -> DirectExpansion:
        moved = copy.copy(self)
        moved.mean, moved.gain = self.mean.to(device), self.gain.to(device)
        return moved

    def linear(self, c: Tensor) -> Tensor:
        return c

    def __call__(self, c: Tensor) -> Tensor:
        return c.to(self.dtype)

    @torch.no_grad()
    def pieces(self, c: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """Of one code ``(P,)``, tensor by tensor: (number of the tensor, 0, values)."""
        for number, values in enumerate(self(c).split(self.sizes)):
            yield number, 0, values

    def pull_back(self, rows: Tensor) -> Tensor:
        return rows

    def gram(self) -> Tensor:
        return torch.eye(self.code_size, dtype=self.gain.dtype, device=self.gain.device)
