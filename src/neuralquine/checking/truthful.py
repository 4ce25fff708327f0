"""Is the derivative that a module's operations claim that of what it computes? Stop-gradients and hand-written rules may differ."""

from __future__ import annotations

import torch
from torch import Tensor

from ..quines.derivatives import Directional
from ..quines.measure import norm
from ..quines.quine import Quine

_STEPS = {torch.float64: 1e-5, torch.float32: 1e-2}  # of the weights; narrower types are too coarse for two steps
_FINER = 1 / 8  # of the first step is the second, which must give the same difference
_SETTLED = 0.02  # relative, up to which two differences are the same
_OFF = 0.1  # relative, from which a claim differs: far more than settled differences can miss
_DIRECTIONS = 2  # drawn at random; both must show it


@torch.no_grad()
def off_by(quine: Quine, theta: Tensor, derivative: Directional) -> float:
    """How far a claimed derivative is from finite differences, relative, where these leave no doubt; 0 where they agree.

    It is no accusation: a module that stops gradients prints its weights as honestly as another. But what its derivative
    says of it, the self-sensitivity and the eigenvalues, is then of another map.
    """
    size = norm(theta)
    if theta.dtype not in _STEPS or not size > 0 or not derivative.finite:
        return 0.0
    generator, least = torch.Generator().manual_seed(17), float("inf")
    for _ in range(_DIRECTIONS):
        direction = torch.randn(len(theta), generator=generator, dtype=torch.float64).to(theta.device)
        direction /= norm(direction)
        claim = derivative.jvp(direction.to(quine.code_dtype)).double()
        seen = _difference(quine, theta, direction, size * _STEPS[theta.dtype])
        if not (_apart(claim, seen) > _OFF):
            return 0.0
        closer = _difference(quine, theta, direction, size * _STEPS[theta.dtype] * _FINER)
        if not (_apart(seen, closer) < _SETTLED):
            return 0.0
        least = min(least, _apart(claim, closer))
    return least if least > _OFF else 0.0


def _difference(quine: Quine, theta: Tensor, direction: Tensor, step: float) -> Tensor:
    """The central difference of what is printed."""
    up, down = ((theta.double() + side * step * direction).to(theta.dtype) for side in (1, -1))
    return (quine.real_map(up).double() - quine.real_map(down).double()) / (2 * step)


def _apart(a: Tensor, b: Tensor) -> float:
    """The distance of two vectors, relative to the longer one; 0 where both are none."""
    longer = max(norm(a), norm(b))
    return norm(a - b) / longer if longer > 0 else 0.0
