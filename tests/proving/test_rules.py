"""Every rule against torch: the enclosure holds torch's result, tightly, with its derivative, in every model."""

import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest
import torch
from flint import arb, ctx
from torch import nn

import neuralquine as nq
from modules import cases
from neuralquine.proving.balls import Ball, Rounding, objects
from neuralquine.proving.certificate import certify
from neuralquine.proving.enclosed import coded, expanded, stored
from neuralquine.proving.network import Network
from neuralquine.proving.rules import RULES, NoRule, common, rule, run
from neuralquine.solving.maps import ReducedMap


def kept(name, folder, dtype=torch.float64):
    torch.manual_seed(0)
    trunk, probe = cases()[name]()
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
    balls = coded(network, stored(network)).value
    exact = np.array([float(v.mid()) for v in balls])
    assert np.abs(exact - quine.code(quine.theta).numpy()).max() < 1e-12
    assert max(float(v.rad()) for v in balls) < 1e-29


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_rounding_model_contains_what_torch_computes(name, dtype, tmp_path):
    quine, _ = kept(name, tmp_path / "q", dtype)
    ctx.prec = 128
    network = Network(tmp_path / "q")
    balls = coded(network, stored(network, Rounding.of(network.dtype))).value
    unit = torch.finfo(dtype).eps
    assert contains(balls, quine.code(quine.theta))
    assert max(float(v.rad()) for v in balls) < 1e6 * unit  # and says something


@pytest.mark.parametrize("name", cases())
def test_the_derivative_agrees_with_autograd(name, tmp_path):
    quine, code = kept(name, tmp_path / "q")
    ctx.prec = 128
    network = Network(tmp_path / "q")
    enclosed = coded(network, expanded(network, Ball(objects(code.numpy()), objects(np.eye(8))))).grad
    middle = np.array([[float(v.mid()) for v in row] for row in enclosed])
    claimed = ReducedMap(quine).jacobian(code[None])[0].numpy()
    within = 1e-7 if name == "Hardsigmoid" else 1e-10  # torch's derivative of it takes 1 / 6 in float32
    assert np.abs(middle - claimed).max() < within * max(1.0, np.abs(claimed).max())


@pytest.mark.parametrize("name", cases())
def test_a_box_of_codes_contains_the_image_of_its_points(name, tmp_path):
    quine, code = kept(name, tmp_path / "q")
    ctx.prec = 128
    network = Network(tmp_path / "q")
    radius = 1e-6
    from flint import arb

    box = np.array([arb(float(c), radius) for c in code], dtype=object)
    image = coded(network, expanded(network, Ball(box))).value
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
    elsewhere = {
        "Flatten",
        "Dropout",
        "neuralquine.InstanceNorm",
        "neuralquine.Clocked",
        "transformers.GPT2LMHeadModel",
    }
    covered = {name.split()[0] for name in cases()} | elsewhere
    twins = {"BatchNorm1d": "BatchNorm2d", "AdaptiveAvgPool1d": "AdaptiveAvgPool2d", "AvgPool1d": "AvgPool2d"}
    rules = {rule for rule in RULES if not rule.startswith("transformers.")}  # whole models: test_models.py
    assert {twins.get(rule, rule) for rule in rules} <= covered


def test_a_module_without_a_rule_is_refused_by_name(tmp_path):
    quine = nq.Quine(nn.Sequential(nn.Linear(5, 8), nn.Softplus()), torch.randn(1, 5), code_size=8)
    nq.save(quine, tmp_path / "q")
    network = Network(tmp_path / "q")
    with pytest.raises(NoRule, match="no proof rule for Softplus"):
        coded(network, stored(network))


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.Unflatten(1, (2, 4)), nn.LPPool1d(2, 2)], r"no proof rule for LPPool1d \(layer 2 of a Sequential\)"),
        ([nn.Sequential(nn.Tanh(), nn.Hardshrink())], r"no proof rule for Hardshrink \(layer 1.1 of a Sequential\)"),
        ([nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))], "ParametrizedLinear"),
        ([(twice := nn.Linear(8, 8)), twice], "a Sequential whose layers do more than their classes say"),
    ],
    ids=["pool", "inside", "parametrized", "shared"],
)
def test_a_layer_that_no_file_describes_is_refused_by_its_own_name_and_place(layers, words, tmp_path):
    quine = nq.Quine(nn.Sequential(nn.Linear(5, 8), *layers), torch.randn(1, 5), code_size=4)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(NoRule, match=words) as caught:
        Network(tmp_path / "q")
    assert "\n" not in str(caught.value)
    with pytest.raises(nq.QuineFileError, match="pass trunk="):
        nq.load(tmp_path / "q")


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
    held = box.normalize(1e-5).value
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


@pytest.fixture
def leaking(monkeypatch):
    """A rule that is entered from outside the package."""
    monkeypatch.setattr(common, "RULES", dict(RULES))

    @rule("RReLU")
    def rrelu(x, arguments, _):
        return x.relu() - (-x).relu().scale((arguments["lower"] + arguments["upper"]) / 2)


def test_a_rule_from_outside_proves_and_writes_a_network(leaking, tmp_path):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(6, 16), nn.RReLU(), nn.Linear(16, 12))
    quine = nq.Quine(trunk, torch.randn(1, 6), code_size=12, seed=0, skip=0.1, code_bits=5)
    nq.solve(quine, exact=True)
    nq.save(quine, tmp_path / "q")
    assert certify(tmp_path / "q")["kind"] == "bit-exact"
    session = ort.InferenceSession(nq.export(tmp_path / "q", tmp_path / "self.onnx"))
    assert bool(session.run(["is_quine"], {})[0])


def test_a_module_keeps_the_rule_it_has():
    with pytest.raises(nq.NeuralQuineError, match="Tanh has a rule already"):
        rule("Tanh")(lambda x, _, __: x)


def test_what_gives_a_tuple_is_followed_by_nothing():
    spec = {"type": "RNN", "arguments": {}}
    with pytest.raises(NoRule, match="Tanh after RNN, which gives a tuple"):
        run({"type": "Sequential", "children": [["a", spec], ["b", {"type": "Tanh", "arguments": {}}]]}, None, None)


def test_proving_imports_neither_torch_nor_onnx():
    code = (
        "import sys, pkgutil, importlib, neuralquine.proving as p\n"
        "for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.'): importlib.import_module(m.name)\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'onnx', 'onnxruntime')]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_batch_norm_holds_whatever_way_a_machine_folds_it():
    generator = np.random.default_rng(0)
    u = 2.0**-24
    for trial in range(200):
        x, mean, variance, weight, bias = generator.standard_normal((5, 1)).astype(np.float32) * 10.0 ** (trial % 4)
        variance = abs(variance)
        balls = [Ball.exact(v, Rounding(u, 0.0)) for v in (x, mean, variance, weight, bias)]
        held = balls[0].batch_norm(*balls[1:], 1e-5).value
        inverse = 1 / np.sqrt(variance + np.float32(1e-5))
        scale = inverse * weight
        assert contains(held, (x - mean) * inverse * weight + bias)
        assert contains(held, (x - mean) * scale + bias)
        assert contains(held, x * scale + (bias - mean * scale))
        assert contains(held, (x - mean) / np.sqrt(variance + np.float32(1e-5)) * weight + bias)
