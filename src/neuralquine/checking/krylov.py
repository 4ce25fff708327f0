"""The largest eigenvalues and the norm of a queried quine's derivative, from products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..quines.queried import QueryQuine
from ..quines.stack import Linearization
from ..solving.maps import derivatives_on

DENSE = 600  # weights up to which the whole Jacobian is written out
_EIGENVALUES = 6  # of largest modulus
_TOLERANCE = 1e-4

Product = Callable[[Tensor], Tensor]


def products(quine: QueryQuine, theta: Tensor) -> tuple[Product, Product]:
    """``v -> J v`` and ``u -> J^T u`` at theta: in float32 for a stack of layers, else as the trunk computes."""
    if quine.stack is not None:
        at = Linearization(quine.stack, theta)
        return (lambda v: at.jvp(v.float()).to(v)), (lambda u: at.vjp(u.float()).to(u))

    def jvp(v: Tensor) -> Tensor:
        return torch.func.jvp(quine.real_code, (theta,), (v.to(theta),))[1].detach()

    def vjp(u: Tensor) -> Tensor:
        with derivatives_on():
            leaf = theta.detach().clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad((quine.real_code(leaf) * u.to(theta)).sum(), leaf)
        return gradient

    return jvp, vjp


def sensitivity(quine: QueryQuine, theta: Tensor) -> tuple[float, Tensor, int]:
    """``||J||_2``, its right singular vector ``(P,)``, and the products it took: Lanczos on ``J^T J``."""
    import scipy.sparse.linalg

    svds: Any = scipy.sparse.linalg.svds
    operator, start, count = _operator(quine, theta)
    _, (norm,), right = svds(operator, k=1, v0=start, tol=_TOLERANCE)
    return float(norm), torch.from_numpy(right[0].copy()).to(theta), count[0]


def eigenvalues(quine: QueryQuine, theta: Tensor) -> tuple[Tensor, int]:
    """The six of largest modulus, or those of them that Arnoldi's iteration settles, and the products it took."""
    import scipy.sparse.linalg

    eigs: Any = scipy.sparse.linalg.eigs
    operator, start, count = _operator(quine, theta)
    try:
        values = eigs(operator, k=_EIGENVALUES, v0=start, tol=_TOLERANCE, ncv=40, maxiter=20, return_eigenvectors=False)
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        values = error.eigenvalues
    found = torch.from_numpy(np.asarray(values, dtype=np.complex128))
    return found[found.abs().argsort(descending=True)], count[0]


def _operator(quine: QueryQuine, theta: Tensor) -> tuple[Any, np.ndarray, list[int]]:
    from scipy.sparse.linalg import LinearOperator

    jvp, vjp = products(quine, theta)
    count = [0]

    def counted(product: Product) -> Callable[[np.ndarray], np.ndarray]:
        def apply(v: np.ndarray) -> np.ndarray:
            count[0] += 1
            vector = torch.from_numpy(np.ascontiguousarray(v).reshape(-1)).to(theta)
            return product(vector).cpu().double().numpy()

        return apply

    n = len(theta)
    operator = LinearOperator((n, n), matvec=counted(jvp), rmatvec=counted(vjp), dtype=np.float64)  # pyright: ignore[reportCallIssue]
    return operator, np.random.default_rng(0).standard_normal(n), count


def continuum(reduced: Tensor, dtype: torch.dtype) -> float | None:
    """Distance of an eigenvalue of ``J`` to 1, if it is so small that a line of fixed points goes through this one."""
    gap = float((1 - torch.linalg.eigvals(reduced.double())).abs().min())
    return gap if gap < torch.finfo(dtype).eps ** 0.6 else None
