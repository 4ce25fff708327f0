"""The structured expansion: the same numbers as its dense table, whole, in pieces and in any part, bit for bit."""

import numpy as np
import pytest
import torch

from neuralquine.errors import TooLarge
from neuralquine.quines.printers import pulled
from neuralquine.quines.printers.hadamard import HadamardExpansion, Slot
from neuralquine.quines.tables.signs import block_size, hadamard, sign_bytes, sign_matrix, signs

SHAPES = {
    "odd sizes": (20, [100, 7, 333, 1, 0, 64, 64, 1000]),
    "tiny code": (3, [10, 9]),
    "several chunks": (64, [1000, 5000, 300_000]),
    "whole blocks": (64, [64, 128]),
}


def made(code_size, sizes, dtype=torch.float64):
    means = [float(i % 3) / 4 for i in range(len(sizes))]
    gains = [2.0**-i for i in range(len(sizes))]
    return HadamardExpansion(sizes, means, gains, code_size=code_size, seed=7, dtype=dtype)


def on_grid(d, dtype=torch.float64):
    draws = torch.randn(d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (torch.round(draws * 256) / 256).to(dtype)


@pytest.mark.parametrize("size", [8, 16, 64])
def test_hadamard_matrix_is_orthogonal_and_symmetric(size):
    h = hadamard(size)
    assert np.array_equal(h @ h.T, size * np.eye(size))
    assert np.array_equal(h, h.T)
    assert set(np.unique(h)) == {-1.0, 1.0}


def test_signs_of_a_stretch_are_those_of_the_whole():
    whole = sign_bytes(3, 32, 0, 100)
    for first, count in ((0, 1), (17, 5), (99, 1), (3, 50)):
        assert np.array_equal(sign_bytes(3, 32, first, count), whole[first : first + count])
    s = signs(sign_bytes(3, 64, 0, 4000))
    assert abs(s.mean()) < 0.01  # 256,000 fair coins: three deviations are 0.006


def test_golden_signs():
    assert sign_bytes(0, 32, 0, 3).tobytes().hex() == GOLDEN


GOLDEN = "0c94f6cbdafc2caa450be37b"


@pytest.mark.parametrize("name", SHAPES)
def test_pieces_are_the_dense_product_bit_for_bit(name):
    d, sizes = SHAPES[name]
    e, c = made(d, sizes), on_grid(d)
    dense = torch.from_numpy(sign_matrix(7, sum(sizes), d))
    expected = e.mean + e.gain * (dense @ c)
    assert torch.equal(e(c), expected)
    out = [torch.full((s,), torch.nan, dtype=torch.float64) for s in sizes]
    for number, start, values in e.pieces(c):
        out[number][start : start + len(values)] = values
    assert torch.equal(torch.cat(out), expected)


@pytest.mark.parametrize("name", SHAPES)
def test_any_part_is_printed_without_the_rest(name):
    d, sizes = SHAPES[name]
    e, c = made(d, sizes), on_grid(d)
    offsets = np.cumsum([0, *sizes])
    slots = [Slot(i, s // 3, s - s // 3 - s // 5) for i, s in enumerate(sizes)]
    out = [torch.full((s.count,), torch.nan, dtype=torch.float64) for s in slots]
    for number, start, values in e.pieces(c, slots):
        out[number][start : start + len(values)] = values
    whole = e(c)
    for slot, part in zip(slots, out, strict=True):
        first = offsets[slot.tensor] + slot.first
        assert torch.equal(part, whole[first : first + slot.count])


@pytest.mark.parametrize("name", SHAPES)
def test_derivatives_are_those_of_the_dense_table(name):
    d, sizes = SHAPES[name]
    if sum(sizes) > 10_000:
        sizes = sizes[:2]
    e = made(d, sizes)
    table = torch.from_numpy(sign_matrix(7, sum(sizes), d)) * e.gain[:, None]
    rows = torch.randn(3, sum(sizes), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.allclose(e.pull_back(rows), rows @ table)
    assert torch.allclose(e.pull_back_tensors(list(rows[0].split(sizes))), rows[0] @ table)
    assert torch.allclose(e.gram(), table.T @ table)


def test_the_gram_matrix_of_a_huge_network_takes_no_walk_through_its_blocks():
    e = made(20, [5, 1 << 45, 7])
    assert torch.equal(e.gram().diagonal()[:1], torch.tensor([5 + 2.0**43 + 7 / 16], dtype=torch.float64))


def test_single_precision_is_exact_on_the_grid():
    d, sizes = SHAPES["several chunks"]
    single, double = made(d, sizes, torch.float32), made(d, sizes)
    assert torch.equal(single(on_grid(d, torch.float32)).double(), double(on_grid(d)))


def test_narrow_types_are_rounded_once():
    d, sizes = SHAPES["odd sizes"]
    narrow, single = made(d, sizes, torch.bfloat16), made(d, sizes, torch.float32)
    c = on_grid(d, torch.float32)
    assert torch.equal(narrow(c), single(c).bfloat16())
    assert torch.equal(torch.cat([v for _, _, v in narrow.pieces(c)]), single(c).bfloat16())


def test_codes_are_expanded_side_by_side():
    e = made(20, [100, 30])
    codes = torch.stack([on_grid(20), 2 * on_grid(20)])
    assert torch.equal(e(codes)[1], e(codes[1]))


def test_a_huge_code_is_refused():
    with pytest.raises(TooLarge, match="tables of the expansion"):
        HadamardExpansion([10], [0.0], [1.0], code_size=1 << 20, seed=0, dtype=torch.float64)
    assert block_size(5) == 8
    assert block_size(33) == 64


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", SHAPES)
def test_the_pull_back_is_the_transpose_of_the_expansion_whatever_is_cut_where(name, dtype, monkeypatch):
    monkeypatch.setattr(pulled, "_CHUNK", 1 << 9)  # so that chunks end within tensors, and tensors within blocks
    d, sizes = SHAPES[name]
    sizes = sizes[:2] if sum(sizes) > 10_000 else sizes
    generator = torch.Generator().manual_seed(5)
    e, rows = made(d, sizes, dtype), torch.randn(2, 3, sum(sizes), generator=generator, dtype=dtype)
    codes = torch.randn(d, generator=generator, dtype=dtype).requires_grad_(True)
    whole, room = e.pull_back(rows), 200 * torch.finfo(dtype).eps
    for place, row in zip(whole.view(-1, d), rows.view(-1, sum(sizes)), strict=True):
        (expected,) = torch.autograd.grad((e.linear(codes) * row).sum(), codes)
        assert torch.linalg.vector_norm(place - expected) <= room * torch.linalg.vector_norm(expected)
        found = e.pull_back_tensors(row.split(sizes))
        assert torch.linalg.vector_norm(found - expected) <= room * torch.linalg.vector_norm(expected)
    assert whole.shape == (2, 3, d)
    assert whole.dtype == dtype
