"""What is said where somebody else's habit has changed a quine's weights: ``load_state_dict``, or an optimizer.

Both are ordinary PyTorch and raise nothing, and both leave a network that no longer prints its own weights.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_NO_QUINE = 1e-3  # relative residual that no round-off, of no type, explains


class _Printing(Protocol):
    @property
    def in_place(self) -> bool: ...

    @property
    def weights(self) -> list[nn.Parameter]: ...

    def code(self) -> Tensor: ...

    def printed_pieces(self, code: Tensor) -> Iterator[tuple[Tensor, Tensor]]: ...


@torch.no_grad()
def _residual(quine: _Printing) -> float:
    """The relative residual, roughly."""
    gap = size = 0.0
    for stored, printed in quine.printed_pieces(quine.code()):
        gap = math.hypot(gap, float(torch.linalg.vector_norm(printed.double() - stored.double())))
        size = math.hypot(size, float(torch.linalg.vector_norm(stored.double())))
    return gap / size if size else math.inf


def warn_of_strange_weights(quine: Any, _: object) -> None:
    """Warn after ``load_state_dict`` where the quine does not print the weights that were loaded.

    Nothing is evaluated of a network that is printed in place: one evaluation of it may take minutes.
    """
    if quine.in_place or not (off := _residual(quine)) > _NO_QUINE:
        return
    warnings.warn(
        f"the weights that were loaded are not what this quine prints (relative residual {off:.1e}): a state_dict holds "
        "neither the probe nor the printer of the quine it is from; nq.save and nq.load keep all of it",
        stacklevel=4,
    )


def _version(quine: _Printing) -> int:
    """Grows whenever a weight is written."""
    return sum(p._version for p in quine.weights)


class Watched:
    """Notices that the weights of a task quine were stepped in the place of its code; it says so once.

    Args:
        quine: a network that prints itself with any code.
    """

    def __init__(self) -> None:
        self._seen: int | None = None
        self._told = False

    def expect(self, quine: _Printing) -> None:
        """Say nothing of the weights as they stand: they were given on purpose, such as damaged ones."""
        self._seen = _version(quine)

    def look(self, quine: _Printing) -> None:
        """Compare what is printed with what is stored, where derivatives are asked for and a weight has been written."""
        if self._told or not torch.is_grad_enabled():
            return
        version = _version(quine)
        if version == self._seen:
            return
        self._seen = version
        if not _residual(quine) > 0:
            return
        self._told = True
        warnings.warn(
            "the weights of this task quine are no longer what it prints: an optimizer that steps them leaves no quine. "
            "Train its code (nq.tasks.train, or outputs(x, code=quine.parametrize(latent))); "
            "quine.install(quine.code()) prints over them",
            stacklevel=3,
        )
