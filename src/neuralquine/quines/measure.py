"""The figures that are shown wherever a residual is, from one fresh evaluation of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import bits
from .known import known, printed_code
from .quine import Quine

UNIFORM = 0.05  # standard deviation over root mean square below which the weights count as one number
CONSTANT_SENSITIVITY = 1e-3  # self-sensitivity below which a quine counts as a printed constant


def round_off(dtype: torch.dtype) -> float:
    """Relative residual that counts as round-off: 40 units, 9e-15 in float64 and 5e-6 in float32."""
    return min(40 * torch.finfo(dtype).eps, 1e-2)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One fresh evaluation of the network, compared with the stored weights, piece by piece.

    Attributes:
        relative_residual: ``||F(theta) - theta|| / ||theta||``, infinite at ``theta = 0``.
        squared_residual: ``||F(theta) - theta||^2``.
        max_abs_residual: ``max |F(theta) - theta|``.
        weight_rms: root-mean-square weight; a small one makes any absolute residual meaningless.
        differing_weights: the number of weights whose printed bits differ from the stored ones.
        max_ulp: the largest distance of a printed weight to the stored one in ulp; -1 if a NaN is among them.
        nonfinite_weights: the number of stored and printed weights that are NaN or infinite.
        subnormal_weights: the number of stored weights below the smallest normal number, but not zero.
    """

    relative_residual: float
    squared_residual: float
    max_abs_residual: float
    weight_rms: float
    differing_weights: int
    max_ulp: int
    nonfinite_weights: int
    subnormal_weights: int


@torch.no_grad()
def measure(quine: Quine) -> Measurement:
    """Print once and compare with the stored weights; takes no room for a second copy of a large network."""
    difference = size = largest = 0.0
    differing = nonfinite = subnormal = ulp = 0
    room = Room()
    code = printed_code(quine) if quine.in_place else quine.code()
    for stored, printed in quine.printed_pieces(code):
        if stored.numel() == 0:
            continue
        if bits.same(printed, stored):  # as of a quine on a grid: then there is nothing to measure but the weights
            length = norm(room.wide(stored))
            if math.isfinite(length):
                size = math.hypot(size, length)
                subnormal += bits.subnormal_count(stored)
                continue
        gap = printed.double() - stored.double()
        difference = math.hypot(difference, norm(gap))
        size = math.hypot(size, norm(stored))
        worst = float(gap.abs().max())
        largest = worst if math.isnan(worst) else max(largest, worst)
        here = int(bits.differing(printed, stored).sum())
        if here:
            differing += here
            far = bits.largest_ulp(printed, stored)
            ulp = -1 if min(far, ulp) < 0 else max(far, ulp)
        nonfinite += bits.nonfinite_count(stored) + bits.nonfinite_count(printed)
        subnormal += bits.subnormal_count(stored)
    return Measurement(
        relative_residual=float("inf") if size == 0.0 else difference / size,
        squared_residual=difference * difference,
        max_abs_residual=largest,
        weight_rms=size / math.sqrt(quine.parameter_count),
        differing_weights=differing,
        max_ulp=ulp,
        nonfinite_weights=nonfinite,
        subnormal_weights=subnormal,
    )


class Room:
    """Where pieces are written in float64: memory that is new for each costs more than what is computed in it."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def wide(self, x: Tensor) -> Tensor:
        """The numbers of ``x`` in float64, until the next are asked for."""
        if x.dtype == torch.float64:
            return x
        if self._held is None or len(self._held) < x.numel() or self._held.device != x.device:
            self._held = None  # before there is more
            self._held = torch.empty(x.numel(), dtype=torch.float64, device=x.device)
        return self._held[: x.numel()].view(x.shape).copy_(x)


def measured_once(quine: Quine) -> Measurement:
    """:func:`measure`; inside of ``known_once`` a large network is measured once, with activations on their grid and without."""
    return known(quine, f"measurement on {quine.activation_bits}", lambda: measure(quine))


def norm(x: Tensor) -> float:
    """Euclidean length, also of numbers whose squares are too small or too large for their type."""
    x = x.double()
    length = float(torch.linalg.vector_norm(x))
    if 1e-140 < length < 1e140 or x.numel() == 0:
        return length
    largest = float(x.abs().max())
    return largest * float(torch.linalg.vector_norm(x / largest)) if 0 < largest < math.inf else largest


def variation(theta: Tensor) -> float:
    """Standard deviation of the weights over their root mean square: 0 for one constant, 1 for a mean of 0."""
    return float(theta.std(correction=0) / theta.square().mean().sqrt().clamp_min(torch.finfo(theta.dtype).tiny))


def relative_residual(printed: Tensor, theta: Tensor) -> float:
    """``||F(theta) - theta|| / ||theta||``; infinite at ``theta = 0``, so that zero never looks small."""
    size = norm(theta)
    return norm(printed.double() - theta.double()) / size if size else math.inf
