"""The protocol of printers: a fixed map ``theta = E(c)`` from a code of ``d`` numbers to all ``P`` weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from ...errors import BadOption, did_you_mean
from ..outer import Outer


@dataclass(frozen=True)
class Slot:
    """A stretch of one tensor: ``count`` weights from the ``first`` on; a whole tensor, or one rank's part of it."""

    tensor: int
    first: int
    count: int


@lru_cache(maxsize=64)
def slots_of(sizes: tuple[int, ...]) -> tuple[Slot, ...]:
    """One slot for every tensor of a network."""
    return tuple(Slot(i, 0, size) for i, size in enumerate(sizes))


class Printer(Protocol):
    """The map ``E``, with what solvers, proofs and checks ask of it.

    Attributes:
        name: how files and options call it.
        chunked: whether it prints any stretch of the weights by itself, without a table of ``P x d`` numbers, so that a
            large network can be printed in place.
        sizes: weights in each tensor; they sum to P.
        code_size: d.
        dtype: type of the printed weights.
        mean: ``(P,)``, the weights that a code of zeros is expanded to.
        gain: ``(P,)``, the spread of each weight: ``std(weights) = gain * ||c||``.
    """

    name: ClassVar[str]
    chunked: ClassVar[bool]
    sizes: list[int]
    code_size: int
    dtype: torch.dtype

    @property
    def mean(self) -> Tensor: ...

    @property
    def gain(self) -> Tensor: ...

    def __call__(self, c: Tensor) -> Tensor:
        """``E(c)``: codes ``(..., d)`` to weights ``(..., P)``. Differentiable."""
        ...

    def pieces(self, c: Tensor, slots: Sequence[Slot] | None = None) -> Iterator[tuple[int, int, Tensor]]:
        """``E(c)`` of one code ``(d,)``, piece by piece: (number of the slot, offset in it, values).

        Args:
            c: the code.
            slots: what is printed; by default one slot for each tensor.
        """
        ...

    def write(self, c: Tensor, targets: Sequence[tuple[Slot, Tensor]]) -> None:
        """Write ``E(c)`` of one code ``(d,)`` into flat tensors, each the stretch that its slot names."""
        ...

    def linear(self, c: Tensor) -> Tensor:
        """``E(c) - E(0)``: codes ``(..., d)`` to ``(..., P)``."""
        ...

    def pull_back(self, rows: Tensor) -> Tensor:
        """Multiply derivatives by the weights ``(..., P)`` by the Jacobian of ``E``: ``(..., d)``."""
        ...

    def pull_back_tensors(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """:meth:`pull_back` of one derivative that is given tensor by tensor (None for zeros): ``(d,)``."""
        ...

    def pull_back_outer(self, tensor: int, derivatives: Sequence[Outer]) -> Tensor:
        """:meth:`pull_back` of some derivatives by one matrix alone, which are sums of outer products: ``(R, d)``."""
        ...

    def gram(self) -> Tensor:
        """``E^T E`` of the Jacobian of ``E``, ``(d, d)``."""
        ...

    def to(self, device: torch.device) -> Printer:
        """The same printer with its tables on another device."""
        ...


class Whole:
    """The common part of printers that make all weights at once."""

    chunked: ClassVar[bool] = False
    sizes: list[int]
    __call__: Any
    pull_back: Any

    @torch.no_grad()
    def pieces(self, c: Tensor, slots: Sequence[Slot] | None = None) -> Iterator[tuple[int, int, Tensor]]:
        """``E(c)`` of one code ``(d,)``, slot by slot: (number of the slot, 0, values)."""
        tensors = self(c).split(self.sizes)
        for number, slot in enumerate(slots or [Slot(i, 0, size) for i, size in enumerate(self.sizes)]):
            yield number, 0, tensors[slot.tensor][slot.first : slot.first + slot.count]

    @torch.no_grad()
    def write(self, c: Tensor, targets: Sequence[tuple[Slot, Tensor]]) -> None:
        """Write ``E(c)`` of one code ``(d,)`` into flat tensors, each the stretch that its slot names."""
        write_pieces(self.pieces(c, [slot for slot, _ in targets]), targets)

    def pull_back_tensors(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """``pull_back`` of one derivative that is given tensor by tensor (None for zeros): ``(d,)``."""
        known = next(t for t in tensors if t is not None)
        rows = [known.new_zeros(n) if t is None else t.reshape(-1) for t, n in zip(tensors, self.sizes, strict=True)]
        return self.pull_back(torch.cat(rows))

    def pull_back_outer(self, tensor: int, derivatives: Sequence[Outer]) -> Tensor:
        """``pull_back`` of some derivatives by one matrix alone, which are sums of outer products: ``(R, d)``."""
        return torch.stack([self.pull_back_tensors(alone(d.dense(), tensor, len(self.sizes))) for d in derivatives])


def alone(derivative: Tensor, tensor: int, tensors: int) -> list[Tensor | None]:
    """A derivative by one tensor, among those that are zero."""
    return [derivative if number == tensor else None for number in range(tensors)]


def write_pieces(pieces: Iterator[tuple[int, int, Tensor]], targets: Sequence[tuple[Slot, Tensor]]) -> None:
    """Copy every piece to its place."""
    for number, start, values in pieces:
        targets[number][1][start : start + len(values)] = values


def working_type(dtype: torch.dtype) -> torch.dtype:
    """Type of the code and of the sums that print: the weights' own, and float32 where that is narrower."""
    return dtype if dtype in (torch.float64, torch.float32) else torch.float32


PRINTERS: dict[str, Any] = {}
"""The printers of a coded quine by name, as its ``expansion=`` option takes them. All are constructed alike."""

T = TypeVar("T", bound=type)


def printer(cls: T) -> T:
    """Register a class of printers under its ``name``, so that ``nq.Quine(..., expansion=name)`` and files know it."""
    PRINTERS[cls.name] = cls  # pyright: ignore[reportAttributeAccessIssue]
    return cls


def printer_named(name: str) -> Any:
    """The class of a printer.

    Raises:
        BadOption: there is no printer of that name.
    """
    if name not in PRINTERS:
        raise BadOption(f"no expansion {name!r}: {did_you_mean(name, list(PRINTERS))}")
    return PRINTERS[name]
