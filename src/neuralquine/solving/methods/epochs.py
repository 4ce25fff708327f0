"""The paper's training: minibatches of queries, targets frozen for an epoch, and regeneration now and then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import BadOption
from ..maps import SelfMap
from .base import State
from .optimizers import OPTIMIZERS, check_optimizer, import_machinery
from .registry import method


@method({"epochs": {}})
@dataclass(frozen=True, kw_only=True, slots=True)
class Epochs:
    """Minimize ``L_SR = sum_i (f(x_i; theta) - theta_i)^2`` by epochs of minibatches, one step of the loop each.

    The targets ``theta_i`` are those at the beginning of the epoch, so that the gradient is ``2 J^T r`` without the
    identity of ``J - I``. With ``regenerate = T``, what the network prints is installed before every T-th epoch.

    Attributes:
        optimizer: a name in ``OPTIMIZERS``.
        lr: learning rate.
        batch: queries in a minibatch; the paper's 10.
        regenerate: T; 0 for never.
        seed: seed of the order of the queries.

    Fails when: it is asked for a quine. At the paper's solutions the network predicts about zero for every weight.

    Source: Chang and Lipson (2018), sections 3.1 and 3.3.
    """

    optimizer: str = "adamax"
    lr: float = 2e-3
    batch: int = 10
    regenerate: int = 0
    seed: int = 0
    space: str = "full"
    starts: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_optimizer(self.optimizer, self.lr)
        if self.batch < 1 or self.regenerate < 0:
            raise BadOption(
                f"batch must be at least 1 and regenerate at least 0, not {self.batch} and {self.regenerate}"
            )

    def prepare(self) -> None:
        """Let torch import what its first optimizer imports, which takes two seconds: no clock runs yet."""
        import_machinery()

    def limits(self, n: int) -> tuple[int, int]:
        return 100, 1_000_000

    def init(self, f: SelfMap, x: Tensor) -> State:
        return State(x, f(x), [_Training(self, row) for row in x])

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        for row in active.tolist():
            training = state.memory[row]
            if self.regenerate and training.epochs % self.regenerate == 0:
                training.install(state.fx[row])
            training.epoch(f, self.batch)
            state.x[row] = training.leaf.detach()
        state.fx[active] = f(state.x[active])
        return state


class _Training:
    """The weights of one start as an optimizer sees them."""

    def __init__(self, settings: Epochs, x: Tensor) -> None:
        self.leaf = x.detach().clone().requires_grad_(True)
        self.optimizer: Any = OPTIMIZERS[settings.optimizer]([self.leaf], lr=settings.lr)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.epochs = 0

    def install(self, printed: Tensor) -> None:
        with torch.no_grad():
            self.leaf.copy_(printed)

    def epoch(self, f: SelfMap, batch: int) -> None:
        targets = self.leaf.detach().clone()
        order = torch.randperm(len(targets), generator=self.generator).to(targets.device)
        for rows in torch.split(order, batch):
            self.optimizer.zero_grad()
            with torch.enable_grad():
                (f.answers(self.leaf, rows) - targets[rows]).square().sum().backward()
            self.optimizer.step()
        f.jvps += 1  # all minibatches together are one reverse product
        self.epochs += 1
