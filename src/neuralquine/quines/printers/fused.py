"""Which codes the GPU's kernels print to the same bits as the CPU, and how they are launched and distrusted.

A product in float16 with sums in float32 is exact, in any order, where the code's numbers are multiples of one ``2^-m``, each
is a float16 or the sum of two, and the sum of their sizes is below ``2^(22 - m)``. Gains have to be powers of two. All grids
of a code in use are such; of another code two float16 hold all but the last bit of a float32. A network whose first sample
of weights the kernel prints otherwise than the plain path in :mod:`.hadamard` is printed by that.
"""

from __future__ import annotations

import math
import os
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bits import same
from ..tables.philox import Stream, round_keys
from ..tables.signs import hadamard
from .base import Slot

_BLOCKS = (8, 16, 32, 64, 128)  # sizes whose blocks share no counter of Philox, which gives 128 signs
_TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
_FINEST = 30  # bits after the point of a code that are looked at; a grid in float32 has fewer
_ROOM = 22  # bits of the largest sum: two fewer than float32 has, for tensor cores cut terms off a little earlier
GAINS = (2.0**-60, 2.0**60)  # between them no product of a gain and a sum is subnormal
_WORTH = 1 << 22  # weights from which on compiling the kernels, some seconds, is worth it
_SIZE = 3  # the largest number of a code that is no sum of few bits is scaled to 2^3: float16 has most bits there
_CLOSE = 4  # round-offs by which the weights of such a code may differ, in the mean
_COUNTERS, _WARPS = 64, 4  # of one program: 8,192 weights
_ROUNDS = 32  # tiles whose derivatives one program adds up
_SAMPLES, _STRETCH = 64, 2048  # places at which a kernel is compared with the plain path, and weights at each
Targets = Sequence[tuple[Slot, Tensor]]


@dataclass(frozen=True)
class Way:
    """How the kernel prints a code.

    Attributes:
        parts: float16 numbers that each of the code's is the sum of, 1 or 2.
        unit: a power of two, in which they are taken.
        exact: no sum of the code's numbers is rounded.
    """

    parts: int
    unit: float
    exact: bool


class Plain(Protocol):
    """A printer with signs and Hadamard blocks, in plain operations of torch."""

    sizes: list[int]
    means: list[float]
    gains: list[float]
    offsets: list[int]
    parameters: int
    code_size: int
    block: int
    seed: int
    dtype: torch.dtype
    device: torch.device

    def plain_pieces(self, c: Tensor, slots: Sequence[Slot]) -> Iterator[tuple[int, int, Tensor]]: ...

    def plain_pull_back(self, pairs: Targets) -> Tensor: ...


