"""The dense expansion: exact on a grid whatever the order of the sums, and linear otherwise."""

import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from neuralquine.errors import TooLarge
from neuralquine.printers.expansion import GaussianExpansion
from neuralquine.printers.philox import dyadic_gaussian

D = 20


def make(dtype=torch.float64, sizes=(60, 4), means=(0.0, 0.0), gains=(0.25, 0.125), seed=3):
    return GaussianExpansion(list(sizes), list(means), list(gains), code_size=D, seed=seed, dtype=dtype)


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def on_grid(bits, dtype=torch.float64):
    return torch.round(draw(D) * 2**bits) / 2**bits


def exact_sums(expand, c):
    """``A c`` in rational arithmetic."""
    code = [Fraction(x) for x in c.tolist()]
    return [sum(Fraction(a) * x for a, x in zip(row, code, strict=True)) for row in expand.matrix.tolist()]


def pairwise(products):
    while len(products) > 1:
        pairs = [a + b for a, b in zip(products[::2], products[1::2], strict=False)]
        products = pairs + ([products[-1]] if len(products) % 2 else [])
    return products[0]


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float64, 12), (torch.float64, 40), (torch.float32, 12)])
def test_sums_over_a_code_on_a_grid_are_exact_in_any_order(dtype, bits):
    expand, c = make(dtype), on_grid(bits).to(dtype)
    printed = expand(c)
    expected = [float(g) * float(s) for g, s in zip(expand.gain.tolist(), exact_sums(expand, c), strict=True)]
    assert printed.tolist() == expected  # the gains are powers of two
    order = torch.randperm(D, generator=torch.Generator().manual_seed(1))
    assert torch.equal(expand.gain * (c[order] @ expand.matrix[:, order].mT), printed)
    kind = {torch.float64: np.float64, torch.float32: np.float32}[dtype]
    matrix, code = expand.matrix.numpy(), c.numpy()
    for row, gain, value in zip(matrix, expand.gain.numpy(), printed.numpy(), strict=True):
        products = list(row * code)
        assert all(type(p) is kind for p in products)
        backwards = kind(0)
        for product in reversed(products):
            backwards = backwards + product
        assert gain * backwards == gain * pairwise(products) == gain * kind(math.fsum(products)) == value


def test_off_the_grid_the_order_of_the_sums_does_matter():
    # Without this, the test above could not fail.
    expand, c = make(), draw(D)
    wrong = [float(s) for s in exact_sums(expand, c)]
    backwards = (c.flip(0)[None] * expand.matrix.flip(1)).numpy()
    sums = [pairwise(list(row)) for row in backwards]
    assert wrong != sums


def test_every_tensor_is_printed_around_its_own_mean_with_its_own_gain():
    expand, c = make(sizes=(3, 2, 4), means=(1.0, 0.0, -2.0), gains=(0.5, 0.25, 2.0)), draw(D)
    mean = torch.tensor([1.0] * 3 + [0.0] * 2 + [-2.0] * 4, dtype=torch.float64)
    gain = torch.tensor([0.5] * 3 + [0.25] * 2 + [2.0] * 4, dtype=torch.float64)
    torch.testing.assert_close(expand(c), mean + gain * (expand.matrix @ c), rtol=1e-13, atol=1e-13)
    assert torch.equal(expand(torch.zeros(D, dtype=torch.float64)), mean)
    pieces = list(expand.pieces(c))
    assert [(number, start, len(values)) for number, start, values in pieces] == [(0, 0, 3), (1, 0, 2), (2, 0, 4)]
    assert torch.equal(torch.cat([values for _, _, values in pieces]), expand(c))


def test_what_is_printed_has_the_spread_it_was_given():
    expand = make(sizes=(4000, 4000), means=(0.0, 1.0), gains=(0.25, 0.5))
    c = draw(D)
    first, second = expand(c).split(4000)
    size = float(torch.linalg.vector_norm(c))
    assert float(first.std()) == pytest.approx(0.25 * size, rel=0.08)
    assert float(second.std()) == pytest.approx(0.5 * size, rel=0.08)
    assert float(first.mean()) == pytest.approx(0, abs=5 * 0.25 * size / 4000**0.5)
    assert float(second.mean()) == pytest.approx(1, abs=5 * 0.5 * size / 4000**0.5)


def test_rows_of_codes_give_rows_of_weights():
    expand, codes = make(), torch.stack([on_grid(10), on_grid(11), on_grid(12)])
    assert torch.equal(expand(codes), torch.stack([expand(c) for c in codes]))


def test_pull_back_is_the_transpose_and_gram_its_square():
    expand = make(means=(1.0, -1.0))
    jacobian = torch.autograd.functional.jacobian(expand, draw(D))
    rows = draw(3, 64)
    torch.testing.assert_close(expand.pull_back(rows), rows @ jacobian, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(expand.gram(), jacobian.mT @ jacobian, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(expand.linear(draw(D)), jacobian @ draw(D), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types_are_computed_in_single_precision_and_rounded_once(dtype):
    expand, c = make(dtype), draw(D, dtype=torch.float32)
    assert expand(c).dtype == dtype
    assert torch.equal(expand(c), make(torch.float32)(c).to(dtype))
    rows = draw(2, 64, dtype=dtype)
    assert expand.pull_back(rows).dtype == dtype


def test_the_matrix_comes_from_the_seed_alone():
    assert torch.equal(make().matrix, torch.from_numpy(dyadic_gaussian(3, 1, 0, 64 * D)).reshape(64, D))
    assert torch.equal(make().matrix, make(gains=(1.0, 1.0), sizes=(4, 60)).matrix)
    assert not torch.equal(make().matrix, make(seed=4).matrix)
    assert torch.equal(make(torch.float32).matrix.double(), make().matrix)
    moved = make().to(torch.device("cpu"))
    assert torch.equal(moved(on_grid(8)), make()(on_grid(8)))


def test_golden_bits_of_what_seed_3_prints():
    printed = make()((torch.arange(D, dtype=torch.float64) - 7) / 256).numpy().astype("<f8")
    assert hashlib.sha256(printed.tobytes()).hexdigest() == "0536c34cca59f66b532b6d2e54a7727516bbb0cb746a75e666182dc0ac04095e"


def test_a_projection_above_two_gib_is_refused_with_its_size():
    with pytest.raises(TooLarge, match=r"the dense 20000000 x 20 projection would take 2\.98 GiB, more than 2 GiB: "):
        make(sizes=(20_000_000,), means=(0.0,), gains=(1.0,))
