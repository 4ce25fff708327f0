"""The printer of a queried quine: the network answers every weight by itself, ``E(c) = c`` with ``d = P``."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor

from .base import Whole, working_type


class DirectExpansion(Whole):
    """The identity, as a printer.

    Args:
        sizes: weights in each tensor; they sum to P.
        gains: one gain for each tensor of initial weights, ``std = gain sqrt(P)``; searches start at that size.
        code_size: P.
        dtype: type of the printed weights.
    """

    name: ClassVar[str] = "direct"

    def __init__(
        self,
        sizes: list[int],
        gains: list[float],
        *,
        code_size: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sizes, self.dtype, self.code_size = sizes, dtype, code_size
        work = working_type(dtype)
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

    def pull_back(self, rows: Tensor) -> Tensor:
        return rows

    def gram(self) -> Tensor:
        return torch.eye(self.code_size, dtype=self.gain.dtype, device=self.gain.device)


class Itself(DirectExpansion):
    """The identity of a module that prints its own weights: nothing is expanded, its output is what is printed."""

    name: ClassVar[str] = "itself"
