"""Real constants of a rule: a proof takes the exact number, a computation the nearest float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever proves without balls needs the float alone
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
