"""Starts for queried quines by regeneration: with a normalization, and damped."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..quines.stack import Stack
from .loop import starting_points
from .methods.krylov_lm import relative
from .queried_map import QueryMap

# Damped regeneration of Fletcher's normalized matrix is at the edge of chaos: of ten random projections two led to a quine each time,
# within 700 steps, four came to a residual of 0.02 to 0.07 now and then, and four moved about at 0.2 to 0.7.
_SHARE, _STEPS = 0.25, 1200  # of the way to the image that a step goes, and most steps
_PATIENCE = 300  # steps without a lower residual after which there will be none
_NEAR = 1e-3  # relative residual from which Newton takes over


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
    """Regenerate a part of the way from random weights, and yield the iterate that came nearest to its image, without end.

    A quine attracts where every eigenvalue of its derivative has a real part below 1, however far the others lie to the left.
    """
    while True:
        x = f.rough(starting_points(f, 1, generator, own=False)[0])
        best, least, last = x, math.inf, 0
        for step in range(_STEPS):
            image = f.rough(x)
            if (residual := relative(x, image)) < least:
                best, least, last = x, residual, step
            if least < _NEAR or step - last >= _PATIENCE:
                break
            x = torch.lerp(x, image, _SHARE)
        yield best.to(f.dtype)
