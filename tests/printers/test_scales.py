"""At which mean and spread each tensor is printed."""

import math

import pytest
import torch
from neuralquine.errors import TrunkError
from neuralquine.printers.scales import initial_scales, uniform_scales
from torch import nn


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def scale_of(tensor, code_size=16):
    (mean,), (gain,) = initial_scales([tensor], code_size)
    return mean, gain


def test_the_post_prints_every_tensor_alike():
    means, gains = uniform_scales([draw(3, 3), draw(3)], 0.25, 20)
    assert means == [0.0, 0.0]
    assert gains == [0.25 / 20] * 2


@pytest.mark.parametrize("spread", [1e-3, 0.3, 1.0, 50.0])
def test_a_centered_tensor_keeps_its_spread_to_a_factor_of_root_two(spread):
    mean, gain = scale_of(spread * draw(40, 40), code_size=20)
    assert mean == 0.0
    assert math.log2(gain) == round(math.log2(gain))
    printed = gain * math.sqrt(20)  # gain * ||c||, and ||c|| = sqrt(d)
    assert spread / 1.5 < printed < spread * 1.5


def test_a_mean_that_stands_out_is_kept_and_one_within_noise_is_not():
    mean, gain = scale_of(1 + 0.1 * draw(1000))
    assert mean == pytest.approx(1, abs=gain)
    assert mean / gain == round(mean / gain)  # on the grid of the gain, so that sums stay short
    values = draw(1000)
    values = values - values.mean()
    assert scale_of(values + 3.9 / math.sqrt(1000))[0] == 0.0
    assert scale_of(values + 4.1 / math.sqrt(1000))[0] != 0.0


def test_tensors_that_start_constant_get_a_small_spread_around_their_value():
    layer = nn.LayerNorm(8)
    means, gains = initial_scales([layer.weight, layer.bias], 16)
    assert means == [1.0, 0.0]
    assert gains == [2.0**-8, 2.0**-8]  # 2^-6 over sqrt(16)
    assert scale_of(torch.tensor(-3.0))[0] == pytest.approx(-3, abs=2**-6)


def test_a_tensor_without_elements_is_no_trouble():
    assert scale_of(torch.zeros(0, 4)) == (0.0, 2.0**-8)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(TrunkError, match="the trunk holds NaN or infinite weights: initialise it first"):
        initial_scales([torch.tensor([1.0, bad])], 16)
