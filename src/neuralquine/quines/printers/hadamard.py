"""The structured expansion for large networks: no ``P x d`` table, printed in place, chunk by chunk.

For block ``b`` of ``D`` weights ``theta_b = mean + gain * (H_D diag(s_b) c)``. All sums are of ``+-c_j``, so they are exact
in floating point, whatever their order, for a code on a grid. One chunk costs 8 additions a weight: the sum over each
byte of signs has 256 possible values, which are tabulated once for a code ("four Russians").

Source: fast dense sign products after Ailon and Chazelle (2006), "Approximate nearest neighbors and the fast
Johnson-Lindenstrauss transform"; the tables after Arlazarov, Dinic, Kronrod and Faradzhev (1970).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import check_bytes
from ..outer import Outer
from ..tables.signs import block_size, hadamard, sign_bytes, signs
from .base import Slot, alone, printer, slots_of, working_type, write_pieces
from .fused import Fused
from .pulled import Sums, by_code, chunks, padded, sign_table, signs_of
from .rows import Rows

_CHUNK = 1 << 19  # weights printed at a time: they and the tables stay in the cache
_FUSED_CHUNK = 1 << 25  # the same on a GPU, whose launches and answers take longer than printing a million weights


@printer
class HadamardExpansion:
    """``E(c) = mean + gain * (A c)`` with entries of ``A`` +1 and -1; the module's docstring defines ``A``.

    Args:
        sizes: weights in each tensor; they sum to P.
        means: one mean for each tensor.
        gains: one gain for each tensor; ``std(weights) = gain * ||c||``.
        code_size: d.
        seed: key of the generator.
        dtype: floating-point type of the printed weights. Narrower ones than float32 are computed in float32 and
            rounded once.
    """

    name: ClassVar[str] = "hadamard"
    chunked: ClassVar[bool] = True

    def __init__(
        self,
        sizes: Sequence[int],
        means: Sequence[float],
        gains: Sequence[float],
        *,
        code_size: int,
        seed: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sizes, self.means, self.gains = list(sizes), list(means), list(gains)
        self.code_size, self.seed, self.dtype, self.device = code_size, seed, dtype, torch.device(device)
        self.block = block_size(code_size)
        check_bytes("the tables of the expansion", 256 * self.block**2, "choose a smaller code_size")
        self.offsets = [0]
        for size in self.sizes:
            self.offsets.append(self.offsets[-1] + size)
        self.parameters = self.offsets[-1]
        self.work = working_type(dtype)
        self._hadamard = torch.from_numpy(hadamard(self.block)).to(self.device, self.work)
        self._index: dict[Slot, Tensor] = {}

    def to(self, device: torch.device) -> HadamardExpansion:
        return HadamardExpansion(
            self.sizes,
            self.means,
            self.gains,
            code_size=self.code_size,
            seed=self.seed,
            dtype=self.dtype,
            device=device,
        )

    @property
    def slots(self) -> list[Slot]:
        """One slot for every tensor."""
        return list(slots_of(tuple(self.sizes)))

    # -- in place -----------------------------------------------------------------------------------------------

    @cached_property
    def _fused(self) -> Fused | None:
        """The GPU's kernels; None where there are none."""
        return Fused.of(self)

    @cached_property
    def _rows(self) -> Rows | None:
        """The CPU's product; None where there is none."""
        return Rows.of(self)

    @torch.no_grad()
    def write(self, c: Tensor, targets: Sequence[tuple[Slot, Tensor]]) -> None:
        """Write ``E(c)`` of one code ``(d,)`` into flat tensors, each the stretch that its slot names."""
        quick = self._fused or self._rows
        if quick is None or not quick.written(c, targets):
            write_pieces(self.plain_pieces(c, [slot for slot, _ in targets]), targets)

    @torch.no_grad()
    def pieces(self, c: Tensor, slots: Sequence[Slot] | None = None) -> Iterator[tuple[int, int, Tensor]]:
        """``E(c)`` of one code ``(d,)``, cut into pieces: (number of the slot, offset in it, values)."""
        slots = self.slots if slots is None else slots
        way = None if self._fused is None else self._fused.way(c)
        if self._fused is None or way is None:
            yield from self.plain_pieces(c, slots)
            return
        for number, slot in enumerate(slots):
            for start in range(0, slot.count, _FUSED_CHUNK):
                part = Slot(slot.tensor, slot.first + start, min(_FUSED_CHUNK, slot.count - start))
                values = torch.empty(part.count, dtype=self.dtype, device=self.device)
                self._fused.write(c, [(part, values)], way)
                yield number, start, values

    @torch.no_grad()
    def plain_pieces(self, c: Tensor, slots: Sequence[Slot]) -> Iterator[tuple[int, int, Tensor]]:
        """:meth:`pieces` in plain operations of torch, which say what a kernel has to print."""
        tables: dict[float, Tensor] = {}
        table = self.table(c)
        step = max(1, _CHUNK // self.block)
        bags = torch.arange(0, step * self.block // 8, self.block // 8, dtype=torch.int32, device=self.device)
        for number, slot in enumerate(slots):
            if slot.count == 0:
                continue
            index, lead = self.index_of(slot)
            gain, mean = self.gains[slot.tensor], self.means[slot.tensor]
            scaled = tables.setdefault(gain, table * gain)
            done = 0
            for row in range(0, len(index), step):
                part = index[row : row + step].to(torch.int32)
                values = torch.nn.functional.embedding_bag(part.view(-1), scaled, bags[: len(part)], mode="sum").view(
                    -1
                )
                begin = lead if row == 0 else 0
                values = values[begin : begin + slot.count - done]
                if mean:
                    values = values.add_(mean)
                yield number, done, values.to(self.dtype)
                done += len(values)

    def table(self, c: Tensor) -> Tensor:
        """Sums over each byte of signs: row ``256 j + v`` is ``sum_i (-1)^bit_i(v) c_{8j+i} H[:, 8j+i]``."""
        padded = torch.zeros(self.block, dtype=self.work, device=self.device)
        padded[: self.code_size] = c.to(self.work)
        bits = torch.arange(256, device=self.device)[:, None] >> torch.arange(8, device=self.device)
        flips = (1 - 2 * (bits & 1)).to(self.work)
        bytes_of_code = padded.view(-1, 1, 8) * flips  # (D / 8, 256, 8)
        columns = self._hadamard.T.reshape(-1, 8, self.block)
        return (bytes_of_code @ columns).reshape(-1, self.block)

    def index_of(self, slot: Slot) -> tuple[Tensor, int]:
        """Rows of the tables for the blocks that a slot touches, and how far into the first block it starts.

        ``(blocks, D / 8)``, ``256 j`` plus the j-th byte of signs: int16, a quarter of a byte for each weight.
        """
        start = self.offsets[slot.tensor] + slot.first
        first, last = start // self.block, -(-(start + slot.count) // self.block)
        if slot not in self._index:
            narrow = np.int16 if self.block <= 1024 else np.int32
            index = sign_bytes(self.seed, self.block, first, last - first).astype(narrow)
            index += 256 * np.arange(self.block // 8, dtype=narrow)
            self._index[slot] = torch.from_numpy(index).to(self.device)
        return self._index[slot], start - first * self.block

    # -- as a function, for networks that are differentiated or evaluated many at a time ------------------------------

    @cached_property
    def mean(self) -> Tensor:
        return self._spread(self.means)

    @cached_property
    def gain(self) -> Tensor:
        return self._spread(self.gains)

    def _spread(self, numbers: Sequence[float]) -> Tensor:
        values = torch.tensor(numbers, dtype=self.work)
        return values.repeat_interleave(torch.tensor(self.sizes)).to(self.device)

    def _signs(self, first: int, count: int) -> Tensor:
        return torch.from_numpy(signs(sign_bytes(self.seed, self.block, first, count))).to(self.device, self.work)

    @cached_property
    def _all_signs(self) -> Tensor:
        return self._signs(0, -(-self.parameters // self.block))

    def linear(self, c: Tensor) -> Tensor:
        """``E(c) - mean``: codes ``(..., d)`` to ``(..., P)``."""
        padded = torch.nn.functional.pad(c.to(self.work), (0, self.block - self.code_size))
        rows = (self._all_signs * padded[..., None, :]) @ self._hadamard
        return self.gain * rows.flatten(-2)[..., : self.parameters]

    def __call__(self, c: Tensor) -> Tensor:
        """Codes ``(..., d)`` to weights ``(..., P)``."""
        return (self.mean + self.linear(c)).to(self.dtype)

    @torch.no_grad()
    def pull_back(self, rows: Tensor) -> Tensor:
        """Multiply derivatives ``(..., P)`` by the expansion's Jacobian: ``(..., d)``."""
        flat, size = rows.reshape(-1, self.parameters), self.block
        sums = Sums(len(flat), self._hadamard)
        for first, last in chunks(len(self._all_signs), size):
            signs, gain = self._all_signs[first:last], self.gain[first * size : last * size]
            scale = float(gain[0]) if bool((gain == gain[0]).all()) else None
            for number, row in enumerate(flat):
                part = row[first * size : last * size].to(self.work)
                blocks = padded(part if scale is not None else part * gain, 0, last - first, size)
                sums.add(number, blocks, signs, 1.0 if scale is None else scale)
        pulled = sums.by_code()[:, : self.code_size].to(rows.dtype)
        return pulled.view(*rows.shape[:-1], self.code_size)

    def pull_back_tensors(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """:meth:`pull_back` of one derivative given tensor by tensor, a chunk at a time: ``(d,)``."""
        given = zip(self.slots, tensors, strict=True)
        pairs = [(slot, t.detach().reshape(-1)) for slot, t in given if t is not None and slot.count]
        pulled = None if self._fused is None else self._fused.pull_back(pairs)
        return self.plain_pull_back(pairs) if pulled is None else pulled

    @torch.no_grad()
    def plain_pull_back(self, pairs: Sequence[tuple[Slot, Tensor]]) -> Tensor:
        """The pull-back of derivatives by stretches of the weights, in plain operations of torch: ``(d,)``."""
        sums, size, table = Sums(1, self._hadamard), self.block, sign_table(self._hadamard)
        for slot, flat in pairs:
            index, lead = self.index_of(slot)
            for first, last in chunks(len(index), size):
                begin, end = max(0, first * size - lead), min(last * size - lead, slot.count)
                blocks = padded(flat[begin:end].to(self.work), max(0, lead - first * size), last - first, size)
                sums.add(0, blocks, signs_of(index[first:last], table), self.gains[slot.tensor])
        return sums.by_code()[0, : self.code_size]

    @torch.no_grad()
    def pull_back_outer(self, tensor: int, derivatives: Sequence[Outer]) -> Tensor:
        """:meth:`pull_back` of some derivatives by one matrix alone, which are sums of outer products: ``(R, d)``."""
        width = derivatives[0].pairs[0][1].shape[1]
        if self._fused is not None or width % self.block or self.offsets[tensor] % self.block:
            given = [alone(one.dense(), tensor, len(self.sizes)) for one in derivatives]
            return torch.stack([self.pull_back_tensors(tensors) for tensors in given])
        index, _ = self.index_of(self.slots[tensor])
        return self.gains[tensor] * by_code(derivatives, index, self._hadamard)[:, : self.code_size]

    def gram(self) -> Tensor:
        """``E^T E`` of the Jacobian, ``(d, d)``: a whole block adds ``gain^2 D`` to the diagonal."""
        total = torch.zeros(self.block, self.block, dtype=torch.float64)
        for tensor, size in enumerate(self.sizes):
            start, stop, square = self.offsets[tensor], self.offsets[tensor] + size, self.gains[tensor] ** 2
            if size == 0:
                continue
            first, last = start // self.block, -(-stop // self.block)
            low, high = (
                -(-start // self.block),
                stop // self.block,
            )  # blocks that lie in the tensor with all their weights
            whole = max(0, high - low)
            total += square * self.block * whole * torch.eye(self.block, dtype=torch.float64)
            for block in sorted({b for b in (first, last - 1) if not low <= b < high}):
                inside = torch.arange(block * self.block, (block + 1) * self.block)
                inside = ((inside >= start) & (inside < stop)).double()
                rows = self._hadamard.double().cpu() * self._signs(block, 1).double().cpu() * inside[:, None]
                total += square * rows.T @ rows
        return total[: self.code_size, : self.code_size].to(self.device)
