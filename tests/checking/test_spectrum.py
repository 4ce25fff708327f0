"""Eigenvalues and norms of the self-map's derivative, against matrices that are known and against numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.errors import TooLarge
from neuralquine.solving.maps import FullMap


class Linear(nn.Module):
    """``code = B theta``: with as many weights as code entries, ``J_F = E B`` can be any matrix."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.register_buffer("matrix", torch.zeros(size, size))

    def forward(self, z):
        return self.matrix @ self.weight + 0 * z.sum()


def with_derivative(matrix):
    """A quine whose self-map is ``matrix @ theta``."""
    matrix = torch.as_tensor(matrix, dtype=torch.float64)
    n = len(matrix)
    quine = nq.Quine(Linear(n), torch.ones(1), code_size=n, normalize=False, alpha=1.0, seed=1, prints="code")
    expansion = quine.expand.gain[:, None] * quine.expand.matrix
    quine.trunk.matrix = torch.linalg.solve(expansion, matrix)
    torch.testing.assert_close(quine.self_map(quine.theta), matrix @ quine.theta, rtol=1e-9, atol=1e-9)
    return quine


def turn(radius, angle):
    return radius * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def block(*parts):
    return torch.block_diag(*[torch.as_tensor(np.atleast_2d(p), dtype=torch.float64) for p in parts])


def test_known_eigenvalues():
    spectrum = nq.spectrum(with_derivative(block(turn(2.0, 1.0), -3.0, 0.5, 0.0)))
    found = spectrum.eigenvalues.numpy()
    expected = [-3, 2 * np.exp(1j), 2 * np.exp(-1j), 0.5, 0]
    assert np.abs(found).tolist() == pytest.approx([3, 2, 2, 0.5, 0], abs=1e-9)
    assert max(np.abs(found - e).min() for e in expected) < 1e-9
    assert spectrum.spectral_radius == pytest.approx(3)
    assert spectrum.damped_regeneration == pytest.approx(2 * math.cos(1.0))  # the largest real part
    assert spectrum.newton_distance == pytest.approx(0.5)
    assert spectrum.self_sensitivity == pytest.approx(3)


def test_a_complex_pair_counts_with_its_modulus_and_not_its_real_part():
    # A Rayleigh quotient or a power iteration would call this attracting.
    spectrum = nq.spectrum(with_derivative(block(turn(1.5, math.pi / 2), 0.2)))
    assert spectrum.spectral_radius == pytest.approx(1.5)
    assert spectrum.damped_regeneration == pytest.approx(0.2)


def test_a_non_normal_matrix_has_a_norm_far_above_its_eigenvalues():
    matrix = [[0.5, 100.0], [0.0, 0.5]]
    spectrum = nq.spectrum(with_derivative(matrix))
    assert spectrum.spectral_radius == pytest.approx(0.5, rel=1e-4)
    assert spectrum.self_sensitivity == pytest.approx(np.linalg.norm(matrix, 2))


def test_the_reduced_figures_are_those_of_the_full_matrix(small):
    theta = small.theta + 0.1
    full = FullMap(small).jacobian(theta[None])[0].numpy()
    spectrum = nq.spectrum(small, theta)
    values = np.linalg.eigvals(full)
    expected = values[np.argsort(-np.abs(values))][:16]
    assert np.abs(spectrum.eigenvalues.numpy()).tolist() == pytest.approx(np.abs(expected).tolist(), abs=1e-7)
    assert spectrum.self_sensitivity == pytest.approx(np.linalg.norm(full, 2), rel=1e-9)
    assert spectrum.newton_distance == pytest.approx(np.abs(1 - expected).min(), rel=1e-6)


def test_both_expansions_measure_what_they_print():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5))
    quine = nq.Quine(trunk, torch.randn(1, 4), code_size=5, expansion="hadamard")
    full = FullMap(quine).jacobian(quine.theta[None])[0].numpy()
    spectrum = nq.spectrum(quine)
    assert spectrum.self_sensitivity == pytest.approx(np.linalg.norm(full, 2), rel=1e-9)
    assert spectrum.spectral_radius == pytest.approx(np.abs(np.linalg.eigvals(full)).max(), rel=1e-6)


def test_the_spectrum_of_the_stored_weights_is_the_default(small):
    assert torch.equal(nq.spectrum(small).eigenvalues, nq.spectrum(small, small.theta).eigenvalues)
    before = small.theta
    nq.spectrum(small, small.theta + 1)
    assert torch.equal(small.theta, before)


def test_derivatives_that_are_not_finite_are_not_given_a_figure():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4))

        def forward(self, z):
            return torch.sqrt(self.weight) + z

    spectrum = nq.spectrum(nq.Quine(Root(), torch.ones(4), code_size=4, normalize=False, prints="code"))
    assert math.isnan(spectrum.self_sensitivity)
    assert math.isnan(spectrum.spectral_radius)


def test_too_many_weights_are_refused_with_the_size(small):
    with pytest.raises(TooLarge, match=r"the derivative of the code would take 2\.38 GiB, more than 2 GiB"):
        nq.spectrum(small, torch.zeros(1, dtype=torch.float64).expand(20_000_000))


def test_in_place_the_eigenvalues_are_the_same_and_the_sensitivity_is_a_bound(monkeypatch):
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.Tanh(), torch.nn.Linear(12, 8))
    quine = nq.Quine(trunk, torch.randn(1, 4), code_size=8, expansion="hadamard", dtype=torch.float64)
    theta, dense = quine.theta, nq.spectrum(quine)
    monkeypatch.setattr("neuralquine.quines.self_printer._IN_PLACE", 0)
    assert quine.in_place
    local = nq.spectrum(quine)
    assert torch.allclose(local.eigenvalues.abs(), dense.eigenvalues.abs(), rtol=1e-9, atol=1e-12)
    assert local.bound
    assert not dense.bound
    assert 0.1 * dense.self_sensitivity < local.self_sensitivity <= dense.self_sensitivity * (1 + 1e-6)
    assert torch.equal(quine.theta, theta)
