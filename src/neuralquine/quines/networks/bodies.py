"""Bodies: networks that do a task and also return the features they compute for it.

A body is any ``nn.Module`` that returns ``(features, outputs)`` for a batch: ``(n, f)`` of the one and ``(n, k)`` of the
other. :class:`Body` makes one of two modules; the other classes are the parts a small vision transformer needs beside
torch's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Body(nn.Module):
    """``a = stem(x)``, ``y = head(a)``: features ``(n, f)`` and outputs ``(n, k)`` of a batch.

    Args:
        stem: ends in the features; whatever their shape, they are read flat.
        head: maps flat features to outputs.
    """

    def __init__(self, stem: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem, self.head = stem, head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.stem(x).flatten(1)
        return features, self.head(features)


class Taped(nn.Module):
    """A body and its tape: an ordinary linear layer that reads the body's features, ``u = W |a|`` of each input.

    The absolute value makes every feature a vote for what stands in its row of ``W``, whatever the body's activation.

    Args:
        body: returns ``(features, outputs)``.
        features: f.
        rows: rows of ``W``.
        bias: give the layer a bias.
    """

    def __init__(self, body: nn.Module, features: int, rows: int, bias: bool = False) -> None:
        super().__init__()
        self.body = body
        self.tape = nn.Linear(features, rows, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """The mean over a batch of the tape's outputs: inputs ``(n, ...)`` to ``(rows,)``."""
        features, _ = self.body(x)
        return self.tape(features.abs().mean(0))


class Tokens(nn.Module):
    """The start of a transformer: images ``(n, c, h, w)`` to sequences ``(n, h w, c)``, with positions added.

    Args:
        count: ``h w``.
        width: c.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.count, self.width = count, width
        self.positions = nn.Parameter(0.3 * torch.randn(count, width))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2) + self.positions


class TokenMean(nn.Module):
    """The mean over tokens: sequences ``(n, t, c)`` to ``(n, c)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)
