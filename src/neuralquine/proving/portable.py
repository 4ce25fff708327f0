"""Whether a quine prints the same bits on every machine.

Two things can differ between machines: how the trunk rounds, and how the printer does. The trunk's error is bounded
for any order of summation, fused or not, with elementary functions off by a stated number of units; if even then
every code entry rounds to the same grid point, the code is the same everywhere. The printer's sums are exact when
they fit the mantissa, and what remains is one correctly rounded operation.
"""

from __future__ import annotations

from pathlib import Path

from . import checker
from .balls import Rounding
from .network import Network
from .proofs import rounding_margin
from .verdicts import NotProved, Portability
from .witness import Asked, hear


def portability(folder: str | Path, *, witness: Asked = "evaluation") -> Portability:
    """Bound every floating-point evaluation of a stored quine, in its own type and without TF32.

    Args:
        folder: of the quine.
        witness: is asked whether a plain evaluation agrees with a bound that holds, as in
            :func:`~neuralquine.proving.certificate.certify`.
    """
    if checker.covers(folder):
        return checker.portability(folder, witness=witness)
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
