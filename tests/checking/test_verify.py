"""What ``verify`` says, field by field, against other means; the four words are never one for another."""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.solving.maps import FullMap


@pytest.fixture(scope="module")
def kept():
    """A converged quine of the blog's network, without a grid; copied by every test that changes it."""
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    return quine


@pytest.fixture(scope="module")
def rounded(exact_blog):
    """A bit-exact quine of the same network."""
    return exact_blog()


@pytest.fixture
def smooth(kept):
    return copy.deepcopy(kept)


@pytest.fixture
def exact(rounded):
    return copy.deepcopy(rounded)


def changed(quine, index, value):
    theta = quine.theta
    theta[index] = value
    quine.theta = theta
    return nq.verify(quine, tries=3)


def test_a_converged_quine_is_one_and_is_not_called_more(smooth):
    found = nq.verify(smooth)
    assert found.is_quine
    assert found.converged
    assert not found.bit_exact
    assert found.portable is None
    assert found.proved is None
    assert found.trivial == ()


def test_a_bit_exact_quine_is_that_and_is_not_called_portable_or_proved(exact):
    found = nq.verify(exact)
    assert found.is_quine
    assert found.converged
    assert found.bit_exact
    assert found.portable is None
    assert found.proved is None
    assert (found.relative_residual, found.max_abs_residual) == (0.0, 0.0)
    assert (found.differing_weights, found.max_ulp) == (0, 0)
    assert found.generations_survived == found.generations_tried == 100


def test_the_unsolved_network_is_none_of_it():
    found = nq.verify(nq.recipe("blog", seed=0), tries=5)
    assert not found.is_quine
    assert not found.converged
    assert not found.bit_exact
    assert found.trivial == ()
    assert found.relative_residual > 0.1
    assert found.generations_survived == 0
    assert found.generations_tried == 5


def test_the_residuals_are_those_of_numpy(smooth):
    theta, printed = smooth.theta.numpy(), smooth.printed().numpy()
    found = nq.verify(smooth)
    assert found.relative_residual == pytest.approx(np.linalg.norm(printed - theta) / np.linalg.norm(theta), rel=1e-9)
    assert found.max_abs_residual == np.abs(printed - theta).max()
    assert found.weight_rms == pytest.approx(np.sqrt((theta**2).mean()))
    assert found.differing_weights == (theta.view(np.int64) != printed.view(np.int64)).sum()
    assert 0 < found.differing_weights <= found.parameters == 1020
    same_sign = np.abs(theta.view(np.int64) - printed.view(np.int64))[np.sign(theta) == np.sign(printed)]
    assert found.max_ulp == same_sign.max()
    assert found.dtype == "float64"


def test_the_derivatives_are_those_of_the_full_matrix(small):
    nq.solve(small)
    full = FullMap(small).jacobian(small.theta[None])[0].numpy()
    found = nq.verify(small)
    assert found.self_sensitivity == pytest.approx(np.linalg.norm(full, 2), rel=1e-9)
    assert found.spectral_radius == pytest.approx(np.abs(np.linalg.eigvals(full)).max(), rel=1e-6)
    assert found.numbers_outside == 4  # the probe


def test_converged_is_a_matter_of_round_off_and_rtol(smooth):
    theta = smooth.theta
    smooth.theta = theta * (1 + 1e-12)
    assert not nq.verify(smooth, tries=1).converged
    assert nq.verify(smooth, rtol=1e-9, tries=1).converged
    smooth.theta = theta
    assert not nq.verify(smooth, rtol=1e-20, tries=1).converged


def test_one_wrong_weight_is_seen(exact):
    index = 123
    before = float(exact.theta[index])
    moved = changed(exact, index, np.nextafter(before, math.inf))
    assert moved.converged
    assert not moved.bit_exact
    assert (moved.differing_weights, moved.max_ulp) == (1, 1)
    wrong = changed(exact, index, before + 1e-6)
    assert not wrong.converged
    assert not wrong.is_quine
    assert 5e-7 < wrong.max_abs_residual < 1e-4


