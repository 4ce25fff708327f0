"""A small convolutional network."""

from __future__ import annotations

import torch
from torch import nn

from .problem import Problem, drawn, numbers, settings
from .registry import recipe


@recipe("cnn", small=True, place=20)
def cnn(
    seed: int = 0, skip: float = 0.0, code_size: int = 20, code_bits: int = 0, dtype: torch.dtype = torch.float64
) -> Problem:
    """A convolutional network for 8 x 8 images, as scikit-learn's digits (P = 25,320); skip=0.1 anchors it."""
    with drawn(seed):
        trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(512, 40),
        )
    return Problem(
        trunk,
        numbers(seed, 1, 1, 8, 8),
        settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype),
    )
