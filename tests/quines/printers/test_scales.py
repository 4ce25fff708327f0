"""Means and gains: those of a tensor's own initialization, in short binary numbers."""

import math

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.printers.scales import initial_scales, uniform_scales


def of(values, code_size=16):
    """Mean and gain of a single tensor."""
    module = nn.Module()
    module.weight = nn.Parameter(torch.as_tensor(values, dtype=torch.float64))
    means, gains = initial_scales(list(module.parameters()), code_size)
    return means[0], gains[0]


def normal(n, mean, std):
    z = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return mean + std * (z - z.mean()) / z.std(correction=0)


def test_uniform_scales_are_the_posts():
    assert uniform_scales(list(nn.Linear(3, 2).parameters()), 0.25, 20) == ([0.0, 0.0], [0.0125, 0.0125])


@pytest.mark.parametrize("std", [1e-3, 0.3, 1.0, 70.0])
def test_the_gain_is_the_nearest_power_of_two(std):
    mean, gain = of(normal(1000, 0.0, std))
    assert mean == 0.0
    assert math.log2(gain).is_integer()
    assert 2**-0.51 < gain * math.sqrt(16) / std < 2**0.51


def test_only_a_mean_that_stands_out_is_kept():
    assert of(normal(100, 0.39, 1.0))[0] == 0.0  # four standard errors are 0.4
    mean, gain = of(normal(100, 0.9, 1.0))
    assert abs(mean - 0.9) <= gain / 2
    assert (mean / gain).is_integer()


def test_a_constant_tensor_gets_a_small_spread_around_itself():
    assert of(torch.ones(8)) == (1.0, 2.0**-8)  # 2^-6 / sqrt(16)
    assert of(torch.zeros(8)) == (0.0, 2.0**-8)


def test_a_scalar_and_an_empty_tensor():
    assert of(3.0)[0] == 3.0
    assert of(torch.zeros(0)) == (0.0, 2.0**-8)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_weights_are_refused(bad):
    with pytest.raises(nq.TrunkError, match="NaN or infinite weights: initialize it first"):
        of([1.0, bad])


def test_weights_are_printed_at_the_scale_they_were_initialized_with():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(32, 64), nn.LayerNorm(64), nn.Linear(64, 16))
    quine = nq.Quine(trunk, torch.randn(1, 32), code_size=16, seed=0)
    printed = quine.tensors(quine.printed())
    for name, parameter in trunk.named_parameters():
        if parameter.numel() > 500:
            assert 0.6 < float(printed[name].std() / parameter.detach().std()) < 1.7, name
    assert abs(float(printed["1.weight"].mean()) - 1) < 0.02
