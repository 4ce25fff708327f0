"""Comparing floating-point tensors as what they are: bits.

``torch.equal`` calls +0 and -0 the same and NaN different from itself; a verifier may do neither. So bits are
compared on integer views, and distances are counted in units in the last place (ulp).
"""

from __future__ import annotations

import torch
from torch import Tensor

_INTEGER = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


def integer_view(x: Tensor) -> Tensor:
    """The bits of each element as a signed integer of the same width."""
    return x.contiguous().view(_INTEGER[x.element_size()])


def differing(a: Tensor, b: Tensor) -> Tensor:
    """A bool tensor that is true where two tensors of one type and shape differ in any bit."""
    if a.dtype != b.dtype or a.shape != b.shape:
        raise ValueError(f"cannot compare bits of {a.dtype} {tuple(a.shape)} with {b.dtype} {tuple(b.shape)}")
    return integer_view(a) != integer_view(b)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one type and shape are equal in every bit."""
    return not bool(differing(a, b).any())


def ulp_distance(a: Tensor, b: Tensor) -> Tensor:
    """The distance in representable numbers, elementwise: int64, -1 where either number is NaN.

    +0 and -0 are 1 apart: they are neighbors with different bits.
    """

    def ordered(x: Tensor) -> Tensor:
        i = integer_view(x).to(torch.int64)
        low = -(2 ** (8 * x.element_size() - 1))
        return torch.where(i < 0, low - i - 1, i)

    left, right = ordered(a), ordered(b)
    far = torch.where(left > right, left - right, right - left)
    far = torch.where(far < 0, torch.full_like(far, 2**63 - 1), far)  # opposite huge numbers overflow 63 bits
    return torch.where(a.isnan() | b.isnan(), torch.full_like(far, -1), far)


def largest_ulp(a: Tensor, b: Tensor) -> int:
    """Largest finite :func:`ulp_distance`, or -1 if a NaN is among them."""
    far = ulp_distance(a, b)
    return -1 if bool((far < 0).any()) else int(far.max())


def nonfinite_count(x: Tensor) -> int:
    return int((~torch.isfinite(x)).sum())


def subnormal_count(x: Tensor) -> int:
    """The number of elements whose precision is already lost: non-zero and below the smallest normal number."""
    return int(((x != 0) & (x.abs() < torch.finfo(x.dtype).tiny)).sum())
