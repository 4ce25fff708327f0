"""The GPU's kernels: which codes they take, and, where Triton can be had, the very bits of the plain path."""

import os

import numpy as np
import pytest
import torch

from neuralquine.quines.bits import same
from neuralquine.quines.printers import fused
from neuralquine.quines.printers.hadamard import HadamardExpansion


def grid(d, bits, seed=1):
    draws = torch.randn(d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    return np.round(draws * 2.0**bits) / 2.0**bits


@pytest.mark.parametrize(("bits", "parts"), [(6, 1), (8, 1), (11, 2), (17, None), (25, None)])
def test_a_code_is_taken_apart_without_loss_or_not_at_all(bits, parts):
    numbers = grid(64, bits)
    found = fused.parts_of(numbers)
    assert (None if found is None else len(found)) == parts
    if found is not None:
        assert np.array_equal(found.astype(np.float64).sum(0), numbers)


def test_what_cannot_be_summed_exactly_is_refused():
    assert fused.parts_of(np.zeros(8)) is None
    assert fused.parts_of(np.array([np.nan, 1.0])) is None
    assert fused.parts_of(np.array([1e6, 2.0**-8])) is None
    assert fused.parts_of(np.array([2.0**-31])) is None


def test_a_printer_on_the_cpu_has_no_kernel():
    made = HadamardExpansion([100], [0.0], [0.25], code_size=20, seed=1, dtype=torch.float32)
    assert made._fused is None or os.environ.get("TRITON_INTERPRET") == "1"


def test_a_kernel_that_prints_other_bits_is_not_believed(monkeypatch):
    made = HadamardExpansion([3000, 5], [0.0, 1.0], [0.25, 0.5], code_size=20, seed=1, dtype=torch.float32)
    kernel = fused.Fused(made)

    def forged(code, way, targets):
        for number, start, values in made.plain_pieces(code, [slot for slot, _ in targets]):
            targets[number][1][start : start + len(values)] = values
        targets[-1][1][-1] += lie

    monkeypatch.setattr(kernel, "_launch", forged)
    monkeypatch.setattr(kernel, "_tables", lambda targets: targets)
    code = torch.from_numpy(grid(20, 8)).float()
    lie = 0.0
    assert kernel.way(code) == fused.Way(1, 1.0, exact=True)
    kernel._believed.clear()
    lie = 2.0**-10
    with pytest.warns(RuntimeWarning, match="prints otherwise than the plain path"):
        assert kernel.way(code) is None


def test_a_code_of_another_way_than_the_last_one_is_printed_once_more(monkeypatch):
    made = HadamardExpansion([3000, 5], [0.0, 1.0], [0.25, 0.5], code_size=20, seed=1, dtype=torch.float32)
    kernel, ways = fused.Fused(made), []

    def launched(code, way, targets):
        ways.append(way)
        for number, start, values in made.plain_pieces(code, [slot for slot, _ in targets]):
            targets[number][1][start : start + len(values)] = values + (0.0 if way == right else 1.0)

    monkeypatch.setattr(kernel, "_launch", launched)
    monkeypatch.setattr(kernel, "_planned", lambda targets: targets)
    monkeypatch.setattr(kernel, "_tables", lambda targets: targets)
    targets = [(slot, torch.empty(slot.count)) for slot in made.slots]
    right = fused.Way(1, 1.0, exact=True)
    for bits, all_launches in ((8, (1, 1)), (11, (2, 1))):
        code = torch.from_numpy(grid(20, bits)).float()
        right = fused.Way(1 if bits == 8 else 2, 1.0, exact=True)
        for launches in all_launches:
            kernel.way(code)  # compares once
            ways.clear()
            assert kernel.written(code, targets)
            assert len(ways) == launches
            assert all(same(t, e) for (_, t), e in zip(targets, made(code).split(made.sizes), strict=True))
    kept = code.clone()
    targets[0][1][:20] = code  # a code that lies among what is written
    assert kernel.written(targets[0][1][:20], targets)
    assert all(same(t, e) for (_, t), e in zip(targets, made(kept).split(made.sizes), strict=True))
    assert not kernel.written(torch.full((20,), torch.nan), targets)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="needs Triton and TRITON_INTERPRET=1")
@pytest.mark.parametrize("d", [8, 20, 64, 128])
@pytest.mark.parametrize("bits", [8, 11])
def test_the_kernel_prints_the_bits_of_the_plain_path(d, bits):
    pytest.importorskip("triton")
    sizes = [100, 7, 333, 1, 0, 64, 9000]
    gains = [2.0**-i for i in range(len(sizes))]
    made = HadamardExpansion(sizes, [0.25] * len(sizes), gains, code_size=d, seed=2**40 + 3, dtype=torch.float32)
    targets = [(slot, torch.empty(slot.count)) for slot in made.slots]
    for code in (torch.from_numpy(grid(d, bits)).float(), torch.from_numpy(grid(d, 11 + 8 - bits)).float()):
        for _ in range(2):
            assert made._fused.written(code, targets)
            assert all(same(t, e) for (_, t), e in zip(targets, made(code).split(sizes), strict=True))
    rough = torch.randn(d, generator=torch.Generator().manual_seed(2))
    assert made._fused.written(rough, targets)
    expected = made(rough).split(sizes)
    assert all(torch.allclose(t, e, rtol=1e-5, atol=1e-6) for (_, t), e in zip(targets, expected, strict=True))
    pairs = [(slot, torch.randn(slot.count)) for slot in made.slots if slot.count]
    assert torch.allclose(made._fused.pull_back(pairs), made.plain_pull_back(pairs), rtol=1e-4)
