"""Where the grid of a code lies: a phase is a whole number that moves it, and phase 0 leaves it at zero.

``Q(c) = o + round((c - o) 2^k) / 2^k``. The offset ``o`` of phase p has one entry for each number of the code, drawn from
the seed and p: a multiple of ``2^-(k + 3)``, so that the sums of a printer stay exact. The fixed points of the unrounded
map and their Jacobians do not depend on it, so every phase is one more independent chance of a bit-exact quine.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .philox import Stream, words

PHASE_BITS = 3  # an offset is a multiple of 1/8 of a grid step: 8^d places, and three bits of the mantissa
LARGEST_PHASE = 2**32 - 1  # a phase is a small number beside the seed, no answer in disguise


def offsets(seed: int, first: int, count: int, code_size: int) -> NDArray[np.float64]:
    """The offsets of the phases ``first .. first + count`` in grid steps: ``(count, d)`` multiples of 1/8 below 1.

    Those of phase 0 are zero.
    """
    drawn = words(seed, Stream.PHASES, first * code_size, count * code_size).reshape(count, code_size)
    steps = (drawn >> np.uint32(32 - PHASE_BITS)).astype(np.float64) / 2**PHASE_BITS
    steps[: max(0, 1 - first)] = 0.0
    return steps


@lru_cache(maxsize=64)
def offset(seed: int, phase: int, code_size: int) -> NDArray[np.float64]:
    """The offset of one phase in grid steps, ``(d,)``; not to be written to."""
    steps = offsets(seed, phase, 1, code_size)[0]
    steps.flags.writeable = False
    return steps


def unit_bits(bits: int, phase: int) -> int:
    """The number m for which every code on the grid is a vector of multiples of ``2^-m``."""
    return bits + PHASE_BITS if phase else bits


def grid_name(bits: int | None, phase: int) -> str:
    """The grid in words."""
    if bits is None:
        return "none"
    return f"2^-{bits}, phase {phase}" if phase else f"2^-{bits}"
