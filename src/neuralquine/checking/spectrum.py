"""Eigenvalues and self-sensitivity of a quine's map, from its derivative."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import NoDerivative
from ..quines.derivatives import Directional
from ..quines.gradients import reverse_jvp
from ..quines.measure import norm
from ..quines.quine import Quine
from .truthful import off_by


@dataclass(frozen=True, repr=False)
class Spectrum:
    """The derivative of the self-map at some weights.

    Attributes:
        eigenvalues: ``(d,)`` complex, sorted by modulus, largest first: the non-zero eigenvalues of ``J_F``; of large
            queried quines only the first few.
        self_sensitivity: ``||J_F||_2``, how strongly what is printed depends on the weights.
        bound: whether the self-sensitivity is only a lower bound of the norm, as it is for large networks.
        jvps: derivative products that the computation took.
        complete: whether ``eigenvalues`` holds all non-zero ones.
        nearest: ``min |1 - lambda|`` where they are not all at hand; NaN where it is not known.
        off: how far the derivative that the module claims is from finite differences, relative, where it is not that of
            what it computes, as behind a stop-gradient; then the other figures are NaN. 0 where nothing is wrong.
    """

    eigenvalues: Tensor
    self_sensitivity: float
    bound: bool = False
    jvps: int = 0
    complete: bool = True
    nearest: float = math.nan
    off: float = 0.0

    def __repr__(self) -> str:
        if self.off:
            return f"Spectrum(the derivative is off by {self.off:.0%} of finite differences: its figures are of another map)"
        at_least = "at least " if self.bound else ""
        some = "" if self.complete else ", not all"
        return (
            f"Spectrum({len(self.eigenvalues)} eigenvalues{some}: spectral radius {self.spectral_radius:.4g}, "
            f"distance to 1 {self.newton_distance:.4g}, self-sensitivity {at_least}{self.self_sensitivity:.4g})"
        )

    @property
    def spectral_radius(self) -> float:
        """``max |lambda|``; NaN where none were computed. Plain regeneration is attracted below 1."""
        return float(self.eigenvalues.abs().max()) if len(self.eigenvalues) else math.nan

    @property
    def damped_regeneration(self) -> float:
        """``max Re lambda``, NaN where none were computed. Regeneration with enough damping is attracted below 1."""
        return float(self.eigenvalues.real.max()) if len(self.eigenvalues) else math.nan

    @property
    def newton_distance(self) -> float:
        """``min |1 - lambda|``: the post's stability figure, the condition for Newton to be well posed.

        Where not all eigenvalues are at hand it is that of the eigenvalue to which Arnoldi's iteration on
        ``(I - J)^-1`` converges, to two digits; NaN where it does not, or where nothing is known of ``I - J``.
        """
        if not self.complete:
            return self.nearest
        return float((1 - self.eigenvalues).abs().min()) if len(self.eigenvalues) else math.nan


def spectrum(quine: Quine, theta: Tensor | None = None, *, near_one: bool = True) -> Spectrum:
    """Eigenvalues of ``J_F(theta)`` and its norm.

    ``J_F = E C`` with the expansion ``E`` ``(P, d)`` and the code's derivative ``C`` ``(d, P)``. So its non-zero
    eigenvalues are those of ``C E``, and ``||E C||^2`` is the largest eigenvalue of ``E^T E C C^T``.

    Args:
        quine: solved or not.
        theta: ``(P,)`` where to look; by default the stored weights.
        near_one: look for the eigenvalue nearest to 1 where not all are at hand.

    A queried quine of more than 600 weights has its eigenvalues of largest modulus computed by Arnoldi's iteration, the
    one nearest to 1 by the same on the inverse where it is a stack of layers, and its norm by Lanczos's. For a network that is printed in place, at its stored weights, d backward passes give the
    eigenvalues without holding ``C``, and the self-sensitivity is a lower bound.

    Raises:
        TooLarge: ``C`` would take more than 2 GiB.
    """
    derivative = quine.derivative(theta)
    if isinstance(derivative, Directional):
        off = off_by(quine, quine.theta if theta is None else theta, derivative)
        if off:
            return Spectrum(
                torch.full((1,), torch.nan, dtype=torch.complex128), math.nan, jvps=derivative.products, off=off
            )
    values, complete = derivative.eigenvalues()
    norm, bound = derivative.norm()
    nearest = math.nan if complete or not near_one else derivative.nearest_to_one()
    return Spectrum(values, norm, bound, derivative.products, complete, nearest)


def glance(quine: Quine) -> Spectrum:
    """A lower bound of the self-sensitivity at the stored weights from one product, for who has no time for more."""
    theta = quine.theta
    direction = torch.randn(len(theta), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(theta)
    direction = direction / norm(direction)
    try:
        answer = torch.func.jvp(quine.real_map, (theta,), (direction,))[1].detach()
    except (RuntimeError, NotImplementedError):  # an operation without forward derivative
        try:
            answer = reverse_jvp(quine.real_map, theta, direction)
        except NoDerivative:
            answer = torch.full_like(direction, torch.nan)
    return Spectrum(torch.zeros(0, dtype=torch.complex128), norm(answer), bound=True, jvps=1, complete=False)


def local_spectrum(quine: Quine, *, near_one: bool = False) -> Spectrum:
    """The spectrum at the stored weights; for a large network only a lower bound of the self-sensitivity.

    Of a module that raises when it is differentiated nothing is known; that is no reason to lose what was found.
    """
    nothing = torch.zeros(0, dtype=torch.complex128)
    try:
        if not quine.in_place:
            return spectrum(quine, near_one=near_one)
        derivative = quine.derivative()
        norm, bound = derivative.norm()
    except NoDerivative:
        return Spectrum(nothing, math.nan, complete=False)
    return Spectrum(nothing, norm, bound, derivative.products, complete=False)
