"""Instance normalization: the numbers of torch's layer, and the derivative that makes zero repelling."""

import pytest
import torch
from torch import nn

from neuralquine.quines.networks.normalize import InstanceNorm, instance_norm


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_the_same_numbers_as_torchs_layer(eps):
    h = 3 + 2 * torch.randn(4, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = nn.InstanceNorm1d(1, eps=eps, affine=False)(h[:, None])[:, 0]
    assert torch.allclose(instance_norm(h, eps), expected, rtol=0, atol=1e-14)
    assert torch.equal(InstanceNorm(eps)(h), instance_norm(h, eps))


def test_mean_zero_and_variance_one():
    h = 1e3 + torch.arange(10, dtype=torch.float64)
    n = instance_norm(h, 0.0)
    assert abs(float(n.mean())) < 1e-14
    assert float(n.square().mean()) == pytest.approx(1, abs=1e-12)
    assert torch.allclose(instance_norm(5 * h - 7, 0.0), n, rtol=0, atol=1e-12)


def test_derivative_at_zero_is_centring_over_root_eps():
    n, eps = 6, 1e-5
    j = torch.autograd.functional.jacobian(lambda h: instance_norm(h, eps), torch.zeros(n, dtype=torch.float64))
    expected = (torch.eye(n) - torch.full((n, n), 1 / n)).double() / eps**0.5
    assert torch.allclose(j, expected, rtol=1e-12, atol=1e-5)


def test_derivative_against_finite_differences():
    h = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: instance_norm(x, 1e-2), (h,))


def test_a_constant_row_gives_zero_and_no_nan():
    assert torch.equal(instance_norm(torch.full((2, 5), 7.0), 1e-5), torch.zeros(2, 5))


def test_the_layer_has_no_parameters_and_shows_its_eps():
    layer = InstanceNorm(0.5)
    assert list(layer.parameters()) == []
    assert list(layer.buffers()) == []
    assert repr(layer) == "InstanceNorm(eps=0.5)"
