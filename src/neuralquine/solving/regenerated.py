"""Starts for queried quines by regeneration: with a normalization, and half damped."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..quines.stack import Stack
from .loop import starting_points
from .methods.krylov_lm import relative
from .queried_map import QueryMap

_STEPS = 60  # of damped regeneration, by which it moves about at a relative residual of some 0.3


def positive_starts(f: QueryMap, stack: Stack, generator: torch.Generator) -> Iterator[Tensor]:
    """Regenerate with a normalization, from positive weights, a network that is homogeneous and keeps them positive.

    ``theta <- F(theta) / ||F(theta)||`` has one attracting direction for each query table (Perron and Frobenius); where
    ``F(theta) = lambda theta``, the quine is ``theta lambda^(-1 / L)``.
    """
    degree = len(stack.layers)
    while True:
        x = f.quine.random_codes(1, generator)[0].abs()
        size = 1.0
        for _ in range(200):
            x = x / torch.linalg.vector_norm(x)
            image = stack.answers(x)
            size = float(torch.linalg.vector_norm(image))
            if not size > 0:
                break
            if relative(x, image / size) < 1e-12:
                break
            x = image
        if size > 0:
            yield x / torch.linalg.vector_norm(x) * size ** (-1 / (degree - 1))


def damped_starts(f: QueryMap, generator: torch.Generator) -> Iterator[Tensor]:
    """Regenerate halfway from random weights and yield the best iterate, without end."""
    while True:
        x = f.rough(starting_points(f, 1, generator, own=False)[0])
        best, least = x, math.inf
        for _ in range(_STEPS):
            image = f.rough(x)
            if (residual := relative(x, image)) < least:
                best, least = x, residual
            x = (x + image) / 2
        yield best.to(f.dtype)
