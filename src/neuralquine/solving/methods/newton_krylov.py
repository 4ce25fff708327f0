"""Matrix-free Newton: each step is solved by GMRES from JVPs alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..maps import SelfMap
from .base import State, check_counts
from .registry import method


@method({"newton-krylov": {}})
@dataclass(frozen=True, kw_only=True, slots=True)
class NewtonKrylov:
    """``(I - J) s = r`` to the forcing term ``eta``, then ``x <- x + t s`` with t halved until the residual falls.

    The inner solver is SciPy's GMRES. The forcing term follows Eisenstat and Walker's choice 2:
    ``eta = 0.9 (||r_k|| / ||r_{k-1}||)^2``, between 1e-8 and ``eta_max``.

    Attributes:
        krylov_dim: Krylov vectors before GMRES restarts.
        restarts: how many times it may restart.
        eta_max: loosest inner tolerance.

    Fails when: the Jacobian has many outlying eigenvalues, so that GMRES needs as many vectors.

    Source: Kelley (2003), chapter 3; Eisenstat and Walker (1996), choice 2.
    """

    krylov_dim: int = 60
    restarts: int = 2
    eta_max: float = 0.1
    space: str = "reduced"
    starts: ClassVar[int] = 8

    def __post_init__(self) -> None:
        check_counts(krylov_dim=self.krylov_dim, restarts=self.restarts)

    def prepare(self) -> None:
        """Let torch import what its first derivative product imports, which takes a second: no clock runs yet."""
        one = torch.ones(1)
        torch.func.jvp(torch.sin, (one,), (one,))

    def limits(self, n: int) -> tuple[int, int]:
        return 60, 15

    def init(self, f: SelfMap, x: Tensor) -> State:
        return State(x, f(x), torch.full((len(x),), float("inf"), dtype=x.dtype, device=x.device))

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        for row in active.tolist():
            x, r = state.x[row].clone(), state.fx[row] - state.x[row]
            size = torch.linalg.vector_norm(r)
            eta = float((0.9 * (size / state.memory[row]) ** 2).clamp(1e-8, self.eta_max))
            direction = self._solve(f, x, r, eta)
            state.memory[row] = size
            t = 1.0
            while True:
                point = x + t * direction
                image = f(point[None])[0]
                if torch.linalg.vector_norm(image - point) < (1 - 1e-4 * t) * size or t < 1 / 32:
                    break
                t /= 2
            state.x[row], state.fx[row] = point, image
        return state

    def _solve(self, f: SelfMap, x: Tensor, r: Tensor, eta: float) -> Tensor:
        from scipy.sparse.linalg import LinearOperator, gmres

        def apply(v: np.ndarray) -> np.ndarray:
            vector = torch.from_numpy(np.ascontiguousarray(v)).to(x).reshape(-1)
            return (vector - f.jvp(x, vector)).cpu().double().numpy()

        n = len(x)
        operator = LinearOperator((n, n), matvec=apply, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        right = r.cpu().double().numpy()
        step, _ = gmres(operator, right, rtol=eta, restart=min(self.krylov_dim, n), maxiter=self.restarts)
        return torch.from_numpy(step).to(x)
