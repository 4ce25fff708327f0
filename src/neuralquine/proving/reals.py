"""Real constants of a rule: exact where it is proved, the nearest float where it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
