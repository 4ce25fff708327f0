"""Many quines of one network: distinct, each printed again by numpy alone."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.solving.methods import Newton


def printed_by_numpy(quine, theta):
    """The post's network at ``theta``, with nothing but numpy."""
    layers, start = [], 0
    for rows, columns in ((20, 8), (20, 20), (20, 20)):
        layers.append((theta[start : start + rows * columns].reshape(rows, columns), theta[start + rows * columns :]))
        start += rows * (columns + 1)
    h = quine.inputs[0].numpy()[0]
    for weight, rest in layers:
        h = np.tanh(weight @ h + rest[:20])
        h = (h - h.mean()) / np.sqrt(h.var() + 1e-5)
    return 0.25 * (h @ (quine.expand.matrix.numpy() / 20).T)


@pytest.fixture(scope="module")
def blog():
    quine = nq.recipe("blog", seed=0)
    before, counts = quine.theta, []
    found = nq.zoo(quine, starts=12, progress=counts.append)
    return quine, before, found, counts


def test_one_network_has_several_quines(blog):
    _, _, found, counts = blog
    assert len(found.quines) >= 5
    assert found.starts == 12
    assert not found.interrupted
    assert found.map_evaluations > 12
    assert found.jvps > 0
    assert counts[-1] == len(found.quines) + found.rejected


def test_numpy_prints_each_of_them_again(blog):
    quine, _, found, _ = blog
    for entry in found.quines:
        theta = entry.theta.numpy()
        difference = printed_by_numpy(quine, theta) - theta
        assert np.linalg.norm(difference) / np.linalg.norm(theta) < 1e-13
        assert np.sqrt((theta**2).mean()) > 0.01
        assert entry.weight_rms == pytest.approx(np.sqrt((theta**2).mean()))


def test_no_two_are_the_same(blog):
    _, _, found, _ = blog
    for a, b in itertools.combinations(found.quines, 2):
        assert float(torch.linalg.vector_norm(a.theta - b.theta) / torch.linalg.vector_norm(a.theta)) > 1e-3


def test_the_figures_are_those_of_verify(blog):
    _, _, found, _ = blog
    twin = nq.recipe("blog", seed=0)
    for entry in found.quines[::2]:
        twin.theta = entry.theta
        verification = nq.verify(twin)
        assert verification.is_quine
        for name in ("relative_residual", "max_abs_residual", "weight_rms", "differing_weights"):
            assert getattr(entry, name) == getattr(verification, name)
        assert entry.self_sensitivity == pytest.approx(verification.self_sensitivity)
        assert entry.spectral_radius == pytest.approx(verification.spectral_radius)


def test_the_figures_of_each_are_those_that_tell_it_from_another(blog):
    _, _, found, _ = blog
    names = ["relative_residual", "max_abs_residual", "weight_rms", "differing_weights"]
    for entry in found.quines:
        assert list(entry.figures()) == [*names, "self_sensitivity", "spectral_radius"]
        assert entry.figures()["weight_rms"] == entry.weight_rms
        assert entry.nonfinite_weights == 0


def test_they_are_sorted_by_spectral_radius_and_the_network_stays_as_it_was(blog):
    quine, before, found, _ = blog
    radii = [entry.spectral_radius for entry in found.quines]
    assert radii == sorted(radii)
    assert torch.equal(quine.theta, before)


def test_the_same_seed_finds_the_same_ones_and_another_searches_elsewhere():
    first, again, other = (nq.zoo(nq.recipe("blog", seed=1), starts=2, seed=s) for s in (5, 5, 6))
    assert len(first.quines) > 0
    assert [q.relative_residual for q in first.quines] == [q.relative_residual for q in again.quines]
    assert all(torch.equal(a.theta, b.theta) for a, b in zip(first.quines, again.quines, strict=True))
    assert [q.spectral_radius for q in first.quines] != [q.spectral_radius for q in other.quines]


def test_zero_quines_are_not_counted():
    found = nq.zoo(nq.recipe("blog-part1"), starts=4)
    assert found.quines == ()


def test_constants_are_rejected():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, z):
            return z + 0 * self.weight.sum()

    found = nq.zoo(nq.Quine(Constant(), torch.tensor([1.0, -2.0, 0.5, 3.0]), code_size=4), starts=3)
    assert found.quines == ()
    assert found.rejected == 1  # three starts, one constant


def test_an_interrupted_search_keeps_what_it_has(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Newton, "step", interrupted)  # after Broyden's search, which finds some
    quine = nq.recipe("blog", seed=0)
    before = quine.theta
    found = nq.zoo(quine, starts=12)
    assert found.interrupted
    assert 0 < len(found.quines) < 12
    assert torch.equal(quine.theta, before)


@pytest.mark.parametrize("starts", [0, -3])
def test_at_least_one_start_is_asked_for(small, starts):
    with pytest.raises(nq.BadOption, match=f"^starts must be at least 1, not {starts}$"):
        nq.zoo(small, starts=starts)


@pytest.mark.slow
def test_forty_starts_find_dozens():
    found = nq.zoo(nq.recipe("blog", seed=0), starts=40)
    assert len(found.quines) >= 24
    assert all(entry.spectral_radius > 1 for entry in found.quines)  # every quine found so far repels regeneration


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_narrow_type_has_a_zoo_too(dtype):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 8))
    quine = nq.Quine(trunk, torch.tensor([[1.0, -2.0, 0.5, 3.0]]), code_size=8, dtype=getattr(torch, dtype))
    found = nq.zoo(quine, starts=4)
    assert len(found.quines) >= 2
    for entry in found.quines:
        quine.theta = entry.theta
        assert nq.verify(quine, tries=1).is_quine
    for a, b in itertools.combinations(found.quines, 2):
        assert (
            float(torch.linalg.vector_norm((a.theta - b.theta).float()) / torch.linalg.vector_norm(a.theta.float()))
            > 0.1
        )


def test_a_queried_network_that_is_no_plain_stack_has_a_zoo_too():
    """Its starts are followed in a thread, which takes its turn with the module."""
    quine = nq.recipe("fletcher-coords", seed=2)
    theta = quine.theta
    found = nq.zoo(quine, starts=6)
    assert found.quines
    assert torch.equal(quine.theta, theta)


def test_the_zoo_of_an_exact_quine_is_that_of_the_unrounded_map():
    quine = nq.load("example:blog-exact")
    bits = quine.code_bits
    found = nq.zoo(quine, starts=5)
    assert len(found.quines) > 1
    assert quine.code_bits == bits
    assert nq.verify(quine).bit_exact
