"""Eigenvalues and norms of large derivatives from products alone: Arnoldi's and Lanczos's iterations, by SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]

EIGENVALUES = 6  # eigenvalues of largest modulus that are looked for
_TOLERANCE = 1e-4  # relative accuracy: the figures are shown with three digits
_VECTORS, _RESTARTS = 40, 20  # of Arnoldi's iteration; unconverged eigenvalues are left out


class _NotFinite(Exception):
    """A product holds NaN or infinity."""


class Products:
    """``v -> J v`` and ``u -> J^T u`` as SciPy takes them, each one counted.

    Args:
        jvp, vjp: the products, ``(P,)`` to ``(P,)``.
        like: a tensor ``(P,)`` of the type and device that they take.
    """

    def __init__(self, jvp: Product, vjp: Product, like: Tensor) -> None:
        from scipy.sparse.linalg import LinearOperator

        self.count, self._like, n = 0, like, len(like)
        make: Any = LinearOperator  # its stubs know other arguments
        self.operator = make((n, n), matvec=self._counted(jvp), rmatvec=self._counted(vjp), dtype=np.float64)
        self.start = np.random.default_rng(0).standard_normal(n)

    def _counted(self, product: Product) -> Callable[[np.ndarray], np.ndarray]:
        def apply(v: np.ndarray) -> np.ndarray:
            self.count += 1
            vector = torch.from_numpy(np.ascontiguousarray(v).reshape(-1)).to(self._like)
            answer = product(vector).cpu().double().numpy()
            if not np.isfinite(answer).all():  # ARPACK would search on without an end
                raise _NotFinite
            return answer

        return apply

    def singular(self) -> tuple[float, Tensor]:
        """``||J||_2`` and its right singular vector ``(P,)``, by Lanczos on ``J^T J``."""
        import scipy.sparse.linalg

        svds: Any = scipy.sparse.linalg.svds
        try:
            _, (norm,), right = svds(self.operator, k=1, v0=self.start, tol=_TOLERANCE)
        except _NotFinite:
            return math.nan, torch.full_like(self._like, torch.nan)
        except scipy.sparse.linalg.ArpackError:
            if self.operator.matvec(self.start).any():
                raise
            return 0.0, torch.from_numpy(self.start / np.linalg.norm(self.start)).to(self._like)
        return float(norm), torch.from_numpy(right[0].copy()).to(self._like)

    def eigenvalues(self) -> Tensor:
        """Up to six eigenvalues of largest modulus: those that Arnoldi's iteration converges to."""
        import scipy.sparse.linalg

        eigs: Any = scipy.sparse.linalg.eigs
        settings = {"tol": _TOLERANCE, "ncv": min(_VECTORS, len(self.start)), "maxiter": _RESTARTS}
        try:
            values = eigs(self.operator, k=EIGENVALUES, v0=self.start, return_eigenvectors=False, **settings)
        except scipy.sparse.linalg.ArpackNoConvergence as error:
            values = error.eigenvalues
        except scipy.sparse.linalg.ArpackError:  # it begins with a product, and knows no other way if that is 0
            if self.operator.matvec(self.start).any():
                raise
            values = [0.0]
        except _NotFinite:
            values = [math.nan]
        return by_modulus(torch.from_numpy(np.asarray(values, dtype=np.complex128)))


def by_modulus(values: Tensor) -> Tensor:
    """Eigenvalues, the largest first."""
    return values[values.abs().argsort(descending=True)]
