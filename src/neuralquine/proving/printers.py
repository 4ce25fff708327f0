"""Printers as a proof sees them: matrices of short binary fractions, and their sums in whole numbers.

``PRINTERS`` has one entry for each expansion that a proof covers, under its name in ``config.json``;
:class:`MatrixPrinter` says what an entry holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..quines.tables.phases import offset, unit_bits
from ..quines.tables.philox import Stream, dyadic_gaussian
from ..quines.tables.signs import sign_matrix
from .rules import NoRule

LARGEST = 2**27  # entries of the matrix, which a proof writes out: 1 GiB of float64
_SMALL = 2**40, 2**16  # code entries and code sizes whose sums fit 64 bits: entries of 4 A are below 2^6
_TYPES = {"float64": np.float64, "float32": np.float32}
_FITS = {np.float64: 2**53, np.float32: 2**29}  # sums below this have products with a gain that are rounded only once


@dataclass(frozen=True)
class Table:
    """The making of an expansion's matrix from the seed, and the order of the expansion's operations.

    Attributes:
        matrix: gives A ``(P, d)`` from the seed, the number of weights and the code size; 4 A is whole, below 2^6.
        gain_first: whether the expansion multiplies the code by the gain before it sums rather than afterwards.
    """

    matrix: Callable[[int, int, int], NDArray[np.float64]]
    gain_first: bool


def _gaussian(seed: int, parameters: int, code_size: int) -> NDArray[np.float64]:
    return dyadic_gaussian(seed, Stream.GAUSSIAN, 0, parameters * code_size).reshape(-1, code_size)


PRINTERS = {"gaussian": Table(_gaussian, gain_first=False), "hadamard": Table(sign_matrix, gain_first=True)}
REFUSED = {
    "tape": "a network that reads its code from a tape",
}


class MatrixPrinter:
    """``E(c) = mean + gain * (A c)``.

    Attributes:
        matrix: A, ``(P, d)``.
        mean: ``(P,)`` in the weights' type.
        gain: ``(P,)`` in the weights' type.

    Raises:
        NoRule: no proof covers the expansion, or the matrix is too large.
    """

    def __init__(self, config: dict[str, Any], sizes: list[int]) -> None:
        name = config["expansion"]
        if name not in PRINTERS:
            raise NoRule(f"no proof rule for {REFUSED.get(name, f'the expansion {name!r}')}")
        self.dtype, self.d = _TYPES[config["dtype"]], config["code_size"]
        self.bits, self.gain_first = config.get("code_bits"), PRINTERS[name].gain_first
        phase = config.get("code_phase", 0)
        self.offset = offset(config["seed"], phase, self.d)
        self.unit = 0 if self.bits is None else unit_bits(self.bits, phase)
        self.mean = np.repeat(np.array(config["means"]), sizes).astype(self.dtype)
        self.gain = np.repeat(np.array(config["gains"]), sizes).astype(self.dtype)
        if self.count > LARGEST:
            raise NoRule(f"{len(self.mean)} weights of a code of {self.d} are too many for a proof")
        self.matrix = PRINTERS[name].matrix(config["seed"], len(self.mean), self.d)

    @property
    def count(self) -> int:
        """Entries of the matrix, ``P d``."""
        return len(self.mean) * self.d

    def parts(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean, gain and matrix of ``E(c) = mean + gain * (A c)``, exactly."""
        return self.mean.astype(np.float64), self.gain.astype(np.float64), self.matrix.astype(np.float64, copy=False)

    def grid_code(self, theta: NDArray[Any]) -> list[int] | None:
        """The integers x with ``theta = E(x / 2^m)``, bit for bit in any IEEE arithmetic; None if there are none.

        A grid of ``2^-k`` that is not moved has m = k; a moved one has m = k + 3, and only the x that lie on it.
        """
        if self.bits is None:
            return None
        scale = 2.0 ** int(self.bits)
        with np.errstate(all="ignore"):  # what is not finite is refused below
            rows = (theta.astype(np.float64) - self.mean) / np.where(self.gain == 0, 1, self.gain)
        if not np.isfinite(rows).all():
            return None
        solution = np.linalg.lstsq(self.matrix, rows.astype(np.float64), rcond=None)[0]
        if not np.isfinite(solution * scale).all():
            return None
        steps = 2 ** (self.unit - int(self.bits))
        offset = (self.offset * steps).astype(int).tolist()
        x = [steps * round(float(v) * scale - o / steps) + o for v, o in zip(solution, offset, strict=True)]
        return x if self.prints(theta, x) else None

    def on_grid(self, x: list[int]) -> bool:
        """Whether integers are a code on the grid."""
        steps = 2 ** (self.unit - int(self.bits or 0))
        return all((v - int(o * steps)) % steps == 0 for v, o in zip(x, self.offset.tolist(), strict=True))

    def prints(self, theta: NDArray[Any], x: list[int]) -> bool:
        """Whether the exact real ``E(x / 2^m)``, rounded to the type operation by operation, is ``theta``.

        The sum ``A x`` is an integer and must be exact in the type in every order (:meth:`exact_in_any_order`); the
        multiplication by the gain and the addition of the mean round at most once each.
        """
        sums = self._integer_sums(self.matrix, x)
        if np.abs(sums).max(initial=0) < _FITS[self.dtype]:
            # Scaling is exact; so is, for float32, the product in float64. What is left is rounded by IEEE arithmetic itself.
            scaled = sums.astype(np.float64) * 2.0 ** -(self.unit + 2)
            product = (self.gain.astype(np.float64) * scaled).astype(self.dtype) + self.dtype(0)  # no zero is negative
            return (self.mean + product).tobytes() == theta.tobytes()
        return self._printed_exactly(sums).tobytes() == theta.tobytes()

    def _printed_exactly(self, sums: NDArray[Any]) -> NDArray[Any]:
        """The print of sums ``4 A x`` of any size, by fractions."""
        scale = Fraction(1, 4 * 2**self.unit)
        printed = []
        for total, gain, mean in zip(sums.tolist(), self.gain.tolist(), self.mean.tolist(), strict=True):
            product = _rounded(Fraction(gain) * Fraction(int(total)) * scale, self.dtype)
            printed.append(_rounded(Fraction(mean) + Fraction(float(product)), self.dtype))
        return np.array(printed, dtype=self.dtype)

    def exact_in_any_order(self, x: list[int]) -> bool:
        """Whether no order of summation and no fusing can change a bit of ``mean + gain * (A x / 2^m)``."""
        mantissa = 53 if self.dtype is np.float64 else 24
        exact_sum = self._integer_sums(np.abs(self.matrix), [abs(v) for v in x]).max(initial=0) < 2**mantissa
        # One rounding after the exact sum: either nothing is added, or the multiplication is exact.
        power = (self.gain == 0) | (np.frexp(np.abs(self.gain))[0] == 0.5)
        free = np.zeros(len(power), dtype=bool) if self.gain_first else self.mean == 0
        return bool(exact_sum and (free | power).all())

    def _integer_sums(self, matrix: NDArray[np.float64], x: list[int]) -> NDArray[Any]:
        """``4 A x``, exactly, whatever the size of x."""
        if max(map(abs, x), default=0) < _SMALL[0] and self.d < _SMALL[1]:
            return (4 * matrix).astype(np.int64) @ np.array(x, dtype=np.int64)
        return (4 * matrix).astype(np.int64).astype(object).dot(np.array(x, dtype=object))


def _rounded(value: Fraction, kind: type[np.floating[Any]]) -> np.floating[Any]:
    """A fraction rounded once, to nearest even, to float64 or float32."""
    if kind is np.float64:
        return np.float64(float(value))
    near = np.float32(float(value))  # may be off by double rounding: compare with the neighbors, exactly
    options = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    return min(options, key=lambda f: (abs(Fraction(float(f)) - value), int(f.view(np.uint32)) & 1))