class Fused:
    """The kernels for one printer.

    Args:
        printer: whose plain path they must agree with.
    """

    def __init__(self, printer: Plain) -> None:
        self._printer, device = printer, printer.device
        keys = np.array(round_keys((printer.seed & 0xFFFFFFFF, printer.seed >> 32)), dtype=np.uint32)
        self._keys = torch.from_numpy(keys.reshape(-1).view(np.int32)).to(device)
        inner = min(32, printer.block)
        matrix = np.kron(np.eye(32 // inner), hadamard(inner))
        self._hadamard = torch.from_numpy(matrix).to(device, torch.float16)
        self._believed: dict[object, bool] = {}
        self._last: Way | None = None
        self._mailbox: tuple[Tensor, Any] | None = None
        self._plan: tuple[Any, tuple[Tensor, Tensor, Tensor]] | None = None

    @classmethod
    def of(cls, printer: Plain) -> Fused | None:
        """The kernels for a printer; None where it is on no GPU, or of a kind that they cannot print."""
        powers = all(math.frexp(gain)[0] == 0.5 and GAINS[0] <= gain <= GAINS[1] for gain in printer.gains)
        fits = printer.block in _BLOCKS and printer.dtype in _TYPES and powers
        there = _interpreted() or (printer.device.type == "cuda" and printer.parameters >= _WORTH)
        return cls(printer) if fits and there and _kernels() else None

    # -- printing -------------------------------------------------------------------------------------------------

    def way(self, c: Tensor) -> Way | None:
        """How the kernel prints a code; None where it is not to be believed, or the code is not finite."""
        return self._allowed(c, way_of(c.detach().double().cpu().numpy()))

    def write(self, c: Tensor, targets: Targets, way: Way) -> None:
        """Print ``E(c)`` into flat tensors in a way that is known."""
        self._launch(c.detach().float(), way, self._planned(targets))

    def written(self, c: Tensor, targets: Targets) -> bool:
        """Print ``E(c)`` into flat tensors; False where the kernel is not to be believed, or the code is not finite.

        How a code is printed depends on its numbers, and a GPU that is asked for them stands still. So it prints in the way of
        the last code while the CPU looks at this one, and once more where that was not the way of this one.
        """
        if not all(t.is_contiguous() for _, t in targets):
            return False
        tables, guess = self._planned(targets), self._last
        code = c.detach().to(torch.float32, copy=True)  # it may lie among what is written
        numbers = self._fetched(code)
        if guess is not None:
            self._launch(code, guess, tables)
        way = self._allowed(code, way_of(numbers().double().numpy()))
        if way is not None and way != guess:
            self._launch(code, way, tables)
        self._last = way or self._last
        return way is not None

    def _fetched(self, code: Tensor) -> Callable[[], Tensor]:
        """Send a code to the CPU; the answer waits for it there."""
        if code.device.type != "cuda":
            return lambda: code.clone()
        if self._mailbox is None:
            self._mailbox = torch.empty(code.shape, dtype=code.dtype, pin_memory=True), torch.cuda.Event()
        numbers, arrived = self._mailbox
        numbers.copy_(code, non_blocking=True)
        arrived.record()

        def wait() -> Tensor:
            arrived.synchronize()
            return numbers

        return wait

    def _launch(self, code: Tensor, way: Way, tables: tuple[Tensor, Tensor, Tensor]) -> None:
        stretches, scales, owners = tables
        if not len(owners):
            return
        kernels, printer = _kernels(), self._printer
        kernels.print_tiles[(len(owners),)](
            *(stretches, scales, owners, self._keys, code, self._hadamard, way.unit, 1 / way.unit, printer.code_size),
            purpose=int(Stream.SIGNS),
            counters=_COUNTERS,
            block=printer.block,
            parts=way.parts,
            kind=getattr(kernels.tl, _TYPES[printer.dtype]),
            num_warps=_WARPS,
        )

    # -- the pull-back --------------------------------------------------------------------------------------------

    def pull_back(self, targets: Targets) -> Tensor | None:
        """The Jacobian's transpose times derivatives ``(P,)``, given tensor by tensor: ``(d,)``, float64.

        None where the kernel is not to be believed.
        """
        if not all(t.dtype in _TYPES and t.is_contiguous() for _, t in targets):
            return None
        if "pulled" not in self._believed:
            self._believed["pulled"] = _agreeing("multiplies derivatives", self._pulls_as_the_plain_path)
        return self._pulled(targets) if self._believed["pulled"] else None

    def _pulled(self, targets: Targets) -> Tensor:
        total = torch.zeros(128, dtype=torch.float64, device=self._printer.device)
        for kind in {t.dtype for _, t in targets}:
            total += self._pulled_of(kind, [(slot, t) for slot, t in targets if t.dtype is kind])
        folded = total.view(-1, self._printer.block).sum(0)
        return folded[: self._printer.code_size]

    def _pulled_of(self, dtype: torch.dtype, targets: Targets) -> Tensor:
        kernels = _kernels()
        stretches, scales, owners = self._tables(targets)
        programs = -(-len(owners) // _ROUNDS)
        sums = torch.zeros(max(1, programs), 128, dtype=torch.float32, device=self._printer.device)
        if programs:
            kernels.pull_tiles[(programs,)](
                *(stretches, scales, owners, self._keys, self._hadamard, sums, len(owners)),
                purpose=int(Stream.SIGNS),
                counters=_COUNTERS,
                rounds=_ROUNDS,
                words=max(1, self._printer.block // 32),
                kind=getattr(kernels.tl, _TYPES[dtype]),
                num_warps=_WARPS,
            )
        return sums.double().sum(0)

    # -- what a launch needs --------------------------------------------------------------------------------------

    def _planned(self, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """The tables of a launch: rows of the stretches, their scales, and the stretch of every tile."""
        key = tuple((slot, t.data_ptr()) for slot, t in targets)
        if self._plan is not None and self._plan[0] == key:
            return self._plan[1]
        made = self._tables(targets)
        if len(targets) > 1:  # the whole network, which is printed again and again
            self._plan = key, made
        return made

    def _tables(self, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        printer, rows, scales, tiles = self._printer, [], [], []
        for slot, target in targets:
            first = printer.offsets[slot.tensor] + slot.first
            counters = -(-(first + slot.count) // 128) - first // 128 if slot.count else 0
            rows.append((target.data_ptr(), first, slot.count, sum(tiles)))
            scales.append((printer.gains[slot.tensor], printer.means[slot.tensor]))
            tiles.append(-(-counters // _COUNTERS))
        owners = np.repeat(np.arange(len(tiles), dtype=np.int32), tiles)
        return (
            torch.tensor(rows, dtype=torch.int64).to(printer.device),
            torch.tensor(scales, dtype=torch.float32).to(printer.device),
            torch.from_numpy(owners).to(printer.device),
        )

    # -- distrust -------------------------------------------------------------------------------------------------

    def _allowed(self, c: Tensor, way: Way | None) -> Way | None:
        """The way, if the kernel prints so the bits of the plain path, at places drawn from all tensors; compared once.

        Of a code whose sums are rounded the plain path has no bits to be compared: the numbers are.
        """
        if way is None:
            return None
        key = way.parts, way.exact
        if key not in self._believed:
            self._believed[key] = _agreeing("prints", lambda: self._prints_as_the_plain_path(c, way))
        return way if self._believed[key] else None

    def _prints_as_the_plain_path(self, c: Tensor, way: Way) -> bool:
        printer, slots = self._printer, self._sample()
        targets = [(slot, torch.empty(slot.count, dtype=printer.dtype, device=printer.device)) for slot in slots]
        self._launch(c.detach().float(), way, self._tables(targets))
        expected = [torch.empty_like(target) for _, target in targets]
        for number, start, values in printer.plain_pieces(c, slots):
            expected[number][start : start + len(values)] = values
        if way.exact:
            return all(same(target, other) for (_, target), other in zip(targets, expected, strict=True))
        found, wanted = torch.cat([target for _, target in targets]).double(), torch.cat(expected).double()
        room = _CLOSE * torch.finfo(printer.dtype).eps * torch.linalg.vector_norm(wanted)
        return bool(torch.linalg.vector_norm(found - wanted) <= room)

    def _pulls_as_the_plain_path(self) -> bool:
        printer, generator = self._printer, torch.Generator().manual_seed(0)
        pairs = [
            (s, torch.randn(s.count, generator=generator).to(printer.device, printer.dtype)) for s in self._sample()
        ]
        expected, found = printer.plain_pull_back(pairs), self._pulled(pairs)
        return bool(torch.linalg.vector_norm(found - expected) <= 1e-4 * torch.linalg.vector_norm(expected))

    def _sample(self) -> list[Slot]:
        """The first and the last weights, and stretches in between: the plain path prints them in milliseconds."""
        printer, draw = self._printer, np.random.default_rng(self._printer.seed)
        starts = [0, max(0, printer.parameters - _STRETCH), *draw.integers(0, printer.parameters, _SAMPLES).tolist()]
        slots = []
        for start in starts:
            tensor = int(np.searchsorted(printer.offsets, start, side="right")) - 1
            first = start - printer.offsets[tensor]
            slots.append(Slot(tensor, first, min(_STRETCH, printer.sizes[tensor] - first)))
        return slots


def way_of(numbers: NDArray[np.float64]) -> Way | None:
    """How a code is printed; None where its numbers are not finite, or nothing."""
    parts = parts_of(numbers)
    if parts is not None:
        return Way(len(parts), 1.0, exact=True)
    largest = float(np.abs(numbers).max())
    return Way(2, 2.0 ** (math.frexp(largest)[1] - _SIZE), exact=False) if 0 < largest < 2.0**60 else None


def parts_of(numbers: NDArray[np.float64]) -> NDArray[np.float16] | None:
    """Numbers as the sum of one or two float16 each, ``(1 or 2, d)``; None where some sum of them could be rounded."""
    steps = numbers * 2.0**_FINEST
    whole = np.isfinite(steps).all() and bool((steps == np.rint(steps)).all()) and bool((np.abs(steps) < 2.0**52).all())
    if not whole or not steps.any():
        return None
    united = int(np.bitwise_or.reduce(np.abs(steps).astype(np.int64)))
    if np.abs(steps).sum() >= 2.0**_ROOM * (united & -united):
        return None
    halves = _halves(numbers)
    if not np.array_equal(halves.astype(np.float64).sum(0), numbers):
        return None
    return halves if halves[1].any() else halves[:1]


def _halves(numbers: NDArray[np.float64]) -> NDArray[np.float16]:
    """The nearest float16 of every number, and that of what is left: ``(2, d)``."""
    with np.errstate(over="ignore", invalid="ignore"):
        high = numbers.astype(np.float16)
        low = (numbers - high.astype(np.float64)).astype(np.float16)
    return np.stack([high, low])


def _agreeing(what: str, asked: Any) -> bool:
    """The answer of a comparison; one that fails, because no compiler is there or for any other reason, is a no."""
    try:
        agreeing = bool(asked())
        reason = "otherwise than the plain path"
    except Exception as error:  # whatever a compiler of kernels says
        where = traceback.extract_tb(error.__traceback__)[-1]
        agreeing, reason = False, f"not at all ({type(error).__name__}: {error}; {where.filename}:{where.lineno})"
    if not agreeing:
        warnings.warn(f"the GPU's kernel {what} {reason}, which is used instead", RuntimeWarning, stacklevel=3)
    return agreeing


def _interpreted() -> bool:
    """Whether Triton runs its kernels in Python, for tests without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


_LOADED: dict[str, Any] = {}


def _kernels() -> Any:
    """The module of the kernels; None where Triton is not installed."""
    if "kernels" not in _LOADED:
        try:
            from . import kernels
        except ImportError:  # torch's builds for CPUs come without Triton
            _LOADED["kernels"] = None
        else:
            _LOADED["kernels"] = kernels
    return _LOADED["kernels"]
