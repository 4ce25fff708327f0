"""Activations on a grid: what is rounded, what is not, and that folders, cards and solvers know of it."""

import json

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.networks.stepped import on_grid


def network(seed=0, **options):
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Linear(5, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 12))
    return nq.Quine(trunk, torch.randn(1, 5), code_size=12, **options)


def test_rounding_gives_the_nearest_multiples_and_the_slope_of_the_identity():
    x = torch.linspace(-3, 3, 1001, dtype=torch.float64, requires_grad=True)
    y = on_grid(x, 3)
    assert torch.equal(y, torch.round(x * 8) / 8)
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_linear_maps_and_normalizations_are_rounded_and_nothing_else():
    quine, seen = network(activation_bits=6), {}
    for name, part in quine.trunk.named_children():
        part.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, i[0]))
    quine.code()
    assert all(torch.equal(seen[n], torch.round(seen[n] * 64) / 64) for n in ("1", "2"))
    assert not torch.equal(seen["3"], torch.round(seen["3"] * 64) / 64)  # of tanh
    assert torch.equal(quine.features(), torch.round(quine.features() * 64) / 64)
    assert not quine.trunk[1]._forward_hooks or len(quine.trunk[1]._forward_hooks) == 1  # no hook of ours is left


def test_the_inner_parts_of_an_encoder_are_rounded():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    quine = nq.Quine(layer, torch.randn(1, 3, 8), code_size=24, activation_bits=5)
    out = quine.features()
    assert torch.equal(out, torch.round(out * 32) / 32)
    assert not torch.equal(out, nq.Quine(layer, torch.randn(1, 3, 8), code_size=24).features())


def test_the_answer_to_its_user_is_of_the_same_network():
    quine = network(activation_bits=3)
    x = torch.randn(4, 5, dtype=quine.dtype)
    answer = quine.answer(x)
    assert torch.equal(answer, torch.round(answer * 8) / 8)


def test_derivatives_are_those_of_the_smooth_network():
    rough, smooth = network(activation_bits=4), network()
    rough.theta = smooth.theta
    assert torch.equal(rough.code_jacobian(smooth.theta[None]), smooth.code_jacobian(smooth.theta[None]))
    assert torch.equal(rough.real_map(smooth.theta), smooth.real_map(smooth.theta))
    assert not torch.equal(rough.real_code(), smooth.real_code())


def test_a_folder_keeps_the_grid_and_one_without_has_no_such_key(tmp_path):
    for name, options in (("with", {"activation_bits": 7}), ("without", {})):
        quine = network(**options)
        nq.save(quine, tmp_path / name)
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert config.get("activation_bits") == options.get("activation_bits")
        assert ("activation_bits" in config) == bool(options)
        again = nq.load(tmp_path / name)
        assert again.activation_bits == quine.activation_bits
        assert torch.equal(again.code(), quine.code())
        assert ("2^-7" in (tmp_path / name / "README.md").read_text()) == bool(options)


@pytest.mark.parametrize("wrong", [-1, 41, 2.5])
def test_a_grid_out_of_range_is_refused(wrong):
    with pytest.raises(nq.NeuralQuineError, match="activation_bits"):
        network(activation_bits=wrong)


def test_recurrent_layers_and_networks_without_a_linear_map_are_refused():
    with pytest.raises(nq.BadOption, match="steps inside"):
        nq.recipe("rnn", activation_bits=8)
    with pytest.raises(nq.BadOption, match="linear layer"):
        nq.Quine(nn.Sequential(nn.Embedding(5, 8), nn.Flatten()), torch.tensor([[1]]), code_size=8, activation_bits=8)


def test_a_grid_that_hides_the_weights_makes_a_constant():
    trunk = nn.Sequential(nn.Linear(5, 12))
    with torch.no_grad():
        trunk[0].weight.mul_(1e-3), trunk[0].bias.mul_(1e-3)
    quine = nq.Quine(trunk, torch.ones(1, 5), code_size=12, skip=0.5, code_bits=6, activation_bits=0)
    nq.solve(quine, exact=True)
    assert "constant" in [str(f).split(":")[0] for f in nq.verify(quine).trivial]


def test_a_free_network_is_solved_around_the_fixed_points_of_the_smooth_one():
    quine = nq.recipe("blog", seed=0, activation_bits=24)
    nq.solve(quine, exact=True)
    assert nq.verify(quine).is_quine
    assert quine.activation_bits == 24
