"""Instance normalization without parameters: torch's numbers, and the derivative that the post works out."""

import pytest
import torch
from neuralquine.printers.normalize import InstanceNorm, instance_norm
from torch import nn

EPS = 1e-5


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1, 20), (3, 20), (5, 2)])
def test_it_is_torch_instance_norm_on_one_channel(shape):
    h = draw(*shape)
    theirs = nn.InstanceNorm1d(1, affine=False, eps=EPS)(h[:, None])[:, 0]
    torch.testing.assert_close(instance_norm(h, EPS), theirs, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(InstanceNorm(EPS)(h), theirs, rtol=1e-14, atol=1e-14)


def test_shift_and_scale_do_not_matter_without_eps():
    h = draw(20)
    normalized = instance_norm(h, 0.0)
    assert float(normalized.mean()) == pytest.approx(0, abs=1e-15)
    assert float(normalized.square().mean()) == pytest.approx(1, rel=1e-14)
    torch.testing.assert_close(instance_norm(3 * h - 7, 0.0), normalized, rtol=1e-13, atol=1e-13)


def test_the_derivative_is_the_one_the_post_derives():
    h, n = draw(20), 20
    centered = h - h.mean()
    s = torch.sqrt(centered.square().mean() + EPS)
    expected = (torch.eye(n, dtype=torch.float64) - 1 / n) / s - torch.outer(centered, centered) / (n * s**3)
    found = torch.autograd.functional.jacobian(lambda x: instance_norm(x, EPS), h)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_at_zero_the_derivative_is_large_so_that_the_zero_quine_repels():
    n = 20
    found = torch.autograd.functional.jacobian(lambda x: instance_norm(x, EPS), torch.zeros(n, dtype=torch.float64))
    expected = (torch.eye(n, dtype=torch.float64) - 1 / n) / EPS**0.5
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-10)
    assert float(torch.linalg.eigvalsh(found).max()) > 300


def test_the_layer_has_no_numbers_of_its_own():
    layer = InstanceNorm(eps=1e-3)
    assert list(layer.state_dict()) == []
    assert repr(layer) == "InstanceNorm(eps=0.001)"
