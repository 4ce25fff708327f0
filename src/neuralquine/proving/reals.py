"""Real constants of a rule: a proof takes the exact number, a computation the nearest float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:  # whoever proves without balls needs the floats alone
    from flint import arb


@dataclass(frozen=True)
class Real:
    """A real number.

    Attributes:
        exact: gives its ball at the working precision.
        nearest: its float64.
    """

    exact: Callable[[], arb]
    nearest: float


@dataclass(frozen=True)
class Reals:
    """An array of real numbers that a network computes for itself, with whatever round-off.

    Attributes:
        exact: gives their balls at the working precision, an object array.
        nearest: their float64, each off by at most one unit of the larger of 1 and itself.
        within: largest error of any computation of each, in units of its round-off.
    """

    exact: Callable[[], NDArray[Any]]
    nearest: NDArray[Any]
    within: NDArray[Any]
