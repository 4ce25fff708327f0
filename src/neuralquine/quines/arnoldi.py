"""Krylov subspaces of ``I - J`` from products alone: Arnoldi's process, and what it says about eigenvalues of J near 1.

An eigenvalue of exactly 1 means a line of fixed points: along it a network answers whatever it is given, and a residual
of round-off, weights of a healthy size and spread do not show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]

_BREAKDOWN = {torch.float32: 1e-7, torch.float64: 1e-15}  # a new vector of this relative size is round-off
_CHECK_EVERY = 4  # Krylov vectors between two looks at the residual, for each of which an accelerator is waited for
_SOLVED = 1e-3  # relative residual of the inner systems
_INNER = 300  # most Krylov vectors of an inner system; healthy quines of 20,100 weights need some 60
_OUTER = 20  # most vectors of the inverse iteration; 8 to 14 are usual
_PRODUCTS = 1200  # most products of the inverse iteration: between quines the inner systems are hard
_NUMBERS = 20_000_000  # products times unknowns that are taken in any case: those of a small network cost less
# Relative residual of the eigenpair at which its distance is printed: with two digits. Two eigenvalues near 1 disturb each other, as J
# is not normal: where 0.047 and 0.062 were the nearest, 0.03 said 0.040, and this 0.046.
_SHARP = 0.003
_ROUNDS = 5  # most rounds in which a direction that J takes to itself is looked for
_FALLS = 0.2  # share of the change along it that a round has to leave at most, as it does where there is a line


class _Rotated:
    """The least-squares problem ``min |e_1 - H y|`` of a growing Hessenberg matrix, by Givens rotations.

    Attributes:
        left: what is left of ``|e_1|``: the relative residual of the subspace so far.
    """

    def __init__(self) -> None:
        self.left = 1.0
        self._rotations: list[tuple[float, float]] = []

    def take(self, column: list[float]) -> None:
        """Take the next column of H, which is one longer than the last one."""
        for i, (c, s) in enumerate(self._rotations):
            column[i], column[i + 1] = c * column[i] + s * column[i + 1], c * column[i + 1] - s * column[i]
        a, b = column[-2:]
        size = math.hypot(a, b)
        c, s = (a / size, b / size) if size > 0 else (0.0, 1.0)
        self._rotations.append((c, s))
        self.left *= abs(s)


@torch.no_grad()
def arnoldi(product: Product, precondition: Product, b: Tensor, eta: float, most: int) -> tuple[Tensor, Tensor, float]:
    """``(I - J) Z = V H`` with ``V[0] = b / beta`` until the residual of the subspace is below ``eta beta``.

    H stays where b is, and is looked at only every few vectors.

    Returns:
        ``Z`` ``(k, n)`` preconditioned vectors, ``H`` ``(k + 1, k)`` in float64 on the CPU, and beta.
    """
    most = min(most, len(b))
    beta = float(torch.linalg.vector_norm(b))
    v, z = b.new_empty(most + 1, len(b)), b.new_empty(most, len(b))
    columns = b.new_zeros(most, most + 1)
    v[0] = b / beta
    h = torch.zeros(most + 1, most, dtype=torch.float64)
    seen, problem = 0, _Rotated()
    for k in range(most):
        z[k] = precondition(v[k])
        w = z[k] - product(z[k])
        basis = v[: k + 1]
        for _ in range(2):  # twice is enough
            share = basis @ w
            w = torch.addmv(w, basis.mT, share, alpha=-1)
            columns[k, : k + 1] += share
        size = columns[k, k + 1] = torch.linalg.vector_norm(w)
        torch.div(w, size.clamp_min(torch.finfo(w.dtype).tiny), out=v[k + 1])
        if (k + 1) % _CHECK_EVERY and k + 1 < most:
            continue
        for j, column in enumerate(columns[seen : k + 1].double().cpu(), seen):
            h[: j + 2, j] = column[: j + 2]
            problem.take(column[: j + 2].tolist())
            if not float(column[j + 1]) > _BREAKDOWN[b.dtype] * float(column[: j + 1].norm()):
                return z[: j + 1], h[: j + 2, : j + 1], beta
        seen = k + 1
        if problem.left < eta:
            return z[:seen], h[: seen + 1, :seen], beta
    return z, h, beta


def solved(product: Product, precondition: Product, b: Tensor, eta: float, most: int) -> tuple[Tensor, bool]:
    """``(I - J)^-1 b`` ``(P,)`` by GMRES, and whether it came within ``eta``."""
    z, h, beta = arnoldi(product, precondition, b, eta, most)
    first = torch.zeros(len(h), 1, dtype=h.dtype)
    first[0] = beta
    y = torch.linalg.lstsq(h, first, driver="gelsd").solution
    return y[:, 0].to(z) @ z, float(torch.linalg.vector_norm(first - h @ y)) <= 1.01 * eta * beta


@torch.no_grad()
def distance_to_one(product: Product, precondition: Product, like: Tensor) -> float:
    """``min |1 - lambda|`` over the eigenvalues of J, by Arnoldi's iteration on ``(I - J)^-1``; NaN where it is not known.

    Args:
        product: ``v -> J v``, ``(P,)`` to ``(P,)``.
        precondition: an approximate inverse of ``I - J``.
        like: a tensor ``(P,)`` of the type and device in which it computes.
    """
    basis, spent = _drawn(like)[None], 0

    def counted(v: Tensor) -> Tensor:
        nonlocal spent
        spent += 1
        return product(v)

    h = torch.zeros(_OUTER + 1, _OUTER, dtype=torch.float64)
    for k in range(_OUTER):
        w, done = solved(counted, precondition, basis[k], _SOLVED, _INNER)
        if not done or spent > max(_PRODUCTS, _NUMBERS // len(like)):
            return math.nan
        for _ in range(2):
            share = basis @ w
            w = w - share @ basis
            h[: k + 1, k] += share.cpu()
        size = h[k + 1, k] = torch.linalg.vector_norm(w).cpu()
        values, vectors = torch.linalg.eig(h[: k + 1, : k + 1])
        first = int(values.abs().argmax())
        largest = float(values[first].abs())
        if not largest < math.inf:
            return math.nan
        if float(size) * float(vectors[-1, first].abs()) < _SHARP * largest and k:
            return 1 / largest
        basis = torch.cat([basis, (w / size.to(w))[None]])
    return math.nan


@torch.no_grad()
def fixed_direction(product: Product, precondition: Product, like: Tensor, *, nothing: float) -> Tensor | None:
    """A unit direction ``t`` ``(P,)`` with ``J t = t`` up to ``nothing``; None where there is none.

    ``t <- t - (I - J)^-1 (I - J) t``, each inverse by GMRES within the range of ``I - J``: what is left of a random
    direction is its part along the null space of ``I - J``, and nothing where that is empty.
    """
    t, before = _drawn(like), math.inf
    for _ in range(_ROUNDS):
        moved = t - product(t)
        gap = float(torch.linalg.vector_norm(moved))
        if gap < nothing:
            return t
        if not gap < before:
            return None
        before = _FALLS * gap
        step, _ = solved(product, precondition, moved, _SOLVED, _INNER)
        t = t - step
        size = torch.linalg.vector_norm(t)
        if not float(size) > 0:
            return None
        t = t / size
    return None


def _drawn(like: Tensor) -> Tensor:
    v = torch.randn(len(like), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(like)
    return v / torch.linalg.vector_norm(v)
