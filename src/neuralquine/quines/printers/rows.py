"""Printing on a CPU as sums of rows of the table of signs: every weight is written once, where it belongs.

A block of D weights is the sum of D / 8 rows of the table (:mod:`.hadamard`). Torch's own operation for sums of rows returns them
in new memory, from where they have to be copied. Its product with a sparse matrix of ones writes them to where they are wanted, and so
does a loop that Numba compiles, three times as fast, once so much was printed that compiling it has paid (:mod:`.compiled`). Both add up in orders
of their own, so that they print codes alone whose sums are exact (:func:`.fused.parts_of`), with gains that are powers of two. They are
compared with the plain path before they are believed, and the quickest of all prints: which one that is depends on the processor.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from ..bits import same
from .base import Slot, write_pieces
from .compiled import compiled_sum
from .fused import GAINS, parts_of

# Weights of one sparse product: fewer pay too often for what the library prepares, more leave the cache.
_CHUNK = 1 << 21
# Blocks that are compared with the plain path, and with a loop: more than a cache holds.
_SAMPLE, _LONG_SAMPLE = 2048, 1 << 17
_WORTH = 1 << 20  # weights from which on it is worth the comparison
_TIMES = 7  # how often each way is timed; the shortest time counts
_MUCH = 1 << 32  # weights after which a compiled loop would have saved the second that importing and compiling it takes
Targets = Sequence[tuple[Slot, Tensor]]
Sum = Callable[[Tensor, float, Tensor, Tensor], None]
"""Writes the sums of some rows and a mean: the table, the mean, ``(n, D / 8)`` numbers of rows, and where to, ``(n, D)``."""


class Plain(Protocol):
    """A printer of blocks that are sums of rows of a table, in plain operations of torch."""

    sizes: list[int]
    means: list[float]
    gains: list[float]
    parameters: int
    block: int
    dtype: torch.dtype
    work: torch.dtype
    device: torch.device

    def plain_pieces(self, c: Tensor, slots: Sequence[Slot]) -> Iterator[tuple[int, int, Tensor]]: ...

    def table(self, c: Tensor) -> Tensor: ...

    def index_of(self, slot: Slot) -> tuple[Tensor, int]: ...


class Rows:
    """The sums for one printer.

    Args:
        printer: whose plain path they must agree with.
    """

    def __init__(self, printer: Plain) -> None:
        self._printer = printer
        self._ways: list[Sum] = [sparse_sum]  # beside the plain path
        self._chosen = False
        self._way: Sum | None = None
        self._printed = 0

    @classmethod
    def of(cls, printer: Plain) -> Rows | None:
        """The sums for a printer; None where it is on no CPU, or of a kind that they cannot print."""
        powers = all(math.frexp(gain)[0] == 0.5 and GAINS[0] <= gain <= GAINS[1] for gain in printer.gains)
        return cls(printer) if printer.device.type == "cpu" and powers and printer.parameters >= _WORTH else None

    def written(self, c: Tensor, targets: Targets) -> bool:
        """Print ``E(c)`` into flat tensors; False where the plain path has to."""
        if not all(t.is_contiguous() for _, t in targets) or parts_of(c.detach().double().numpy()) is None:
            return False
        self._printed += sum(slot.count for slot, _ in targets)
        if self._printed > _MUCH and len(self._ways) == 1 and (loop := compiled_sum(self._printer.block)):
            self._ways.append(loop)
            self._chosen = False
        if not self._chosen:
            self._way, self._chosen = self._quickest(c), True
        if self._way is None:
            return False
        self._write(c, targets, self._way)
        return True

    def _write(self, c: Tensor, targets: Targets, add: Sum) -> None:
        printer, table, scaled = self._printer, self._printer.table(c), dict[float, Tensor]()
        for slot, target in targets:
            if slot.count:
                gain, mean = printer.gains[slot.tensor], printer.means[slot.tensor]
                rows = scaled.setdefault(gain, table * gain + 0.0)  # no -0, which sums in some order keep
                self._print(add, rows, mean, *printer.index_of(slot), target)

    def _print(self, add: Sum, rows: Tensor, mean: float, index: Tensor, lead: int, target: Tensor) -> None:
        """Print blocks from ``lead`` weights into the first one on: whole ones where they belong, cut ones beside."""
        block, done, row = self._printer.block, 0, 0
        step = max(1, _CHUNK // block) if add is sparse_sum else len(index)
        while done < len(target):
            here = min(step, len(index) - row) if lead == 0 else 1
            whole = min(here, (len(target) - done) // block)
            if lead == 0 and whole and target.dtype == rows.dtype:
                here = whole
                values = target[done : done + here * block].view(here, block)
                add(rows, mean, index[row : row + here], values)
                done += here * block
            else:
                values = torch.empty(here, block, dtype=rows.dtype)
                add(rows, mean, index[row : row + here], values)
                part = values.view(-1)[lead : lead + len(target) - done]
                target[done : done + len(part)] = part
                done += len(part)
            row, lead = row + here, 0

    def _quickest(self, c: Tensor) -> Sum | None:
        """The way that prints the first blocks of the largest tensor alike, over what is no number, and soonest; None: the plain one."""
        printer = self._printer
        largest = max(range(len(printer.sizes)), key=printer.sizes.__getitem__)
        blocks = _SAMPLE if len(self._ways) == 1 else _LONG_SAMPLE
        slot = Slot(largest, 0, min(printer.sizes[largest], blocks * printer.block))
        expected = torch.full((slot.count,), math.nan, dtype=printer.dtype)
        least = seconds(lambda: write_pieces(printer.plain_pieces(c, [slot]), [(slot, expected)]))
        chosen: Sum | None = None
        for way in self._ways:
            found = torch.full_like(expected, math.nan)
            try:
                taken = seconds(lambda way=way, found=found: self._write(c, [(slot, found)], way))
            except Exception:  # torch was built without this product, or Numba does not compile the loop
                continue
            if same(found, expected) and taken < least:
                chosen, least = way, taken
        return chosen


def sparse_sum(table: Tensor, mean: float, index: Tensor, values: Tensor) -> None:
    """The product of a sparse matrix of ones and the table."""
    count, each = index.shape
    starts = torch.arange(0, (count + 1) * each, each, dtype=torch.int32)
    ones = torch.ones(count * each, dtype=table.dtype)
    places = index.to(torch.int32).view(-1)
    with _quietly():
        size = (count, len(table))
        matrix = torch.sparse_csr_tensor(starts, places, ones, size=size, check_invariants=False)
    torch.addmm(values, matrix, table, beta=0, out=values)
    if mean:
        values.add_(mean)


def seconds(run: Callable[[], None]) -> float:
    """How long something takes at least."""
    taken = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return min(taken)


_WARNED: list[bool] = []  # whether a sparse matrix was made in this process


@contextmanager
def _quietly() -> Iterator[None]:
    """Pass over what torch says once in a process, when the first sparse matrix is made: that it may change."""
    if _WARNED:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    _WARNED.append(True)
