"""Comparing floating-point tensors as what they are: bits.

``torch.equal`` calls +0 and -0 the same and NaN different from itself; a verifier may do neither. So bits are
compared on integer views, and distances are counted in units in the last place (ulp).
"""

from __future__ import annotations

import os
from functools import cache

import torch
from torch import Tensor

_ROW = 1 << 16  # numbers of a fingerprint's key
_ROWS, _ROWS_THERE = 8, 256  # so many times that are multiplied at once: in a processor's cache, and on a GPU
_WRAP = 1 << 64
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
    if a.dtype != b.dtype or a.shape != b.shape:
        raise ValueError(f"cannot compare bits of {a.dtype} {tuple(a.shape)} with {b.dtype} {tuple(b.shape)}")
    return torch.equal(integer_view(a), integer_view(b))


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
    sizes, tiny = x.abs(), torch.finfo(x.dtype).tiny
    if x.numel() == 0 or float(sizes.amin()) >= tiny:
        return 0
    return int(((x != 0) & (sizes < tiny)).sum())


@cache
def _key() -> Tensor:
    """Random odd numbers, others in every process: no module can know them beforehand."""
    drawn = torch.frombuffer(bytearray(os.urandom(8 * (_ROW + _ROWS_THERE))), dtype=torch.int64)
    return drawn | 1


@torch.no_grad()
def fingerprint(x: Tensor) -> int:
    """64 bits that two tensors share by chance alone, from one pass where they lie, modulo 2^64.

    It is linear in the bits, with a key that is drawn anew in every process: good enough to see that something changed since,
    and no name to be kept.
    """
    view, total = integer_view(x.detach().reshape(-1)), x.numel()
    key = _key().to(view.device)
    row, rows = key[:_ROW], key[_ROW:]
    step = _ROW * (_ROWS if view.device.type == "cpu" else _ROWS_THERE)
    for first in range(0, len(view), step):
        part = view[first : first + step].to(torch.int64)
        even = len(part) // _ROW * _ROW
        sums = (part[:even].view(-1, _ROW) * row).sum(1)
        here = int((sums * rows[: len(sums)]).sum()) + int((part[even:] * row[: len(part) - even]).sum())
        total = (total * 0x9E3779B97F4A7C15 + here) % _WRAP
    return total
