"""Self-maps whose fixed points are known, each with the methods that are known to fail on it.

A method in ``bad`` must not say "converged"; every other solver must find one of the ``solutions``.
"""

from dataclasses import dataclass, field

import torch

from neuralquine.solving.maps import SelfMap

PICARDS = frozenset({"picard", "regeneration"})
UNBOUNDED = PICARDS | {"homotopy"}  # of maps that leave every ball, whose curves go to infinity
SOLVERS = (
    "picard",
    "regeneration",
    "anderson",
    "broyden",
    "newton",
    "newton-krylov",
    "newton-full",
    "deflation",
    "homotopy",
)
EVERY_SOLVER = frozenset(SOLVERS)
COSINE = 0.7390851332151607  # cos x = x
TANH3 = 0.9949015284526289  # tanh 3x = x


@dataclass(frozen=True)
class Problem:
    """A map on rows, its fixed points ``(K, n)``, and who fails on it."""

    rows: object
    n: int
    solutions: torch.Tensor
    bad: frozenset = field(default=frozenset())

    def map(self):
        return SelfMap(self.rows, self.n, dtype=self.solutions.dtype)

    def starts(self, count=2):
        draws = torch.randn(count, self.n, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        return draws.to(self.solutions.dtype)

    def distance(self, x):
        """Relative distance of a point ``(n,)`` to the nearest fixed point."""
        gaps = torch.linalg.vector_norm(self.solutions - x, dim=1) / torch.linalg.vector_norm(self.solutions, dim=1)
        return float(gaps.min())


def affine(radius, dtype=torch.float64, n=8):
    """``A x + b`` with eigenvalues of both signs up to ``radius``, none of them near 1."""
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    matrix = basis @ torch.diag(torch.linspace(-radius, radius, n, dtype=torch.float64)) @ basis.T
    solution = torch.randn(n, generator=generator, dtype=torch.float64)
    offset = (solution - matrix @ solution).to(dtype)
    matrix, solution = matrix.to(dtype), solution.to(dtype)
    return Problem(lambda x: x @ matrix.T + offset, n, solution[None], UNBOUNDED if radius > 1 else frozenset())


def rotation(dtype=torch.float64):
    """A quarter turn of two planes about a point: every orbit has period 4."""
    turn = torch.block_diag(*[torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=dtype)] * 2)
    center = torch.tensor([1.0, 2.0, -0.5, 0.25], dtype=dtype)
    return Problem(lambda x: (x - center) @ turn.T + center, 4, center[None], PICARDS)


def constant(dtype=torch.float64):
    answer = torch.tensor([1.0, -2.0, 0.5], dtype=dtype)
    return Problem(lambda x: answer + 0 * x, 3, answer[None])


def plus_one(dtype=torch.float64):
    """``x + 1``: no fixed point at all."""
    return Problem(lambda x: x + 1, 3, torch.zeros(0, 3, dtype=dtype), EVERY_SOLVER)


def one_minus(dtype=torch.float64):
    """``1 - x``: period 2 from everywhere but 1/2."""
    return Problem(lambda x: 1 - x, 3, torch.full((1, 3), 0.5, dtype=dtype), PICARDS)


def doubling(dtype=torch.float64):
    """``2 x + 1``: repels in every direction, whatever the damping."""
    return Problem(lambda x: 2 * x + 1, 3, torch.full((1, 3), -1.0, dtype=dtype), UNBOUNDED)


def cosine(dtype=torch.float64):
    return Problem(torch.cos, 3, torch.full((1, 3), COSINE, dtype=dtype))


def planted_tanh(radius=0.7, dtype=torch.float64, n=10):
    """``tanh(W x + b)`` with ``b`` such that a chosen point is fixed."""
    generator = torch.Generator().manual_seed(2)
    solution = 0.8 * torch.tanh(torch.randn(n, generator=generator, dtype=torch.float64))
    weight = torch.randn(n, n, generator=generator, dtype=torch.float64)
    jacobian = (1 - solution**2)[:, None] * weight
    weight = weight * radius / torch.linalg.eigvals(jacobian).abs().max()
    bias = (torch.atanh(solution) - weight @ solution).to(dtype)
    weight, solution = weight.to(dtype), solution.to(dtype)
    return Problem(lambda x: torch.tanh(x @ weight.T + bias), n, solution[None])


def nan_after(calls, dtype=torch.float64):
    """``cos x``, and NaN from the call after ``calls`` on."""
    count = [0]

    def rows(x):
        count[0] += 1
        return torch.cos(x) if count[0] <= calls else x * float("nan")

    return Problem(rows, 3, torch.full((1, 3), COSINE, dtype=dtype), EVERY_SOLVER)


def tanh_of_3x(dtype=torch.float64, n=2):
    """``tanh(3 x)`` in each coordinate: 3^n fixed points, all but 0 of which count."""
    top = torch.tensor(TANH3, dtype=torch.float64)
    values = torch.stack([-top, 0 * top, top])
    grid = torch.cartesian_prod(*[values] * n).reshape(-1, n)
    return Problem(lambda x: torch.tanh(3 * x), n, grid[grid.abs().sum(1) > 0].to(dtype))


PROBLEMS = {
    "affine 0.5": lambda dtype: affine(0.5, dtype),
    "affine 0.95": lambda dtype: affine(0.95, dtype),
    "affine 3": lambda dtype: affine(3.0, dtype),
    "rotation": rotation,
    "constant": constant,
    "x + 1": plus_one,
    "1 - x": one_minus,
    "2 x + 1": doubling,
    "cos x": cosine,
    "planted tanh": lambda dtype: planted_tanh(dtype=dtype),
    "NaN after 3 calls": lambda dtype: nan_after(3, dtype),
    "NaN at once": lambda dtype: nan_after(0, dtype),
}
