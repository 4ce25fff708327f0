"""Damped Newton with a dense Jacobian, on the code or on all weights, with deflation of known quines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..maps import SelfMap
from .base import State
from .registry import method


@method({"newton": {}, "newton-full": {"space": "full", "line_search": False}, "deflation": {"deflate": True}})
@dataclass(frozen=True, kw_only=True, slots=True)
class Newton:
    """``x <- x + t (I - J(x))^-1 (f(x) - x)`` with t halved until the residual falls.

    Attributes:
        line_search: Armijo backtracking; without it this is part 1's method, which oscillates.
        deflate: multiply the residual by ``prod_i (1 + 1 / ||x - x_i||^2)`` over the solutions ``x_i`` in
            ``f.known``, so that they no longer attract. The deflated step is parallel to Newton's own.
        space: "reduced" needs d derivative products a step, "full" builds the ``P x P`` Jacobian and is refused
            above 2 GiB.

    Fails when: the residual norm has a local minimum away from any solution; take several starts.

    Source: Kelley, "Solving nonlinear equations with Newton's method" (2003); deflation: Farrell, Birkisson and
        Funke (2015), with the step length of Farrell, Croci and Surowiec (2019).
    """

    line_search: bool = True
    deflate: bool = False
    space: str = "reduced"
    starts: ClassVar[int] = 8
    _halvings: ClassVar[int] = 6

    def limits(self, n: int) -> tuple[int, int]:
        return 60, 12

    def init(self, f: SelfMap, x: Tensor) -> State:
        return State(x, f(x))

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        x, r = state.x[active], state.fx[active] - state.x[active]
        jacobian = f.jacobian(x)  # refused before memory of its size is taken
        matrix = torch.eye(f.n, dtype=x.dtype, device=x.device) - jacobian
        direction, info = torch.linalg.solve_ex(matrix, r)
        whole = torch.isfinite(matrix).flatten(1).all(1)
        direction[~whole] = torch.nan  # the loop names a NaN; a decomposition would crash on it
        bad = whole & ((info != 0) | ~torch.isfinite(direction).all(1))
        if bool(bad.any()):  # singular: the shortest least-squares step, rank-revealing
            direction[bad] = (torch.linalg.pinv(matrix[bad]) @ r[bad][:, :, None]).squeeze(2)
        known = f.known if self.deflate else f.known[:0]
        if len(known):
            direction = direction * self._deflation(x, direction, known)[:, None]
        t = x.new_ones(len(x))
        size = self._size(x, r, known)
        todo = torch.arange(len(x), device=x.device)
        for halving in range(self._halvings + 1):
            point = x[todo] + t[todo, None] * direction[todo]
            image = f(point)
            enough = self._size(point, image - point, known) < (1 - 1e-4 * t[todo]) * size[todo]
            accept = enough | (not self.line_search) | (halving == self._halvings)
            rows = active[todo[accept]]
            state.x[rows], state.fx[rows] = point[accept], image[accept]
            todo = todo[~accept]
            if len(todo) == 0:
                break
            t[todo] /= 2
        return state

    @staticmethod
    def _size(x: Tensor, r: Tensor, known: Tensor) -> Tensor:
        """Norm of the (deflated) residual ``m(x) r``."""
        norm = torch.linalg.vector_norm(r, dim=1)
        if len(known) == 0:
            return norm
        return norm * (1 + 1 / (x[:, None] - known).square().sum(2)).log().sum(1).exp()

    @staticmethod
    def _deflation(x: Tensor, direction: Tensor, known: Tensor) -> Tensor:
        """``1 / (1 - grad(log m) . direction)``: the length of the deflated step, by Sherman and Morrison."""
        gap = x[:, None] - known
        square = gap.square().sum(2, keepdim=True)
        gradient = (-2 * gap / (square * (square + 1))).sum(1)
        slope = (gradient * direction).sum(1)
        return 1 / torch.where((1 - slope).abs() < 1e-3, torch.full_like(slope, 1e-3), 1 - slope)
