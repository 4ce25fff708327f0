"""The affine subspace that the values of a self-map span, where that has far fewer dimensions than there are weights.

A module that prints its weights through a fixed matrix prints a point of the span of that matrix's rows, whatever it
holds: the map of the post has rank 19. The subspace is found from values of the map at random weights and one singular
value decomposition, and believed only when fresh values lie in it to round-off. Every fixed point of the map lies in it
too, and is one of a map on its coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_SAMPLES = (48, 144, 432)  # values of the map; three for each dimension, so that a full-looking rank is not cut off
_SHARE = 2 / 3  # of the samples, up to which their rank is taken for that of the map
_FRESH = 8  # values that the subspace was not made of; each finds a missing dimension almost surely
_BYTES = 512 << 20  # of the samples and their decomposition
_ROUND_OFF = 300  # units of round-off, relative to the value, that a value may lie off the subspace
_DRAWN = 0x5E1F  # seed of the random weights: their span does not depend on it


@dataclass(frozen=True)
class Subspace:
    """``theta = base + spread * c B`` with orthonormal rows ``B``: codes ``c`` ``(r,)`` for weights ``(P,)``.

    As a printer's part of a derivative it is ``B``, whose products are those of orthonormal coordinates.

    Attributes:
        base: ``(P,)`` the point of the subspace that is nearest to 0.
        basis: ``(r, P)`` orthonormal rows.
        spread: the root-mean-square coordinate of a value of the map at random weights.
    """

    base: Tensor
    basis: Tensor
    spread: float

    @property
    def rank(self) -> int:
        """r, the dimensions of the subspace."""
        return len(self.basis)

    def expand(self, c: Tensor) -> Tensor:
        """Codes ``(..., r)`` to weights ``(..., P)``."""
        return self.base + (self.spread * c) @ self.basis

    def coordinates(self, theta: Tensor) -> Tensor:
        """Weights ``(..., P)`` to the codes ``(..., r)`` of the nearest points."""
        return (theta - self.base) @ self.basis.mT / self.spread

    def off(self, values: Tensor) -> float:
        """The largest distance of values ``(n, P)`` to the subspace, relative to their length, or to a usual one."""
        gaps = torch.linalg.vector_norm(values - self.expand(self.coordinates(values)), dim=-1)
        return float((gaps / torch.linalg.vector_norm(values, dim=-1).clamp_min(self.spread * self.rank**0.5)).max())

    def holds(self, values: Tensor) -> bool:
        """Whether values ``(n, P)`` lie in it, to round-off."""
        return self.off(values) <= _ROUND_OFF * torch.finfo(values.dtype).eps

    # -- what a derivative asks of a printer ---------------------------------------------------------------------

    @property
    def code_size(self) -> int:
        return self.rank

    def linear(self, c: Tensor) -> Tensor:
        return c @ self.basis

    def pull_back(self, rows: Tensor) -> Tensor:
        return rows @ self.basis.mT

    def gram(self) -> Tensor:
        return torch.eye(self.rank, dtype=self.basis.dtype, device=self.basis.device)


@torch.no_grad()
def spanned(
    rows: Callable[[Tensor], Tensor], draw: Callable[[int, torch.Generator], Tensor], count: int
) -> Subspace | None:
    """The subspace that the values of a map span; None where they span nearly as much as was drawn.

    Args:
        rows: the map, on rows of weights ``(n, P)``.
        draw: random weights ``(n, P)``.
        count: P.
    """
    generator = torch.Generator().manual_seed(_DRAWN)
    values: Tensor | None = None
    for number in _SAMPLES:
        if number * count * 24 > _BYTES or (values is not None and len(values) >= 2 * count):
            return None
        new = rows(draw(number - (0 if values is None else len(values)), generator))
        values = new if values is None else torch.cat([values, new])
        if not bool(torch.isfinite(values).all()):
            return None
        found = _span_of(values)
        if found is None or found.rank > _SHARE * number:
            continue
        if found.rank <= count // 2 and found.holds(rows(draw(_FRESH, generator))):
            return found
    return None


def _span_of(values: Tensor) -> Subspace | None:
    """The span of values ``(n, P)`` around their mean; None where they are one point."""
    wide = values.double()
    mean = wide.mean(0)
    q, r = torch.linalg.qr((wide - mean).mT)  # a decomposition of n x n numbers remains
    u, sizes, _ = torch.linalg.svd(r)
    eps = torch.finfo(values.dtype).eps
    rank = int((sizes > eps ** (2 / 3) * sizes[0] + 10 * eps * float(torch.linalg.vector_norm(wide))).sum())
    if rank == 0:
        return None
    basis = (q @ u[:, :rank]).mT.contiguous()
    base = mean - (mean @ basis.mT) @ basis
    spread = float(((wide - base) @ basis.mT).square().mean().sqrt())
    return Subspace(base.to(values), basis.to(values), spread)
