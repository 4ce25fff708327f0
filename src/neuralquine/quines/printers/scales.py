"""The mean and the spread at which each tensor is printed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ...errors import TrunkError

_CONSTANT_GAIN = 2.0**-6  # spread given to a tensor whose initialization has none (biases, LayerNorm weights)


def uniform_scales(tensors: Sequence[Tensor], alpha: float, code_size: int) -> tuple[list[float], list[float]]:
    return [0.0] * len(tensors), [alpha / code_size] * len(tensors)


def initial_scales(tensors: Sequence[Tensor], code_size: int) -> tuple[list[float], list[float]]:
    """Mean and gain of each tensor, from its own initial values; see :func:`scales_of`."""
    moments = []
    for p in tensors:
        values = p.detach().double()
        moments.append((values.mean().item(), values.std(correction=0).item()) if p.numel() else (0.0, 0.0))
    return scales_of(moments, [p.numel() for p in tensors], code_size)


def scales_of(
    moments: Sequence[tuple[float, float]], counts: Sequence[int], code_size: int
) -> tuple[list[float], list[float]]:
    """Mean and gain of each tensor, from the mean and the standard deviation of its initialization.

    The mean is 0 unless it stands out by four standard errors; gains are powers of two, so that scaling
    commutes with rounding. ``||c|| = sqrt(d)``, hence ``gain = std / sqrt(d)``.

    Raises:
        TrunkError: a number is not finite.
    """
    means, gains = [], []
    for (mean, spread), count in zip(moments, counts, strict=True):
        if not (math.isfinite(mean) and math.isfinite(spread)):
            raise TrunkError("the trunk holds NaN or infinite weights: initialize it first")
        if spread <= 1e-6 * abs(mean) or spread == 0.0:
            spread = _CONSTANT_GAIN * (abs(mean) or 1.0)
        elif abs(mean) < 4 * spread / math.sqrt(count):
            mean = 0.0
        gain = 2.0 ** round(math.log2(spread / math.sqrt(code_size)))
        means.append(round(mean / gain) * gain)
        gains.append(gain)
    return means, gains
