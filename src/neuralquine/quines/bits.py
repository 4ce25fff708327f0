"""Comparing floating-point tensors as what they are: bits.

``torch.equal`` calls +0 and -0 the same and NaN different from itself; a verifier may do neither. So bits are
compared on integer views, and distances are counted in units in the last place (ulp).
"""

from __future__ import annotations

import math
import os
from functools import cache

import torch
from torch import Tensor

_ROW = 1 << 15  # numbers of a fingerprint's rows: 256 KiB, which stay in a processor's cache
_PART = 1 << 17  # numbers that are counted at a time: of 2^14 to 2^18 the quickest
_ROWS_THERE = 64  # rows that a tensor has on a GPU, which is asked for each
_MIXED = 29  # places by which upper bits are shifted into lower ones
_ODD = 0x9E3779B97F4A7C15  # Weyl's, 2^64 over the golden ratio: sums of parts do not change places
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


def all_finite(x: Tensor) -> bool:
    """Whether no number is NaN or infinite: the smallest and the largest say so, in one pass that writes nothing."""
    return x.numel() == 0 or math.isfinite(largest_size(x))


def largest_size(x: Tensor) -> float:
    """``max |x|``; NaN where one is among the numbers."""
    low, high = (float(end) for end in torch.aminmax(x))
    return max(abs(low), abs(high)) if low == low and high == high else math.nan


def nonfinite_count(x: Tensor) -> int:
    return 0 if all_finite(x) else int((~torch.isfinite(x)).sum())


def subnormal_count(x: Tensor) -> int:
    """The number of elements whose precision is already lost: non-zero and below the smallest normal number.

    Those and zeros are the numbers without a bit in their exponents.
    """
    exponents = int(integer_view(torch.tensor(math.inf, dtype=x.dtype)))
    numbers, step = x.contiguous().view(-1), _PART if x.device.type == "cpu" else max(_PART, x.numel() // _ROWS_THERE)
    normal = nonzero = 0
    room = torch.empty_like(integer_view(numbers[:step]))
    for part in numbers.split(step):
        nonzero += int(torch.count_nonzero(part))
        here = torch.bitwise_and(integer_view(part), exponents, out=room[: len(part)])
        normal += int(torch.count_nonzero(here))
    return nonzero - normal


@cache
def _key() -> tuple[int, Tensor]:
    """A random odd factor and random odd numbers, others in every process: no module can know them beforehand."""
    drawn = torch.frombuffer(bytearray(os.urandom(8 * (_ROW + 1))), dtype=torch.int64) | 1
    return int(drawn[-1]), drawn[:-1]


@torch.no_grad()
def fingerprint(x: Tensor) -> int:
    """64 bits that two tensors share by chance alone, from one pass where they lie, modulo 2^64.

    The bits are read as rows of 64-bit numbers; what is known of the rows so far is multiplied by a key that is drawn anew in
    every process, the next row is added, and upper bits are mixed into lower ones, so that signs do not cancel. Good enough to
    see that something changed since, and no name to be kept.
    """
    flat = x.detach().contiguous().view(-1).view(torch.uint8)
    (factor, columns), total = _key(), x.numel()
    flat = flat if flat.storage_offset() % 8 == 0 else flat.clone()  # a view that begins in the middle of 64 bits
    even = flat[: len(flat) // 8 * 8].view(torch.int64)
    width = _ROW if x.device.type == "cpu" else max(_ROW, even.numel() // _ROWS_THERE)
    sums = torch.zeros(width, dtype=torch.int64, device=x.device)
    upper = torch.empty_like(sums)
    whole = even.numel() // width * width
    for row in even[:whole].view(-1, width):
        torch.add(row, sums, alpha=factor, out=sums)
        torch.bitwise_right_shift(sums, _MIXED, out=upper)
        sums.bitwise_xor_(upper)
    keys = columns.to(x.device)
    for part in sums.split(_ROW):
        total = (total * _ODD + int((part * keys[: len(part)]).sum())) % _WRAP
    rest = flat[8 * whole :].to(torch.int64)
    for part in rest.split(_ROW):
        total = (total * _ODD + int((part * keys[: len(part)]).sum())) % _WRAP
    return total if x.numel() else 0
