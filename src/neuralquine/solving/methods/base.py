"""The protocol of methods: a state on rows, ``init`` and ``step``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ...errors import BadOption
from ..maps import SelfMap


@dataclass
class State:
    """The state of a method on each of B starts.

    Attributes:
        x: ``(B, n)`` iterates.
        fx: ``(B, n)`` the map at ``x``: the loop reads the residual ``fx - x`` without another evaluation.
        memory: whatever else the method keeps.
    """

    x: Tensor
    fx: Tensor
    memory: Any = None


class Method(Protocol):
    """A frozen dataclass of hyper-parameters.

    A method that imports much on its first step may have ``prepare()``, too, which is called before a time limit begins.

    Attributes:
        starts: how many starts are run side by side by default.
    """

    starts: ClassVar[int]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def space(self) -> str:
        """The unknowns of the method, ``reduced`` for the code ``(d,)`` or ``full`` for all weights ``(P,)``."""
        ...

    def limits(self, n: int) -> tuple[int, int]:
        """Default step limit in n dimensions, and the steps without progress after which a start has stalled."""
        ...

    def init(self, f: SelfMap, x: Tensor) -> State:
        """Evaluate the starts ``(B, n)``."""
        ...

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        """Take one step of the rows in ``active`` (indices); the others stay where they are."""
        ...


def check_counts(**counts: int) -> None:
    """Refuse hyper-parameters that count something, where there is none of it.

    Raises:
        BadOption: one of them is below 1.
    """
    for name, count in counts.items():
        if count < 1:
            raise BadOption(f"{name} must be at least 1, not {count}")


def capped(step: Tensor, limit: float) -> Tensor:
    """Shorten rows of ``(B, n)`` that are longer than ``limit``."""
    return step * (limit / torch.linalg.vector_norm(step, dim=-1, keepdim=True).clamp_min(limit))
