"""Basin hopping over the local minima of the residual."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...errors import BadOption
from ..maps import SelfMap
from .base import State, check_counts
from .krylov_lm import KrylovLM, Memory, relative
from .registry import method


@method({"basin-hopping": {}})
@dataclass(frozen=True, kw_only=True, slots=True)
class BasinHopping:
    """Descend by Levenberg-Marquardt, kick the minimum where that ends, descend again, and go on from the lower of the two.

    Local minima of ``|F(x) - x|`` are where ``I - J`` is singular. They lie near each other, and some of
    them are fixed points. A kick is ``J xi`` with xi from N(0, 1): other directions J forgets, so that a descent would.

    Attributes:
        krylov_dim, eta, forcing, window, gain: those of ``krylov-lm``, which descends.
        least, most: the shortest and the longest kick, relative to the weights; its logarithm is drawn uniformly.
        flat: the relative residual below which one minimum is as good as another; a search that keeps the lowest ends at a near miss.
        seed: seeds what is drawn.

    Fails when: no minimum within reach is lower. Where many eigenvalues of J are above 1, minima are many and low ones rare.

    Source: Li and Scheraga (1987), Wales and Doye (1997).
    """

    krylov_dim: int = 90
    eta: float = 0.2
    forcing: float = 0.9
    window: int = 300
    gain: float = 0.7
    least: float = 0.02
    most: float = 0.3
    flat: float = 1e-3
    seed: int = 0
    space: str = "full"
    starts: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_counts(krylov_dim=self.krylov_dim)
        if not 0 < self.least <= self.most < math.inf:
            raise BadOption(f"basin-hopping: kicks from {self.least} to {self.most} need 0 < least <= most")

    def limits(self, n: int) -> tuple[int, int]:
        return 20_000, 1_000

    def init(self, f: SelfMap, x: Tensor) -> State:
        return State(
            x, f(x), [_Chain(torch.Generator().manual_seed((self.seed + row) % 2**63)) for row in range(len(x))]
        )

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        for row in active.tolist():
            state.x[row], state.fx[row] = self._step(f, state.x[row], state.fx[row], state.memory[row])
        return state

    def _step(self, f: SelfMap, x: Tensor, fx: Tensor, chain: _Chain) -> tuple[Tensor, Tensor]:
        """One step of the descent, or where it has ended a kick."""
        x, fx = self._descent.advance(f, x, fx, chain.descent)
        if not chain.descent.stuck:
            return x, fx
        residual = relative(x, fx)
        if residual < max(chain.residual, self.flat):
            chain.minimum, chain.residual = x.clone(), residual
        if chain.minimum is None:  # NaN from the start on
            return x, fx
        product, _ = f.linearize(chain.minimum)
        share, drawn = float(torch.rand((), generator=chain.draws)), torch.randn(len(x), generator=chain.draws)
        length = math.exp(math.log(self.least) + share * math.log(self.most / self.least))
        direction = normalize(product(drawn.to(x.device)), dim=0).to(x)
        x = chain.minimum + length * torch.linalg.vector_norm(chain.minimum) * direction
        chain.descent = Memory()
        return x, f(x[None])[0]

    @property
    def _descent(self) -> KrylovLM:
        return KrylovLM(
            krylov_dim=self.krylov_dim, eta=self.eta, forcing=self.forcing, window=self.window, gain=self.gain
        )


@dataclass
class _Chain:
    """The memory of one start: the minimum from which it goes on, and the descent that is under way."""

    draws: torch.Generator
    minimum: Tensor | None = None
    residual: float = math.inf
    descent: Memory = field(default_factory=Memory)
