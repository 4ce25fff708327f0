"""The Hadamard printer of a large network: its print compared with the stored weights block by block, in whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..quines.tables.phases import offset, unit_bits
from ..quines.tables.signs import block_size, hadamard, sign_bytes, sign_matrix
from .rules import NoRule

_BLOCKS = 1 << 15  # blocks of weights that are printed at once
_ROWS = 4096  # weights that the code is found from: far more than its numbers
_TYPES = {"float64": np.float64, "float32": np.float32}
_MANTISSA = {"float64": 53, "float32": 24}


class StreamedSigns:
    """``E(c) = mean + gain * (A c)`` with entries of A +1 and -1, made again from the seed and not held.

    It has the methods of :class:`~neuralquine.proving.printers.MatrixPrinter`, for gains that are powers of two.
    """

    def __init__(self, config: dict[str, Any], sizes: list[int]) -> None:
        self.d, self.bits, self.seed, self.dtype = (
            config["code_size"],
            config.get("code_bits"),
            config["seed"],
            config["dtype"],
        )
        self.sizes, self.means, self.gains = sizes, config["means"], config["gains"]
        self.count = 0  # entries of a table: none is held
        phase = config.get("code_phase", 0)
        self.unit = 0 if self.bits is None else unit_bits(self.bits, phase)
        self.offset = offset(config["seed"], phase, self.d)

    def parts(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        raise NoRule(f"{sum(self.sizes)} weights of a code of {self.d} are too many for a proof without a grid")

    def grid_code(self, theta: NDArray[Any]) -> list[int] | None:
        """The integers x with ``theta = E(x / 2^m)``, bit for bit in any IEEE arithmetic; None if there are none."""
        first = sum(self.sizes[: next((i for i, size in enumerate(self.sizes) if size), 0)])
        rows = min(_ROWS, self.sizes[0]) if self.sizes else 0
        if self.bits is None or first or rows < 2 * self.d or self.gains[0] == 0:
            return None
        numbers = (theta[:rows].astype(np.float64) - self.means[0]) / self.gains[0]
        if not np.isfinite(numbers).all():
            return None
        solution = np.linalg.lstsq(sign_matrix(self.seed, rows, self.d), numbers, rcond=None)[0]
        steps = 2 ** (self.unit - int(self.bits))
        offset = self.offset * steps
        x = steps * np.rint((solution * 2.0**self.unit - offset) / steps) + offset
        if not np.abs(x).max() < 2.0**40:
            return None
        whole = [int(v) for v in x]
        return whole if self.prints(theta, whole) else None

    def on_grid(self, x: list[int]) -> bool:
        """Whether integers are a code on the grid."""
        steps = 2 ** (self.unit - int(self.bits or 0))
        return all((v - int(o * steps)) % steps == 0 for v, o in zip(x, self.offset.tolist(), strict=True))

    def exact_in_any_order(self, x: list[int]) -> bool:
        """Whether no order of summation and no fusing can change a bit: the sums fit, and each gain is a power of two."""
        powers = all(g == 0 or np.frexp(abs(g))[0] == 0.5 for g in self.gains)
        return powers and 4 * sum(map(abs, x)) < 2 ** _MANTISSA[self.dtype]

    def prints(self, theta: NDArray[Any], x: list[int]) -> bool:
        """Whether ``mean + gain * (A x / 2^m)`` is theta: exact, but for the one rounding of adding the mean."""
        if not self.exact_in_any_order(x) or len(theta) != sum(self.sizes):
            return False
        kind = _TYPES[self.dtype]
        bits = f"u{np.dtype(kind).itemsize}"
        for start, sums, mean, gain in self._sums(x):
            printed = sums.astype(kind) * kind(gain * 2.0**-self.unit) + kind(mean)
            if not np.array_equal((printed + kind(0)).view(bits), theta[start : start + len(sums)].view(bits)):
                return False
        return True

    def _sums(self, x: list[int]) -> Iterator[tuple[int, NDArray[Any], float, float]]:
        """``A x`` stretch by stretch: where it begins, the whole numbers, and the mean and gain of its tensor."""
        size = block_size(self.d)
        padded = np.zeros(size, dtype=np.int64)
        padded[: self.d] = x
        flips = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
        matrix = hadamard(size).astype(np.int64)
        # Sums over each byte of signs, as the printer itself tabulates them.
        tables = [(padded[8 * j : 8 * j + 8] * flips) @ matrix[8 * j : 8 * j + 8] for j in range(size // 8)]
        tables = [table.astype(np.int32 if sum(map(abs, x)) < 2**31 else np.int64) for table in tables]
        start = 0
        for count, mean, gain in zip(self.sizes, self.means, self.gains, strict=True):
            first, last = start // size, -(-(start + count) // size)
            for block in range(first, last, _BLOCKS):
                signs = sign_bytes(self.seed, size, block, min(block + _BLOCKS, last) - block)
                sums = tables[0][signs[:, 0]].copy()
                for j in range(1, len(tables)):
                    sums += tables[j][signs[:, j]]
                flat = sums.reshape(-1)
                low = max(start - block * size, 0)
                high = min(start + count - block * size, len(flat))
                yield block * size + low, flat[low:high], mean, gain
            start += count
