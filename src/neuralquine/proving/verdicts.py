"""What a proof can say: that nothing is proved, or what every machine prints."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import NeuralQuineError


class NotProved(NeuralQuineError):
    """The theorem does not apply: nothing is claimed, and not that there is no quine."""


class NotChecked(NotProved):
    """A certificate cannot be checked with what is installed here, and is not called false."""


@dataclass(frozen=True)
class Portability:
    """The verdict and the numbers that it follows from.

    Attributes:
        proved: whether every IEEE machine is proved to print the stored bits.
        reason: the verdict in one sentence.
        exact_margin: distance of the exact code from a rounding boundary, in grid steps, at least.
        float_margin: the same less the largest error any machine can make; positive where proved.
        ulps: assumed bound of elementary functions.
        by: what bounded the error: ``"tube"``, ``"adjoint"`` or ``"adjoints at every step"``.
        wider: the type in which the trunk must be run for the bits to be the same everywhere, where that is proved and
            the same of its own type is not; None otherwise.
    """

    proved: bool
    reason: str
    exact_margin: float | None = None
    float_margin: float | None = None
    ulps: float | None = None
    by: str | None = None
    wider: str | None = None
