"""Every rule against torch: the enclosure holds torch's result, tightly, with its derivative, in every model."""

import numpy as np
import pytest
import torch
from flint import arb, ctx
from torch import nn

import neuralquine as nq
from modules import cases
from neuralquine.proving.balls import Ball, Rounding, objects
from neuralquine.proving.network import Network
from neuralquine.proving.normalization import normalize
from neuralquine.proving.rules import RULES, NoRule
from neuralquine.solving.maps import ReducedMap


def kept(name, folder, dtype=torch.float64):
    torch.manual_seed(0)
    trunk, probe = cases()[name]
    quine = nq.Quine(trunk, probe, code_size=8, seed=0, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    code = torch.randn(8, generator=generator, dtype=torch.float64).to(dtype)
    quine.theta = quine.expand(code)
    nq.save(quine, folder)
    return quine, code


def contains(balls, numbers):
    return all(ball.contains(float(x)) for ball, x in zip(balls.flat, numbers.reshape(-1).tolist(), strict=True))


@pytest.mark.parametrize("name", cases())
def test_the_exact_value_agrees_with_torch_to_round_off(name, tmp_path):
    quine, _ = kept(name, tmp_path / "q")
    ctx.prec = 128
    network = Network(tmp_path / "q")
    exact = np.array([float(v.mid()) for v in network.code(network.stored()).value])
    assert np.abs(exact - quine.code(quine.theta).numpy()).max() < 1e-12
    assert max(float(v.rad()) for v in network.code(network.stored()).value) < 1e-29


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_rounding_model_contains_what_torch_computes(name, dtype, tmp_path):
    quine, _ = kept(name, tmp_path / "q", dtype)
    ctx.prec = 128
    network = Network(tmp_path / "q")
    balls = network.code(network.stored(Rounding.of(network.dtype))).value
    unit = torch.finfo(dtype).eps
    assert contains(balls, quine.code(quine.theta))
    assert max(float(v.rad()) for v in balls) < 1e6 * unit  # and says something


@pytest.mark.parametrize("name", cases())
def test_the_derivative_agrees_with_autograd(name, tmp_path):
    quine, code = kept(name, tmp_path / "q")
    ctx.prec = 128
    network = Network(tmp_path / "q")
    enclosed = network.code(network.expand(Ball(objects(code.numpy()), objects(np.eye(8))))).grad
    middle = np.array([[float(v.mid()) for v in row] for row in enclosed])
    claimed = ReducedMap(quine).jacobian(code[None])[0].numpy()
    assert np.abs(middle - claimed).max() < 1e-10 * max(1.0, np.abs(claimed).max())


@pytest.mark.parametrize("name", cases())
def test_a_box_of_codes_contains_the_image_of_its_points(name, tmp_path):
    quine, code = kept(name, tmp_path / "q")
    ctx.prec = 128
    network = Network(tmp_path / "q")
    radius = 1e-6
    from flint import arb

    box = np.array([arb(float(c), radius) for c in code], dtype=object)
    image = network.code(network.expand(Ball(box))).value
    for corner in range(3):
        generator = torch.Generator().manual_seed(corner)
        signs = torch.sign(torch.randn(8, generator=generator, dtype=torch.float64))
        point = code + 0.99 * radius * signs
        value = quine.code(quine.expand(point)).numpy()
        assert all(
            ball.contains(float(v)) or float((ball - v).abs_lower()) < 1e-12
            for ball, v in zip(image, value, strict=True)
        )


def test_every_rule_has_a_case():
    covered = {name.split()[0] for name in cases()} | {"Flatten", "Dropout", "neuralquine.InstanceNorm"}
    twins = {"BatchNorm1d": "BatchNorm2d", "AdaptiveAvgPool1d": "AdaptiveAvgPool2d"}
    assert {twins.get(rule, rule) for rule in RULES} <= covered


def test_a_module_without_a_rule_is_refused_by_name(tmp_path):
    quine = nq.Quine(nn.Sequential(nn.Linear(5, 8), nn.ELU()), torch.randn(1, 5), code_size=8)
    nq.save(quine, tmp_path / "q")
    network = Network(tmp_path / "q")
    with pytest.raises(NoRule, match="no proof rule for ELU"):
        network.code(network.stored())


def test_a_module_of_ones_own_is_refused_by_name(tmp_path):
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 8)

        def forward(self, x):
            return self.layer(x)

    nq.save(nq.Quine(Mine(), torch.randn(1, 5), code_size=8), tmp_path / "q")
    with pytest.raises(NoRule, match="Mine"):
        Network(tmp_path / "q")


@pytest.mark.parametrize("offset", [0.0, 3.0])
@pytest.mark.parametrize("n", [2, 7, 64])
def test_normalization_of_a_box_holds_every_machine_at_every_point_of_it_and_little_else(n, offset):
    generator = np.random.default_rng(n)
    middle, u = generator.standard_normal(n) + offset, 2.0**-24
    radius = 1e-4 * generator.random(n)
    box = Ball(np.array([arb(m, r) for m, r in zip(middle, radius, strict=True)], dtype=object), None, Rounding(u, 0.0))
    held = normalize(box, 1e-5).value
    reached = np.zeros(n)
    for _ in range(200):
        x = (middle + radius * np.sign(generator.standard_normal(n)) * 0.999).astype(np.float32)
        eps, mean = np.float32(1e-5), x.mean()
        backwards = x[::-1].cumsum(dtype=np.float32)[-1] / np.float32(n)
        two = (x - backwards) / np.sqrt(((x - backwards) ** 2).mean() + eps)
        one = (x - mean) / np.sqrt((x * x).mean() - mean * mean + eps)
        assert contains(held, two)
        assert contains(held, one)
        reached = np.maximum(reached, np.abs(two - np.array([float(v.mid()) for v in held])))
    assert max(float(v.rad()) for v in held) < 8 * reached.max() + 100 * n * u * (1 + offset**2)
