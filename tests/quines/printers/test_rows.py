"""Printing on the CPU by sums of rows: the very bits of the plain path, for the codes that they take."""

import itertools
import sys

import numpy as np
import pytest
import torch

from neuralquine.quines.bits import same
from neuralquine.quines.printers import compiled, rows
from neuralquine.quines.printers.base import Slot, write_pieces
from neuralquine.quines.printers.hadamard import HadamardExpansion


def printer(monkeypatch, d, dtype, gains=None, chunk=1000, much=1 << 62):
    monkeypatch.setattr(rows, "_WORTH", 0)
    monkeypatch.setattr(rows, "_MUCH", much)
    monkeypatch.setattr(rows, "_CHUNK", chunk)
    times = itertools.count(0, -1)  # the later timed, the quicker: no test depends on a clock
    monkeypatch.setattr(rows, "seconds", lambda run: run() or next(times))
    sizes = [100, 7, 3333, 1, 0, 64, 9000]
    means = [float(i % 3) / 4 for i in range(len(sizes))]
    gains = gains or [2.0**-i for i in range(len(sizes))]
    return HadamardExpansion(sizes, means, gains, code_size=d, seed=5 + d, dtype=dtype)


def grid(d, bits, seed=1):
    draws = np.random.default_rng(seed).normal(size=d)
    return torch.from_numpy(np.round(draws * 2.0**bits) / 2.0**bits)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("d", "loop"), [(5, False), (20, False), (64, False), (64, True), (50, True), (200, False)])
def test_every_weight_has_the_bits_of_the_plain_path(monkeypatch, d, loop, dtype):
    made = printer(monkeypatch, d, dtype, much=0 if loop else 1 << 62)
    c = grid(d, 8).to(torch.float32 if dtype.itemsize < 8 else dtype)
    cut = np.sort(np.random.default_rng(d).integers(0, 9000, 4))  # parts of a tensor, as a rank of several has them
    parts = [Slot(6, int(a), int(b - a)) for a, b in itertools.pairwise(cut)]
    for slots in (made.slots, parts):
        found = [torch.full((s.count,), torch.nan, dtype=dtype) for s in slots]
        wanted = [torch.empty_like(t) for t in found]
        assert made._rows.written(c, list(zip(slots, found, strict=True)))
        assert made._rows._way.__name__ == ("compiled" if loop else "sparse_sum")
        write_pieces(made.plain_pieces(c, slots), list(zip(slots, wanted, strict=True)))
        assert all(same(a, b) for a, b in zip(found, wanted, strict=True))


def test_codes_with_rounded_sums_and_gains_that_are_no_powers_of_two_are_left_to_the_plain_path(monkeypatch):
    made = printer(monkeypatch, 20, torch.float32)
    targets = [(s, torch.empty(s.count)) for s in made.slots]
    assert not made._rows.written(torch.randn(20, generator=torch.Generator().manual_seed(1)), targets)
    assert not made._rows.written(torch.full((20,), torch.nan), targets)
    assert printer(monkeypatch, 20, torch.float32, gains=[0.3] * 7)._rows is None


def test_a_product_that_prints_other_bits_or_does_not_exist_is_not_believed(monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("torch was built without it")

    def other(values, *_, **__):
        return values.fill_(1.0)

    for broken in (refused, other):
        made, c = printer(monkeypatch, 20, torch.float32), grid(20, 8).float()
        with monkeypatch.context() as patched:
            patched.setattr(torch, "addmm", broken)
            targets = [(s, torch.empty(s.count)) for s in made.slots]
            made.write(c, targets)
        assert made._rows._way is None
        assert all(same(t, e) for (_, t), e in zip(targets, made(c).split(made.sizes), strict=True))


@pytest.mark.parametrize("quicker", [True, False])
def test_the_quicker_way_prints(monkeypatch, quicker):
    made, c = printer(monkeypatch, 20, torch.float32), grid(20, 8).float()
    times = iter([1.0, 0.5 if quicker else 2.0])  # of the plain path, then of the product
    monkeypatch.setattr(rows, "seconds", lambda run: run() or next(times))
    targets = [(s, torch.empty(s.count)) for s in made.slots]
    made.write(c, targets)
    assert made._rows._way is (rows.sparse_sum if quicker else None)
    assert all(same(t, e) for (_, t), e in zip(targets, made(c).split(made.sizes), strict=True))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_compiled_loop_takes_over_once_much_was_printed(monkeypatch, threads):
    made, c = printer(monkeypatch, 64, torch.float32, much=30_000), grid(64, 8).float()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for way in ("sparse_sum", "sparse_sum", "compiled", "compiled"):  # of 12,505 weights each
            targets = [(s, torch.empty(s.count)) for s in made.slots]
            made.write(c, targets)
            assert made._rows._way.__name__ == way
            assert all(same(t, e) for (_, t), e in zip(targets, made(c).split(made.sizes), strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_stores_past_the_cache_and_beside_its_lines_are_the_same(monkeypatch, dtype, shift):
    monkeypatch.setattr(compiled, "_PAST", 1)
    used = []
    loops = [lambda *given, k=k, loop=loop: used.append(k) or loop(*given) for k, loop in enumerate(compiled._loops())]
    monkeypatch.setattr(compiled, "_loops", lambda: loops)
    add = compiled.compiled_sum.__wrapped__(64)
    made, c = HadamardExpansion([64 * 1001], [0.0], [0.5], code_size=64, seed=3, dtype=dtype), grid(64, 8).to(dtype)
    (slot,) = made.slots
    memory = torch.full((64 * 1001 + 64 + shift,), torch.nan, dtype=dtype)
    first = (-memory.data_ptr() % 64) // dtype.itemsize + shift
    add(made.table(c) * 0.5, 0.25, made.index_of(slot)[0], memory[first : first + 64 * 1001].view(-1, 64))
    assert same(memory[first : first + 64 * 1001], made(c) + 0.25)
    assert memory[:first].isnan().all()
    assert memory[first + 64 * 1001 :].isnan().all()
    assert set(used) == {0 if shift else 1}


def test_without_numba_and_for_other_blocks_there_is_no_loop(monkeypatch):
    assert compiled.compiled_sum(32) is None
    monkeypatch.setattr(rows, "compiled_sum", lambda block: None)
    made, c = printer(monkeypatch, 64, torch.float32, much=0), grid(64, 8).float()
    targets = [(s, torch.empty(s.count)) for s in made.slots]
    made.write(c, targets)
    assert made._rows._way is rows.sparse_sum
    monkeypatch.setitem(sys.modules, "numba", None)
    assert compiled._loops() is None


def test_a_loop_that_prints_other_bits_is_not_believed(monkeypatch):
    def one_bit_off(table, mean, index, values):
        rows.sparse_sum(table, mean, index, values)
        values[0, 0] += 2.0**-20

    def not_compiled(table, mean, index, values):
        raise TypeError("Numba knows other vectors by now")

    for broken in (one_bit_off, not_compiled):
        monkeypatch.setattr(rows, "compiled_sum", lambda block, broken=broken: broken)
        made, c = printer(monkeypatch, 64, torch.float32, much=0), grid(64, 8).float()
        targets = [(s, torch.empty(s.count)) for s in made.slots]
        made.write(c, targets)
        assert made._rows._way is rows.sparse_sum
        assert all(same(t, e) for (_, t), e in zip(targets, made(c).split(made.sizes), strict=True))
