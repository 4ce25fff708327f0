"""Anderson acceleration: combine the last few iterates so that their residuals cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..maps import SelfMap
from .base import State, capped
from .registry import method


@method({"anderson": {}})
@dataclass(frozen=True, kw_only=True, slots=True)
class Anderson:
    """``x <- x + beta r - (dX + beta dR) gamma`` with ``gamma = argmin ||r - dR gamma||``; one evaluation a step.

    The least-squares problem is solved by a truncated singular value decomposition: directions below
    ``rcond`` of the largest are dropped, and no ridge of absolute size keeps the residual from reaching
    round-off.

    Attributes:
        depth: m, how many differences are kept.
        beta: mixing.
        rcond: relative cut-off of the singular values.
        step_limit: longest step, Euclidean, in units of the code.

    Fails when: started far from a repelling fixed point; then the residual wanders.

    Source: Anderson (1965); Walker and Ni (2011), equation 2.5.
    """

    depth: int = 10
    beta: float = 1.0
    rcond: float = 1e-12
    step_limit: float = 3.0
    space: str = "reduced"
    starts: ClassVar[int] = 1

    def limits(self, n: int) -> tuple[int, int]:
        return 300, 100

    def init(self, f: SelfMap, x: Tensor) -> State:
        empty = x.new_zeros(len(x), x.shape[1], 0)
        return State(x, f(x), (empty, empty))

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        x, r = state.x[active], state.fx[active] - state.x[active]
        dx, dr = (m[active] for m in state.memory)
        move = self.beta * r
        if dr.shape[2]:
            # Columns without a difference yet (a row that rested) are zero and drop out of the pseudo-inverse.
            wide = dr if dr.itemsize >= 4 else dr.float()  # no matrix is taken apart in narrower types
            gamma = (torch.linalg.pinv(wide, rtol=self.rcond) @ r[:, :, None].to(wide)).to(dr)
            move = move - ((dx + self.beta * dr) @ gamma).squeeze(2)
        move = capped(move, self.step_limit)
        new_x = x + move
        new_fx = f(new_x)
        columns = []
        for memory, column in zip(state.memory, (move, (new_fx - new_x) - r), strict=True):
            appended = memory.new_zeros(len(memory), memory.shape[1], 1)
            appended[active] = column[:, :, None]
            columns.append(torch.cat([memory, appended], 2)[:, :, -self.depth :])
        state.x[active], state.fx[active] = new_x, new_fx
        state.memory = tuple(columns)
        return state
