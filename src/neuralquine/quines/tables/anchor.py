"""The fixed point of reference of an anchored quine: a function of the probe alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import TrunkError
from .philox import Stream, dyadic_gaussian

_GRID = 2.0**-12  # a grid that is fine beside the code's own and coarse beside any round-off
_CHUNK = 1 << 22


def anchor(inputs: Sequence[NDArray[Any]], code_size: int, seed: int) -> NDArray[np.float64]:
    """``a = N(R z)`` with ``R`` dyadic Gaussian ``(d, n)`` and z all numbers of the probe: ``(d,)`` float64.

    The probe's numbers are taken in steps of 1/256 (token ids as they are), so that ``R z`` is an integer sum, and
    ``a`` is rounded to 2^-12: every machine gets the same anchor.

    Raises:
        TrunkError: there is no probe, or it is zero, or so uniform that its normalization is.
    """
    if not inputs:
        raise TrunkError("skip needs a probe: an anchored quine leans on it")
    z = np.concatenate([_integers(numbers) for numbers in inputs])
    total, step = np.zeros(code_size, dtype=np.int64), max(1, _CHUNK // code_size)
    for first in range(0, len(z), step):
        part = z[first : first + step]
        entries = dyadic_gaussian(seed, Stream.ANCHOR, first * code_size, len(part) * code_size).reshape(-1, code_size)
        total += (4 * entries).astype(np.int64).T @ part
    centered = total * code_size - total.sum()  # still integers: N cancels the factor
    size = np.sqrt(float(np.square(centered.astype(np.float64)).mean()))
    if size == 0.0:
        raise TrunkError("skip needs a probe that is not zero: an anchored quine leans on it")
    return np.round(centered / size / _GRID) * _GRID


def _integers(numbers: NDArray[Any]) -> NDArray[np.int64]:
    values = numbers.astype(np.float64).reshape(-1)
    scaled = np.round(values * 256 if np.issubdtype(numbers.dtype, np.floating) else values)
    return np.clip(scaled, -(2.0**40), 2.0**40).astype(np.int64)
