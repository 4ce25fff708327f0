"""What a search for exact bits would meet at a quine that was found without one."""

from __future__ import annotations

import math

from ..checking.spectrum import Spectrum

MET = 128  # unknowns up to which moved grids are met by chance; of more, too few lattice points are looked at
HOPELESS = 4e6  # determinant above which a fixed point is left: so many trials take a minute


def determinant(local: Spectrum) -> float:
    """``|det(I - J)|``, the expected number of trials; NaN where not all eigenvalues were computed."""
    if not local.complete or not len(local.eigenvalues):
        return math.nan
    logarithm = float((1 - local.eigenvalues).abs().log().sum())
    return math.exp(logarithm) if logarithm < math.log(1e300) else math.inf


def prospect(unknowns: int, radius: float, expected: float) -> str:
    """The prospect of ``--exact`` at one fixed point, in words; empty where its spectrum was not computed.

    Args:
        unknowns: of the map that is searched: d of a code, P of a network that is asked for each weight.
        radius: its spectral radius.
        expected: ``|det(I - J)|``.
    """
    if unknowns > MET:
        if math.isnan(radius):
            return ""
        if radius < 1:
            return "this fixed point attracts, so that regeneration on a grid may end at one"
        return f"this fixed point repels, and no grid is met by chance in {unknowns:,} dimensions; it tries other ones"
    if math.isnan(expected):
        return ""
    if expected > HOPELESS:
        return f"at this fixed point it would take {expected:.1e} trials, more than are made; it tries other ones"
    return f"at this fixed point it takes about {max(1, round(expected)):,} trial{'s' if round(expected) > 1 else ''}"
