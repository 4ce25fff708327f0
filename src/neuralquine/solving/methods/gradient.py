"""The post's training loop: an optimizer on the squared difference of printed and stored weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...errors import BadOption
from ..maps import SelfMap
from .base import State
from .optimizers import OPTIMIZERS, check_optimizer, import_machinery
from .registry import method


@method({name: {"optimizer": name} for name in OPTIMIZERS})
@dataclass(frozen=True, kw_only=True, slots=True)
class Gradient:
    """Minimize ``L = ||F(theta) - theta||^2`` with a torch optimizer.

    Attributes:
        optimizer: a name from ``optimizers.py``.
        lr: learning rate; the post uses 1e-3.
        gradient: "semi" is what the post's code does: it copies the weights into the network outside of
            autograd, so the gradient is ``-2 (F(theta) - theta)`` and the method is a preconditioned, damped
            regeneration. "true" differentiates the network as well: ``2 (J - I)^T (F(theta) - theta)``.

    Fails when: asked for more than about two digits. With "semi", fixed points of spectral radius above 1 can
        repel it without end.

    Source: the blog post, part 2; optimizers: Chang and Lipson (2018), section 4.1.
    """

    optimizer: str = "rmsprop"
    lr: float = 1e-3
    gradient: str = "semi"
    space: str = "full"
    starts: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_optimizer(self.optimizer, self.lr)
        if self.gradient not in ("semi", "true"):
            raise BadOption(f"gradient must be 'semi' or 'true', not {self.gradient!r}")

    def prepare(self) -> None:
        """Let torch import what its first optimizer imports, which takes two seconds: no clock runs yet."""
        import_machinery()

    def limits(self, n: int) -> tuple[int, int]:
        return 200_000, 1_000_000  # no stall rule: the post's loop may wander

    def init(self, f: SelfMap, x: Tensor) -> State:
        return State(x, f(x), OPTIMIZERS[self.optimizer]([x], lr=self.lr))

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        r = state.fx - state.x
        gradient = -2 * r
        if self.gradient == "true":
            gradient = gradient + 2 * f.vjp(state.x, r)
        resting = torch.ones(len(r), dtype=torch.bool, device=r.device)
        resting[active] = False
        gradient[resting] = 0
        state.x.grad = gradient
        state.memory.step()
        state.fx = f(state.x)
        return state
