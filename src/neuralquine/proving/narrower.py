"""Balls of 128 bits (python-flint), where they are installed, for what tubes are too wide for.

They take some hundred times the time and are narrower by as many digits. What tubes prove is not asked here.
"""

from __future__ import annotations

import importlib.util

from .network import Network
from .rules import NoRule
from .slopes.contraction import Enclosure
from .verdicts import NotChecked

_LARGEST = 1 << 20  # weights up to which balls are computed: they take some 100 bytes each
_RADII = (1e-13, 1e-14, 1e-12, 1e-15, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)  # recurrent networks need small ones


def check_installed() -> None:
    """Refuse to call a certificate false where its numbers may be those of balls, and balls are not installed.

    Raises:
        NotChecked: python-flint is not installed.
    """
    if importlib.util.find_spec("flint") is None:
        how = "balls need python-flint: pip install 'neuralquine[proof]'"
        raise NotChecked(f"its numbers are too narrow for tubes; {how}")


def box(network: Network, midpoint: list[float], radius: float | None) -> Enclosure | None:
    """A box that holds a quine, and only one: the one asked about, or the first of some around a point; None where there is none."""
    if importlib.util.find_spec("flint") is None:
        return None
    from .proofs import krawczyk, refine

    try:
        point = midpoint if radius is not None else refine(network, midpoint)
        for size in _RADII if radius is None else (radius,):
            found = krawczyk(network, point, size)
            if found.proved:
                return Enclosure(point, size, True, found.nonzero, found.theta_radius, 1.0)
    except NoRule:  # too large for balls
        pass
    return None


def margin(network: Network, x: list[int]) -> float:
    """The margin by which exact arithmetic rounds to a code; minus infinity where it is not known."""
    if importlib.util.find_spec("flint") is None or len(network.theta) > _LARGEST:
        return float("-inf")
    from .proofs import rounding_margin

    return rounding_margin(network, x)