def test_a_zero_of_the_other_sign_is_another_number():
    class Bits(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([3.0, -1.0]))

        def forward(self, z):
            return 0 * self.weight

    quine = nq.Quine(Bits(), torch.ones(1), code_size=2, normalize=False, alpha=1.0, prints="code")
    quine.theta = quine.printed()
    assert nq.verify(quine, tries=1).bit_exact
    quine.theta = -quine.theta
    found = nq.verify(quine, tries=1)
    assert found.max_abs_residual == 0
    assert not found.bit_exact
    assert (found.differing_weights, found.max_ulp) == (2, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_counted_and_never_pass(exact, bad):
    found = changed(exact, 0, bad)
    assert not found.is_quine
    assert not found.converged
    assert not found.bit_exact
    assert found.nonfinite_weights >= 1
    assert found.generations_survived == 0
    json.dumps(found.figures(), allow_nan=False)


def test_subnormal_weights_are_counted(exact):
    assert nq.verify(exact, tries=1).subnormal_weights == 0
    assert changed(exact, 0, 1e-310).subnormal_weights == 1


def test_the_zero_quine_is_converged_by_no_measure_and_named():
    quine = nq.recipe("blog-part1")
    quine.theta = torch.zeros(1020, dtype=torch.float64)
    found = nq.verify(quine, tries=1)
    assert found.relative_residual == math.inf  # 0 / 0 never looks small
    assert not found.converged
    assert not found.is_quine
    assert found.bit_exact  # true, and worth nothing
    assert found.trivial[0].startswith("zero: every weight is 0")
    assert found.figures()["status"] == "trivial"
    assert found.figures()["relative_residual"] is None


def test_a_printed_constant_converges_and_is_still_no_quine():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, z):
            return z + 0 * self.weight.sum()

    quine = nq.Quine(Constant(), torch.tensor([1.0, -2.0, 0.5, 3.0]), code_size=4)
    quine.theta = quine.printed()
    found = nq.verify(quine, tries=3)
    assert found.converged
    assert found.bit_exact
    assert not found.is_quine
    assert found.self_sensitivity == 0
    assert any(trick.startswith("constant: ") for trick in found.trivial)


def test_numbers_outside_are_counted():
    trunk = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False))
    assert nq.verify(nq.Quine(trunk, torch.randn(1, 4), code_size=6), tries=1).numbers_outside >= 4 + 12


def test_a_quine_in_single_precision_is_judged_by_its_own_round_off():
    quine = nq.recipe("blog", seed=1, dtype=torch.float32)
    nq.solve(quine)
    found = nq.verify(quine)
    assert found.is_quine
    assert found.dtype == "float32"
    assert 1e-9 < found.relative_residual < 40 * 2**-23


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_quine_in_a_narrow_type_gets_a_verdict(small, dtype):
    quine = nq.Quine(small.trunk, small.inputs, code_size=16, dtype=dtype)
    nq.solve(quine, stop=nq.Stop(max_evaluations=200), throw=False)
    found = nq.verify(quine, tries=3)
    assert found.dtype == str(dtype).removeprefix("torch.")
    assert found.is_quine == (found.converged and not found.trivial)


def test_looking_changes_nothing(smooth):
    theta, buffers = smooth.theta, copy.deepcopy(smooth.trunk.state_dict())
    state = torch.get_rng_state()
    first, second = nq.verify(smooth), nq.verify(smooth)
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(smooth.theta, theta)
    assert all(torch.equal(smooth.trunk.state_dict()[name], value) for name, value in buffers.items())


def test_figures_are_json_with_the_stable_keys(smooth):
    figures = json.loads(json.dumps(nq.verify(smooth, tries=1).figures(), allow_nan=False))
    assert figures["status"] == "quine"
    assert figures["parameters"] == 1020
    keys = "relative_residual max_abs_residual weight_rms differing_weights bit_exact self_sensitivity spectral_radius"
    assert set(keys.split()) <= set(figures)
    assert figures["trivial"] == []


def test_the_four_words_are_shown_apart(smooth):
    found = nq.verify(smooth, tries=1)
    text = repr(found)
    assert "a quine: relative residual" in text
    for words in ("converged yes", "bit-exact no", "portable not examined", "proved not examined"):
        assert words in text
    other = repr(replace(found, portable=True, proved=False, is_quine=False, trivial=("zero: none left",)))
    for words in ("NOT a quine", "converged yes", "bit-exact no", "portable yes", "proved no", "zero: none left"):
        assert words in other
    assert all(len(line) <= 120 for line in text.splitlines())
