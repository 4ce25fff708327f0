"""Whether a quine prints the same bits on every machine.

Two things can differ between machines: how the trunk rounds, and how the printer does. The trunk's error is bounded
for any order of summation, fused or not, with elementary functions off by a stated number of units; if even then
every code entry rounds to the same grid point, the code is the same everywhere (``tubes/``). The printer's sums are exact when
they fit the mantissa, and what remains is one correctly rounded operation.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from .network import Network
from .tubes.machine import Machine
from .tubes.margins import WORDS, Margin, Say, rounding_margin
from .verdicts import NotProved, Portability
from .witness import Asked, hear

_SMALL = 1 << 20  # weights below which exact arithmetic is asked about, too, where every machine's is proved already


def portability(folder: str | Path, *, witness: Asked = "evaluation", say: Say | None = None) -> Portability:
    """Bound every floating-point evaluation of a stored quine, in its own type and without TF32.

    Args:
        folder: of the quine.
        witness: is asked whether a plain evaluation agrees with a bound that holds, as in
            :func:`~neuralquine.proving.certificate.certify`.
        say: is told what is done next.
    """
    network = Network(folder)
    if network.code_bits is None:
        return Portability(False, "the code is not rounded to a grid, so the last bits are the machine's")
    x = network.printer.grid_code(network.theta)
    if x is None:
        return Portability(False, "the stored weights are not the print of any code on the grid")
    if not network.printer.exact_in_any_order(x):
        return Portability(False, "the printer's sums do not fit the mantissa, so they depend on their order")
    norms: dict[Any, Any] = {}
    floating = rounding_margin(network, x, network.trunk_dtype, norms=norms, say=say)
    wide = floating
    if not floating.proved and network.trunk_dtype == "float32" and not network.narrow:
        wide = rounding_margin(network, x, "float64", norms=norms, say=say)
    # What holds of every machine holds of one that does not round; its own margin is the larger one, where it is asked for.
    exact = wide
    if not wide.proved or len(network.theta) < _SMALL:
        exact = max(wide, rounding_margin(network, x, None, norms=norms, say=say), key=lambda m: m.margin)
    found = Portability(False, "", exact.margin, floating.margin, Machine.of(network.trunk_dtype).ulps, floating.by)
    if not floating.proved:
        wider = "float64" if wide.proved and wide is not floating else None
        return replace(found, reason=_too_wide(exact, floating, wide, network.trunk_dtype), wider=wider)
    try:
        hear(witness, folder)
    except NotProved as error:
        return replace(found, reason=str(error))
    place = "" if network.trunk_dtype == network.dtype else f"with the trunk run in {network.trunk_dtype}, "
    return replace(found, proved=True, reason=place + _used(floating))


def _used(floating: Margin) -> str:
    """What round-off can do where a proof holds."""
    used = max(floating.error, 1e-300)  # of nothing, 0 would be said
    return f"round-off can use up {used:.1e} of a margin of {floating.room:.2g} grid steps, by {WORDS[floating.by]}"


def _too_wide(exact: Margin, floating: Margin, wide: Margin, dtype: str) -> str:
    """Why a trunk's arithmetic is not proved to print the same bits, and which one is."""
    if not exact.proved:
        return "not even exact arithmetic is proved to round to the stored code: the bounds are too wide for the margin"
    bound = f"at most {floating.error:.1e} grid steps" if math.isfinite(floating.error) else "nothing"
    reason = (
        f"the trunk's round-off in {dtype} is bounded by {bound}, which is not below the margin of {exact.room:.2g}"
    )
    if wide is not floating and wide.proved:
        return f"{reason}; with {dtype} weights and a trunk run in float64 it is proved: {_used(wide)}; make it with trunk_dtype=float64"
    return f"{reason}; exact arithmetic is proved" if dtype == "float32" else reason
