"""The roundings that an evaluation may make, and those of the float64 run that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

UNIT = 2.0**-53  # of the float64 run that tubes lie around
TINY = 2.0**-1021  # largest absolute error of an underflow in it, flushed to zero or not, twice over
GROWTH = (
    1 + 2.0**-30
)  # pays for the rounding of a radius, a formula of fewer than 2^22 non-negative terms without a difference
SMALLER = 1 - 2.0**-40  # the same for the few lower bounds, each of which has one difference


class Unbounded(ArithmeticError):
    """A radius is not a finite number: nothing is bounded, and so nothing is claimed."""


@dataclass(frozen=True)
class Machine:
    """What one admissible evaluation may round.

    Attributes:
        unit: u = 2**-53 for float64: relative error of +, -, *, / and, doubled, of the square root. 0: exact real arithmetic.
        tiny: largest absolute error of an underflow.
        ulps: relative error of exp, tanh, erf and the like, in units of ``2 u``. 4 covers Sleef (1.0), glibc (below
            3) and CUDA's documented bounds (2).
        wide: no number may be larger: then neither a square nor a sum of any order overflows.
    """

    unit: float = 0.0
    tiny: float = 0.0
    ulps: float = 0.0
    wide: float = 2.0**320

    @staticmethod
    def of(dtype: str | None) -> Machine:
        """The machine of a type by name, float64 or float32; None: exact real arithmetic."""
        return _MACHINES[dtype]

    @property
    def units(self) -> tuple[float, float]:
        """The units of this evaluation and of the float64 run: each has an error of its own."""
        return self.unit, UNIT

    def gamma(self, n: int) -> float:
        """The largest relative error of a sum of products in which no term is rounded more than n times, in both."""
        return gamma(n, self.unit) + gamma(n, UNIT)

    @property
    def both(self) -> float:
        """The unit of one rounding in each of the two."""
        return self.unit + UNIT

    @property
    def lost(self) -> float:
        """What an underflow in each of the two loses."""
        return self.tiny + TINY


# Flushing a result to zero is not IEEE arithmetic, but costs nothing to allow for: hence the smallest normal numbers.
_MACHINES = {
    None: Machine(),
    "float64": Machine(2.0**-53, 2.0**-1022, 4.0),
    "float32": Machine(2.0**-24, 2.0**-126, 4.0, 2.0**40),
}


def gamma(n: int, unit: float) -> float:
    """``n u / (1 - n u)``, Higham (2002), section 3.1.

    Raises:
        Unbounded: so many roundings may lose every digit.
    """
    if n * unit >= 0.5:
        raise Unbounded(f"a sum of {n} terms may lose every digit")
    return n * unit / (1 - n * unit) * GROWTH
