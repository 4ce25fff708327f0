"""The expansion against the dense matrix it stands for, and its sums of short binary fractions in any order."""

import numpy as np
import pytest
import torch

from neuralquine import TooLarge
from neuralquine.quines.printers.gaussian import GaussianExpansion
from neuralquine.quines.tables.philox import dyadic_gaussian

SIZES, MEANS, GAINS, D = [3, 1, 40], [0.0, 2.0, -0.5], [0.25, 0.125, 0.03], 12


@pytest.fixture
def expand():
    return GaussianExpansion(SIZES, MEANS, GAINS, code_size=D, seed=5, dtype=torch.float64)


def dense():
    """``(P,)`` means and the ``(P, d)`` Jacobian, with numpy alone."""
    gain = np.repeat(GAINS, SIZES)
    return np.repeat(MEANS, SIZES), gain[:, None] * dyadic_gaussian(5, 1, 0, 44 * D).reshape(44, D)


def grid_code(bits=10):
    generator = np.random.default_rng(0)
    return generator.integers(-(2 << bits), 2 << bits, D) / 2.0**bits


def test_it_is_the_affine_map_of_its_matrix(expand):
    mean, jacobian = dense()
    codes = torch.randn(2, 5, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = mean + codes.numpy() @ jacobian.T
    assert np.abs(expand(codes).numpy() - expected).max() < 1e-14
    assert torch.equal(expand(torch.zeros(D, dtype=torch.float64)), torch.from_numpy(mean))


def test_sums_of_a_grid_code_have_the_same_bits_in_any_order():
    # Zero means and powers of two as gains: every product and every partial sum fits the mantissa.
    expand = GaussianExpansion(SIZES, [0.0] * 3, [0.25, 0.125, 0.5], code_size=D, seed=5, dtype=torch.float64)
    code = grid_code()
    one_by_one = expand(torch.from_numpy(code)).numpy()
    batched = expand(torch.from_numpy(np.stack([code] * 7))).numpy()[3]
    table = dyadic_gaussian(5, 1, 0, 44 * D).reshape(44, D)
    gain = np.repeat([0.25, 0.125, 0.5], SIZES)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(D)
        total = np.zeros(44)
        for j in order:
            total += table[:, j] * code[j]
        assert (gain * total).tobytes() == one_by_one.tobytes() == batched.tobytes()


def test_sums_of_other_codes_depend_on_their_order():
    # So the test above says something.
    table = dyadic_gaussian(5, 1, 0, 44 * D).reshape(44, D)
    code = grid_code() / 3
    forwards, backwards = np.zeros(44), np.zeros(44)
    for j in range(D):
        forwards += table[:, j] * code[j]
        backwards += table[:, D - 1 - j] * code[D - 1 - j]
    assert forwards.tobytes() != backwards.tobytes()


def test_pull_back_and_gram_are_those_of_the_dense_matrix(expand):
    _, jacobian = dense()
    rows = torch.randn(2, 3, 44, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert np.abs(expand.pull_back(rows).numpy() - rows.numpy() @ jacobian).max() < 1e-13
    assert np.abs(expand.gram().numpy() - jacobian.T @ jacobian).max() < 1e-12


def test_another_type_holds_the_same_table(expand):
    single = GaussianExpansion(SIZES, MEANS, GAINS, code_size=D, seed=5, dtype=torch.float32)
    code = torch.from_numpy(grid_code(6))
    assert single(code.float()).dtype == torch.float32
    assert torch.allclose(single(code.float()).double(), expand(code), rtol=1e-6, atol=1e-6)


def test_too_large_states_the_bytes_before_taking_them():
    with pytest.raises(TooLarge, match=r"20000000 x 20 projection would take 2\.98 GiB, more than 2 GiB: choose"):
        GaussianExpansion([20_000_000], [0.0], [1.0], code_size=20, seed=0, dtype=torch.float64)
