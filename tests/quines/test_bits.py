"""Floating-point numbers compared as bits, against Python's own floats one at a time."""

import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuralquine.quines.bits import (
    differing,
    fingerprint,
    integer_view,
    largest_ulp,
    nonfinite_count,
    subnormal_count,
    ulp_distance,
)

floats = st.floats(width=64)
singles = st.floats(width=32)


def place(x, code):
    """The place of a float among all of its type, -0 just below +0."""
    form, width = {"d": ("<q", 64), "f": ("<i", 32)}[code]
    (bits,) = struct.unpack(form, struct.pack("<" + code, x))
    return bits if bits >= 0 else -(bits + 2 ** (width - 1)) - 1


@pytest.mark.parametrize(("code", "dtype", "source"), [("d", torch.float64, floats), ("f", torch.float32, singles)])
def test_ulp_distance_counts_the_numbers_between(code, dtype, source):
    @given(source, source)
    def check(a, b):
        x, y = torch.tensor([a], dtype=dtype), torch.tensor([b], dtype=dtype)
        if math.isnan(a) or math.isnan(b):
            assert int(ulp_distance(x, y)) == -1
        else:
            expected = min(abs(place(a, code) - place(b, code)), 2**63 - 1)
            assert int(ulp_distance(x, y)) == int(ulp_distance(y, x)) == expected

    check()


@given(st.floats(-1e308, 1e308), st.integers(0, 20))
def test_a_number_so_many_steps_away_is_so_many_ulp_away(x, steps):
    y = x
    for _ in range(steps):
        y = math.nextafter(y, math.inf)
    crossed = math.copysign(1, x) < math.copysign(1, y)  # -0 and +0 count as two, nextafter steps over one
    distance = int(ulp_distance(torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64)))
    assert distance == steps + crossed


@given(floats, floats)
def test_numbers_differ_exactly_where_their_bytes_do(a, b):
    x, y = torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    assert bool(differing(x, y)) == (struct.pack("<d", a) != struct.pack("<d", b))
    assert not bool(differing(x, x.clone()))
    assert int(integer_view(x)) == struct.unpack("<q", struct.pack("<d", a))[0]


def test_zeros_of_both_signs_are_neighbors_with_different_bits():
    plus, minus = torch.tensor([0.0]), torch.tensor([-0.0])
    assert torch.equal(plus, minus)
    assert bool(differing(plus, minus))
    assert largest_ulp(plus, minus) == 1
    smallest = torch.tensor([2.0**-149])
    assert largest_ulp(smallest, plus) == largest_ulp(-smallest, minus) == 1
    assert largest_ulp(smallest, -smallest) == 3


def test_nan_equals_itself_bit_for_bit_and_another_nan_does_not():
    nan = torch.tensor([math.nan], dtype=torch.float64)
    other = nan.clone()
    other.view(torch.int64)[0] ^= 1
    assert bool(other.isnan())
    assert not bool(differing(nan, nan.clone()))
    assert bool(differing(nan, other))
    assert largest_ulp(torch.tensor([1.0, math.nan]), torch.tensor([2.0, 0.0])) == -1


def test_infinity_is_one_step_above_the_largest_number_and_the_far_ends_do_not_overflow():
    largest = torch.tensor([torch.finfo(torch.float64).max], dtype=torch.float64)
    assert largest_ulp(largest, largest * 2) == 1
    assert largest_ulp(-largest, largest) == 2**63 - 1
    assert largest_ulp(torch.tensor([-math.inf]), torch.tensor([math.inf])) == 2 * 0x7F800000 + 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_all_numbers_of_a_narrow_type_are_one_apart_in_their_order(dtype):
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    real = every[~every.isnan()]
    magnitudes = real[: len(real) // 2].double()
    assert torch.equal(magnitudes, -real[len(real) // 2 :].double())  # int16 order: the negative half comes first
    rising = torch.cat([real[: len(real) // 2].flip(0), real[len(real) // 2 :]])
    assert bool((rising[1:].double() >= rising[:-1].double()).all())
    assert bool((ulp_distance(rising[1:], rising[:-1]) == 1).all())


def test_tensors_of_other_types_or_shapes_are_not_compared():
    with pytest.raises(ValueError, match=r"cannot compare bits of torch.float32 \(2,\) with torch.float64 \(2,\)"):
        differing(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"\(2,\) with torch.float32 \(3,\)"):
        differing(torch.zeros(2), torch.zeros(3))


def test_strided_views_are_read_in_their_own_order():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(integer_view(x.mT).flatten(), integer_view(x.mT.contiguous()).flatten())
    assert not bool(differing(x.mT, x.mT.contiguous()).any())


def test_counts():
    tiny = float(np.finfo(np.float32).tiny)
    x = torch.tensor([0.0, -0.0, tiny, tiny / 2, -(2.0**-149), 1.0, math.inf, math.nan])
    assert subnormal_count(x) == 2
    assert nonfinite_count(x) == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_what_is_subnormal_is_counted_across_all_parts(dtype):
    generator = torch.Generator().manual_seed(5)
    far = torch.finfo(dtype).tiny * torch.randn(300_007, generator=generator, dtype=torch.float64) * 2
    x = torch.where(torch.rand(len(far), generator=generator) < 0.1, 0.0, far).to(dtype)
    expected = int(((x != 0) & (x.abs().double() < torch.finfo(dtype).tiny)).sum())
    assert 0 < expected < len(x)
    assert subnormal_count(x) == expected
    assert subnormal_count(x[::3]) == int(((x != 0) & (x.abs().double() < torch.finfo(dtype).tiny))[::3].sum())
    assert subnormal_count(x[:0]) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_fingerprint_changes_with_any_bit(dtype):
    x = torch.randn(600_001, generator=torch.Generator().manual_seed(1)).to(dtype)
    before = fingerprint(x)
    assert fingerprint(x.clone()) == before
    for place in (0, 65_535, 65_536, 524_287, 524_288, 600_000):
        other = x.clone()
        integer_view(other)[place] ^= 1
        assert fingerprint(other) != before
    for flipped in (-x, torch.cat([-x[:2], x[2:]]), torch.cat([-x[:1], x[1:-1], -x[-1:]])):
        assert fingerprint(flipped) != before  # signs are the highest bits: two of them are not to cancel
    assert fingerprint(x.flip(0)) != before
    assert fingerprint(x[1:]) != before
    assert fingerprint(x[:-1]) != before
    assert fingerprint(x[:0]) == 0
