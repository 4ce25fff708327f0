"""Picard iteration, which this field calls regeneration: print, install what was printed, print again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..maps import SelfMap
from .base import State
from .registry import method


@method({"picard": {}, "regeneration": {"space": "full"}})
@dataclass(frozen=True, kw_only=True, slots=True)
class Picard:
    """``x <- x + damping (f(x) - x)``: one evaluation a step.

    Attributes:
        damping: 1 is plain regeneration, which converges only where the spectral radius is below 1; small enough
            values converge wherever every eigenvalue has a real part below 1.
        space: "full" regenerates the weights themselves, "reduced" the code; the iterates correspond.

    Fails when: the fixed point repels, as all known quines of the blog's network do.

    Source: Picard (1890); regeneration: Chang and Lipson (2018), section 3.3.
    """

    damping: float = 1.0
    space: str = "reduced"
    starts: ClassVar[int] = 1

    def limits(self, n: int) -> tuple[int, int]:
        return 10_000, 500

    def init(self, f: SelfMap, x: Tensor) -> State:
        return State(x, f(x))

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        state.x[active] += self.damping * (state.fx[active] - state.x[active])
        state.fx[active] = f(state.x[active])
        return state
