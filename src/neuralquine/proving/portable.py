"""Whether a quine prints the same bits on every machine.

Two things can differ between machines: how the trunk rounds, and how the printer does. The trunk's error is bounded
for any order of summation, fused or not, with elementary functions off by a stated number of units; if even then
every code entry rounds to the same grid point, the code is the same everywhere. The printer's sums are exact when
they fit the mantissa, and what remains is one correctly rounded operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .balls import Rounding
from .certificate import NotProved, hear
from .network import Network
from .proofs import rounding_margin
from .witness import Asked


@dataclass(frozen=True)
class Portability:
    """The verdict and the numbers that it follows from.

    Attributes:
        proved: whether every IEEE machine is proved to print the stored bits.
        reason: the verdict in one sentence.
        exact_margin: distance of the exact code from a rounding boundary, in grid steps.
        float_margin: the same less the largest error any machine can make; positive where proved.
        ulps: assumed bound of elementary functions.
    """

    proved: bool
    reason: str
    exact_margin: float | None = None
    float_margin: float | None = None
    ulps: float | None = None


def portability(folder: str | Path, *, witness: Asked = "evaluation") -> Portability:
    """Bound every floating-point evaluation of a stored quine, in its own type and without TF32.

    Args:
        folder: of the quine.
        witness: is asked whether a plain evaluation agrees with a bound that holds, as in
            :func:`~neuralquine.proving.certificate.certify`.
    """
    network = Network(folder)
    if network.code_bits is None:
        return Portability(False, "the code is not rounded to a grid, so the last bits are the machine's")
    x = network.printer.grid_code(network.theta)
    if x is None:
        return Portability(False, "the stored weights are not the print of any code on the grid")
    if not network.printer.exact_in_any_order(x):
        return Portability(False, "the printer's sums do not fit the mantissa, so they depend on their order")
    model = Rounding.of(network.dtype)
    exact, floating = rounding_margin(network, x), rounding_margin(network, x, rounding=model)
    if not floating > 0:
        reason = f"the margin of {exact:.2g} grid steps is not above the bound of the trunk's round-off"
        return Portability(False, reason, exact, floating, model.ulps)
    try:
        hear(witness, folder)
    except NotProved as error:
        return Portability(False, str(error), exact, floating, model.ulps)
    reason = f"round-off can use up {exact - floating:.1e} of a margin of {exact:.2g} grid steps"
    return Portability(True, reason, exact, floating, model.ulps)
