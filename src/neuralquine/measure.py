"""The figures that are shown wherever a residual is, from one fresh evaluation of the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import bits
from .quine import Quine

CONSTANT_SENSITIVITY = 1e-3  # below it what is printed does not depend on the weights in any useful sense


def round_off(dtype: torch.dtype) -> float:
    """Relative residual that counts as round-off: 40 units, 9e-15 in float64 and 5e-6 in float32."""
    return min(40 * torch.finfo(dtype).eps, 1e-2)


@dataclass(frozen=True)
class Measurement:
    """One fresh evaluation of the network, compared with what it holds."""

    printed: Tensor
    relative_residual: float
    max_abs_residual: float
    weight_rms: float
    differing_weights: int


def measure(quine: Quine) -> Measurement:
    """Print once and compare with the stored weights."""
    theta, printed = quine.theta, quine.printed()
    return Measurement(
        printed,
        relative_residual(printed, theta),
        float((printed - theta).abs().max()),
        float(theta.double().square().mean().sqrt()),
        int(bits.differing(printed, theta).sum()),
    )


def relative_residual(printed: Tensor, theta: Tensor) -> float:
    """``||F(theta) - theta|| / ||theta||``; infinite at ``theta = 0``, so that zero never looks small."""
    size = torch.linalg.vector_norm(theta.double())
    if float(size) == 0.0:
        return float("inf")
    return float(torch.linalg.vector_norm(printed.double() - theta.double()) / size)
