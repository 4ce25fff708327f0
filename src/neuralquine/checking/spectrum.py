"""Eigenvalues and self-sensitivity of a quine's map, from d derivative products instead of a P x P matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import check_bytes
from ..quines.printers.hadamard import HadamardExpansion
from ..quines.queried import QueryQuine
from ..quines.quine import Quine
from ..solving.maps import SelfMap, code_jacobian, derivatives_on, stored_gradient, stored_gradients
from .krylov import DENSE, sensitivity
from .krylov import eigenvalues as queried_eigenvalues

_POWER_STEPS = 8
_PROBES = 4  # random directions of the bound


@dataclass(frozen=True)
class Spectrum:
    """The derivative of the self-map at some weights.

    Attributes:
        eigenvalues: ``(d,)`` complex, sorted by modulus, largest first: the non-zero eigenvalues of ``J_F``; of large
            queried quines only the first few.
        self_sensitivity: ``||J_F||_2``, how strongly what is printed depends on the weights.
        bound: the self-sensitivity is only a lower bound of it, as for large networks.
        jvps: derivative products that it took.
    """

    eigenvalues: Tensor
    self_sensitivity: float
    bound: bool = False
    jvps: int = 0

    @property
    def spectral_radius(self) -> float:
        """``max |lambda|``; NaN where none were computed. Plain regeneration is attracted below 1."""
        return float(self.eigenvalues.abs().max()) if len(self.eigenvalues) else float("nan")

    @property
    def damped_regeneration(self) -> float:
        """``max Re lambda``. Regeneration with enough damping is attracted below 1."""
        return float(self.eigenvalues.real.max())

    @property
    def newton_distance(self) -> float:
        """``min |1 - lambda|``: the post's stability figure, the condition for Newton to be well posed."""
        return float((1 - self.eigenvalues).abs().min())


def spectrum(quine: Quine, theta: Tensor | None = None) -> Spectrum:
    """Eigenvalues of ``J_F(theta)`` and its norm.

    ``J_F = E C`` with the expansion ``E`` ``(P, d)`` and the code's derivative ``C`` ``(d, P)``. So its non-zero
    eigenvalues are those of ``C E``, and ``||E C||^2`` is the largest eigenvalue of ``E^T E C C^T``.

    Args:
        quine: solved or not.
        theta: ``(P,)`` where to look; by default the stored weights.

    Of a queried quine of more than 600 weights, the eigenvalues of largest modulus and the norm, by Arnoldi and Lanczos.
    Of a network that is printed in place, at its stored weights, d backward passes give the eigenvalues without
    holding ``C``, and the self-sensitivity is a lower bound.

    Raises:
        TooLarge: ``C`` would take more than 2 GiB.
    """
    if quine.in_place and theta is None:
        return _of_stored(quine)
    theta = quine.theta if theta is None else theta
    if quine.constructed:
        return _of_constructed(quine, theta)
    if isinstance(quine, QueryQuine) and quine.parameter_count > DENSE:
        values, products = queried_eigenvalues(quine, theta)
        norm, _, more = sensitivity(quine, theta)
        return Spectrum(values, norm, jvps=products + more)
    check_bytes(
        "the derivative of the code",
        theta.numel() * quine.code_size * theta.element_size(),
        "use fewer weights",
    )
    derivative = code_jacobian(quine, theta[None])[0].to(quine.code_dtype)
    if not bool(torch.isfinite(derivative).all()):
        nan = torch.full((quine.code_size,), float("nan"), dtype=torch.complex128)
        return Spectrum(nan, float("nan"), jvps=quine.code_size)
    reduced = quine.expand.pull_back(derivative)
    eigenvalues = _sorted_eigenvalues(reduced)
    values, vectors = torch.linalg.eigh(quine.expand.gram().double())
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    derivative = derivative.double()
    norm = torch.linalg.eigvalsh(root @ (derivative @ derivative.mT) @ root).max().clamp_min(0).sqrt()
    return Spectrum(eigenvalues, float(norm), jvps=quine.code_size)


def _of_constructed(quine: Quine, theta: Tensor) -> Spectrum:
    """By power iteration on ``J`` and on ``J^T J``: a code of thousands of numbers has too large a derivative.

    Where every sign is read with a margin the derivative is exactly 0, and the first product shows it.
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(theta), generator=generator, dtype=torch.float64).to(theta)
    start = start / torch.linalg.vector_norm(start)
    f, radius, norm = SelfMap(lambda rows: torch.stack([quine.real_map(row) for row in rows]), len(theta)), 0.0, 0.0
    v = w = start
    for _ in range(_POWER_STEPS):
        v, w = f.jvp(theta, v), f.vjp(theta[None], f.jvp(theta, w)[None])[0]
        radius, norm = float(torch.linalg.vector_norm(v)), math.sqrt(float(torch.linalg.vector_norm(w)))
        if radius == 0.0 or norm == 0.0:
            break
        v, w = v / radius, w / torch.linalg.vector_norm(w)
    return Spectrum(torch.tensor([complex(radius)], dtype=torch.complex128), norm, bound=True, jvps=f.jvps)


def _sorted_eigenvalues(reduced: Tensor) -> Tensor:
    eigenvalues = torch.linalg.eigvals(reduced.double())
    return eigenvalues[eigenvalues.abs().argsort(descending=True)]


def _of_stored(quine: Quine) -> Spectrum:
    expand = quine.expand
    assert isinstance(expand, HadamardExpansion)
    rows = [expand.pull_back_tensors(gradient) for gradient in stored_gradients(quine)]
    cost = quine.code_size + _PROBES
    return Spectrum(_sorted_eigenvalues(torch.stack(rows)), sensitivity_bound(quine), bound=True, jvps=cost)


def local_spectrum(quine: Quine) -> Spectrum:
    """The spectrum; of a large network only a lower bound of the self-sensitivity, and no eigenvalues."""
    if not quine.in_place:
        return spectrum(quine)
    return Spectrum(torch.zeros(0, dtype=torch.complex128), sensitivity_bound(quine), bound=True, jvps=_PROBES)


def sensitivity_bound(quine: Quine) -> float:
    """A lower bound of ``||J_F||_2``.

    ``J_F = E C`` and ``||E C|| >= sigma_min(E) ||C^T u||`` for every unit vector u of the code: the largest of four
    random ones, one backward pass each.
    """
    generator = torch.Generator().manual_seed(0)
    smallest = float(torch.linalg.eigvalsh(quine.expand.gram().double())[0].clamp_min(0).sqrt())
    largest = 0.0
    for _ in range(_PROBES):
        u = torch.randn(quine.code_size, generator=generator, dtype=torch.float64)
        u = (u / torch.linalg.vector_norm(u)).to(quine.trunk_device, quine.code_dtype)
        with derivatives_on():
            pulled = stored_gradient(quine, lambda c, u=u: (c * u).sum())
        norms = [float(torch.linalg.vector_norm(g.float())) for g in pulled if g is not None]
        largest = max(largest, math.hypot(*norms) if norms else 0.0)
        del pulled
    return smallest * largest
