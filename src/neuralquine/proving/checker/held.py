"""Machines, and arrays of numbers with a bound on what a machine may hold in their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..reals import Reals
from ..verdicts import NotProved

Floats = NDArray[np.float64]

OWN = 2.0**-53  # the unit of this computation
FLUSHED = 2.0**-1022  # its smallest normal number: what flushing to zero can lose
SLACK = 1 + 2.0**-30  # for the rounding of a radius itself
ULPS = 4.0  # of elementary functions: Sleef states 1, glibc at most 3, CUDA 2


@dataclass(frozen=True)
class Machine:
    """The arithmetic that a network is run in.

    Attributes:
        unit: u, half the distance from 1 to the next number.
        tiny: its smallest normal number, which it may flush to zero.
        largest: its largest number.
        wide: no number may be larger: then neither a square nor a sum of any order overflows.
        bits: of the mantissa.
        grid: k, where activations are rounded to multiples of ``2^-k``; None where they are not.
    """

    unit: float
    tiny: float
    largest: float
    bits: int
    grid: int | None = None

    @staticmethod
    def of(dtype: str, grid: int | None = None) -> Machine:
        """The machine of a type by name: float64 or float32."""
        bits, least, most = {"float64": (53, -1022, 1024), "float32": (24, -126, 128)}[dtype]
        return Machine(2.0**-bits, 2.0**least, (2 - 2.0 ** (1 - bits)) * 2.0 ** (most - 1), bits, grid)

    @property
    def wide(self) -> float:
        # 2^40 in float32: squares below 2^80, sums of 2^40 terms of them below 2^120; 2^320 in float64.
        return 2.0 ** (5 * math.frexp(self.largest)[1] // 16)

    def share(self, units: float) -> float:
        """How far ``units`` roundings, one after the other, can move a sum of size 1, here and there together."""
        return _gamma(units, self.unit) + _gamma(units, OWN)


class Held:
    """An array of numbers, each with a bound; here is how they are moved about.

    Attributes:
        value: as they were computed here.
        radius: how far any machine's numbers are from these; None where none is.
        machine: the arithmetic.
    """

    __slots__ = ("machine", "radius", "value")

    def __init__(self, value: NDArray[Any], radius: Floats | None, machine: Machine) -> None:
        self.value = np.asarray(value, dtype=np.float64)
        self.machine = machine
        self.radius = None
        if radius is not None:
            radius = np.broadcast_to(radius, self.value.shape)
            if not (np.isfinite(radius).all() and (radius >= 0).all()):
                raise NotProved("no bound of round-off is known: it grows beyond all numbers")
            self.radius = radius if radius.any() else None
        if not np.abs(self.value).max(initial=0.0) <= machine.wide:
            raise NotProved("a number is too large for its type, infinite, or none")

    # -- what is known of them ------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def reach(self) -> Floats:
        """The radii, zeros where the numbers are exact."""
        return np.zeros(self.shape) if self.radius is None else self.radius

    @property
    def size(self) -> Floats:
        """The largest absolute values that any machine can hold."""
        return np.abs(self.value) + self.reach

    def _moved(self, change: Callable[[Floats], Floats]) -> Self:
        """The same numbers in other places."""
        return type(self)(change(self.value), None if self.radius is None else change(self.radius), self.machine)

    # -- moving numbers about -------------------------------------------------------------------------------------------

    def reshape(self, *shape: int) -> Self:
        return self._moved(lambda a: a.reshape(*shape))

    def move(self, *order: int) -> Self:
        """The axes in another order."""
        return self._moved(lambda a: a.transpose(order))

    @property
    def mT(self) -> Self:  # noqa: N802 - as torch and numpy call it
        """The last two axes exchanged."""
        return self._moved(lambda a: np.swapaxes(a, -1, -2))

    def cut(self, axis: int, start: int, stop: int) -> Self:
        """The stretch ``start .. stop`` of one axis, counted from the front."""
        if stop > self.shape[axis]:
            raise ValueError(f"an axis of {self.shape[axis]} has no element {stop - 1}")
        return self._moved(lambda a: a[(slice(None),) * (axis % a.ndim) + (slice(start, stop),)])

    def windows(self, index: NDArray[np.int64]) -> Self:
        """The columns of a matrix that ``index`` names, ``(rows, *index.shape)``; one past the last column is zero."""
        return self._moved(lambda a: np.concatenate([a, np.zeros((len(a), 1))], 1)[:, index])

    def lookup(self, places: Self) -> Self:
        """The rows of a table that whole numbers name."""
        index = places.value.astype(np.int64)
        if (index != places.value).any() or not (0 <= index.min() <= index.max() < self.shape[0]):
            raise ValueError(f"a table of {self.shape[0]} rows is asked for another row")
        return self._moved(lambda a: a[index])

    def zeros(self, *shape: int) -> Self:
        return type(self)(np.zeros(shape), None, self.machine)

    def constant(self, numbers: Reals) -> Self:
        """Real numbers, which each machine has computed for itself."""
        radius = numbers.within * self.machine.unit + OWN * np.maximum(np.abs(numbers.nearest), 1.0)
        return type(self)(numbers.nearest, (radius + self.machine.tiny + FLUSHED) * SLACK, self.machine)

    @classmethod
    def concat(cls, arrays: Sequence[Self], axis: int = 0) -> Self:
        """The arrays one after the other along an axis that they have."""
        radius = np.concatenate([a.reach for a in arrays], axis)
        return cls(np.concatenate([a.value for a in arrays], axis), radius, arrays[0].machine)


def _gamma(n: float, u: float) -> float:
    """How far n roundings of relative size u can go together."""
    if n * u >= 0.5:
        raise NotProved(f"no bound of round-off is known: a sum of {n:.0f} terms in units of {u:.0e}")
    return n * u / (1 - n * u) * SLACK
