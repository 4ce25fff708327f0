"""Hill-climbing: change the weights at random, and keep the change if the residual falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..maps import SelfMap
from .base import State
from .registry import method


@method({"hill-climbing": {}})
@dataclass(frozen=True, kw_only=True, slots=True)
class HillClimbing:
    """``x' = x + sigma rms(x) N(0, I)``, kept if ``||f(x') - x'||^2`` is smaller: one evaluation a step.

    Attributes:
        sigma: size of a change, relative to the root-mean-square weight of the start.
        seed: seed of the changes.

    Fails when: there are more than a few unknowns; and smaller weights have smaller residuals, so it climbs to zero.

    Source: Chang and Lipson (2018), section 3.2.
    """

    sigma: float = 0.01
    seed: int = 0
    space: str = "full"
    starts: ClassVar[int] = 1

    def limits(self, n: int) -> tuple[int, int]:
        return 10_000, 1_000_000

    def init(self, f: SelfMap, x: Tensor) -> State:
        size = self.sigma * x.square().mean(1, keepdim=True).sqrt()
        return State(x, f(x), (torch.Generator().manual_seed(self.seed), size))

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        generator, size = state.memory
        noise = torch.randn(state.x.shape, generator=generator, dtype=torch.float64).to(state.x)
        trial = (state.x + size * noise)[active]
        image = f(trial)
        better = (image - trial).square().sum(1) < (state.fx[active] - state.x[active]).square().sum(1)
        kept = active[better]
        state.x[kept], state.fx[kept] = trial[better], image[better]
        return state
