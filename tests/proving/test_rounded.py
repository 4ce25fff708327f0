"""Activations on a grid: every evaluation rounds to the same numbers, and no altered network or certificate passes.

``PYTHONPATH=src:tests python tests/proving/test_rounded.py`` makes the attacks in full.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.keeping.onnx.check import checked
from neuralquine.proving.certificate import NotProved
from neuralquine.proving.checker import check
from neuralquine.proving.checker.held import Machine
from neuralquine.proving.checker.numbers import Bounded
from neuralquine.proving.checker.rounded import Rounded
from neuralquine.proving.constructed import certify, portability
from neuralquine.proving.enclosed import coded, stored
from neuralquine.proving.network import Network
from neuralquine.proving.rules import NoRule
from neuralquine.proving.tubes.margins import rounding_margin
from neuralquine.quines.networks.causal import CausalTransformer
from proving.test_certificate import forge
from proving.test_tape import attack_certificates, attack_networks

RECIPES = {"blog": (24, {}), "transformer": (12, {"skip": 0.1, "code_bits": 4}), "cnn": (12, {"skip": 0.1})}


def made(name, folder):
    bits, options = RECIPES[name]
    quine = nq.recipe(name, seed=0, activation_bits=bits, **options)
    nq.solve(quine, exact=True)
    nq.save(quine, folder)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return made("cnn", tmp_path_factory.mktemp("rounded") / "q")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_with_rounded_activations_is_proved(name, tmp_path):
    folder = made(name, tmp_path / "q")
    certificate = certify(folder)
    assert check(folder / "certificate.json") == certificate
    assert set(certificate["machines"]) == {"float64"}
    assert portability(folder).proved
    quine, found = nq.load(folder), Rounded(folder)
    code = found.code(Machine.of("float64", found.grid))
    with torch.no_grad():
        answers = quine.real_code().numpy()
    assert (np.abs(code.value[0] - answers) <= code.reach[0]).all()
    assert code.reach.max() < 1e-11
    file = nq.export(folder, tmp_path / "self.onnx")
    assert ort.InferenceSession(file).run(["is_quine"], {})[0]
    assert checked(file).is_quine


def test_depth_does_not_widen_the_bound(tmp_path):
    torch.manual_seed(0)
    radii = []
    for layers in (1, 12):
        trunk = CausalTransformer(32, 16, layers, 2)
        quine = nq.Quine(trunk, torch.tensor([[3, 10, 3]]), code_size=16, activation_bits=12, code_bits=6, skip=0.05)
        nq.save(quine, tmp_path / str(layers))
        found = Rounded(tmp_path / str(layers))
        radii.append(found.code(Machine.of("float64", 12)).reach.max())
        assert np.array_equal(found.margin(Machine.of("float64", 12))[0], (quine.code() * 64).detach().numpy())
    assert radii[1] < 2 * radii[0]
    with pytest.raises(NotProved):  # without a grid nothing is known of twelve layers
        found.code(Machine.of("float64"))


def test_random_networks_are_read_as_torch_runs_them(tmp_path):
    """The bound of each holds torch's code: a rounding that a rule forgets, or makes too many, is off by a step of the grid."""
    encoder = {"nhead": 2, "dim_feedforward": 12, "batch_first": True, "dropout": 0.0}
    trunks = [
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten()), (1, 2, 6, 5)),
        (nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 9)), (1, 2, 6)),
        (nn.TransformerEncoderLayer(8, activation="gelu", **encoder), (1, 3, 8)),
        (nn.TransformerEncoderLayer(8, norm_first=True, **encoder), (1, 3, 8)),
        (nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8), nn.Softmax(-1)), (2, 5)),
    ]
    for number, (trunk, shape) in enumerate(trunks):
        torch.manual_seed(number)
        for parameter in trunk.parameters():
            nn.init.normal_(parameter)
        quine = nq.Quine(trunk, torch.randn(*shape), code_size=8, activation_bits=5, code_bits=4)
        nq.save(quine, tmp_path / str(number))
        code = Rounded(tmp_path / str(number)).code(Machine.of("float64", 5))
        with torch.no_grad():
            assert (np.abs(code.value[0] - quine.real_code().numpy()) <= code.reach[0]).all()
        assert code.reach.max() < 1e-11


def test_a_value_between_two_multiples_may_be_either():
    machine = Machine.of("float64", 2)
    values, radius = np.array([0.125, 0.124, 0.374999, 0.5, -0.1249]), np.array([1e-9, 1e-9, 1e-3, 0.0, 1e-3])
    rounded = Bounded(values, radius, machine).to_grid()
    assert rounded.value.tolist() == [0.0, 0.0, 0.25, 0.5, -0.0]
    assert rounded.reach.tolist() == [0.25, 0.0, 0.25, 0.0, 0.25]
    assert (
        Bounded(values, None, machine).to_grid().radius is None
    )  # of exact numbers all machines have the same, ties too


def test_a_value_that_machines_round_either_way_proves_nothing(kept, tmp_path, monkeypatch):
    """As if round-off were a million times larger."""
    monkeypatch.setattr(Machine, "share", lambda self, units: 1e-6 * units)
    with pytest.raises(NotProved):
        certify(kept, witness=None)


def test_the_grid_is_part_of_what_is_proved(kept, tmp_path):
    def other(_, config):
        config["activation_bits"] -= 4

    with pytest.raises(NotProved):
        certify(forge(kept, tmp_path / "q", other), witness=None)

    def none(_, config):
        del config["activation_bits"]

    certify(kept)
    with pytest.raises(NoRule):
        check(kept / "certificate.json", forge(kept, tmp_path / "none", none), witness=None)


def test_balls_and_tubes_do_not_prove_a_network_that_they_do_not_round(kept):
    network = Network(kept)
    with pytest.raises(NoRule, match="on a grid"):
        coded(network, stored(network))
    with pytest.raises(NoRule, match="on a grid"):
        rounding_margin(network, [0] * network.d, "float64")
    with pytest.raises(NoRule, match="on a grid"):
        nq.digits(kept, 5)


def test_altered_certificates_and_networks_are_refused(kept):
    assert attack_certificates(kept, 60) == 0
    assert attack_networks(kept, 10) == 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        there = made("blog", Path(home) / "q")
        print(f"{attack_certificates(there, 1000)} of 1000 altered certificates accepted,", end=" ")
        print(f"{attack_networks(there, 100)} of 100 networks one bit away accepted")
