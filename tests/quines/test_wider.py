"""Weights of float32 and a trunk that runs in float64: the answers of the module in float64, and the bits that are stored."""

import copy
import json

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.keeping.theorems import portability


class Narrow(nn.Module):
    """It computes in float32 inside, whatever it is given."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 8)

    def forward(self, x):
        return self.layer(x.float().to(x.dtype)).float().to(x.dtype)


def drawn(seed):
    """A trunk and its probe."""
    torch.manual_seed(seed)
    width = 4 + seed % 3
    trunk, shape = [
        (nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 9)), (2, 5)),
        (nn.Sequential(nn.Conv2d(1, width, 2), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten()), (1, 1, 4, 4)),
        (nn.GRU(3, width, num_layers=2, batch_first=True), (1, 3, 3)),
        (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (1, 3, 4)),
        (nn.Sequential(nn.Linear(5, width), nn.RMSNorm(width), nn.Linear(width, 7)), (1, 5)),
    ][seed % 5]
    return trunk, torch.randn(shape)


def made(seed, **options):
    trunk, probe = drawn(seed)
    select = 0 if isinstance(trunk, nn.RNNBase) else None
    return nq.Quine(trunk, probe, code_size=8, dtype=torch.float32, select=select, trunk_dtype=torch.float64, **options)


@pytest.mark.parametrize("seed", range(5))
def test_the_answers_are_those_of_the_module_in_float64(seed):
    quine = made(seed)
    assert (quine.dtype, quine.trunk_dtype, quine.theta.dtype) == (torch.float32, torch.float64, torch.float32)
    wide = nq.Quine(
        copy.deepcopy(quine.trunk).double(), quine.inputs, dtype=torch.float64, code_size=8, select=quine.select
    )
    assert torch.equal(quine.features(), wide.features())
    assert torch.equal(quine.features(quine.theta), wide.features())
    assert torch.equal(quine.code(), wide.code().float())
    rows = wide.code_jacobian(wide.theta[None])[0]
    assert torch.allclose(quine.code_jacobian(quine.theta[None])[0].double(), rows, rtol=1e-4, atol=1e-5)
    assert wide.trunk_dtype is None


def test_a_folder_says_the_type_in_which_the_trunk_runs(tmp_path):
    quine = made(0)
    assert nq.solve(quine, exact=True).bit_exact
    nq.save(quine, tmp_path / "q")
    loaded = nq.load(tmp_path / "q")
    assert loaded.trunk_dtype == torch.float64
    assert nq.verify(loaded).is_quine
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    assert (config["dtype"], config["trunk_dtype"]) == ("float32", "float64")
    verdict = portability(tmp_path / "q")
    assert verdict.proved
    assert "run in float64" in verdict.reason
    for forged in ("float32", "float16", 64, None):
        (tmp_path / "q" / "config.json").write_text(json.dumps(config | {"trunk_dtype": forged}))
        with pytest.raises(nq.QuineFileError, match=r"malformed 'trunk_dtype'|was altered"):
            nq.load(tmp_path / "q")


def test_a_folder_of_one_type_says_nothing_new(tmp_path):
    trunk, probe = drawn(0)
    for dtype, wider in ((torch.float32, None), (torch.float64, torch.float64)):
        quine = nq.Quine(trunk, probe, code_size=8, dtype=dtype, trunk_dtype=wider)
        assert "trunk_dtype" not in quine.settings()
        assert quine.trunk_dtype is None


def test_a_trunk_that_computes_in_float32_inside_does_not_run_in_float64():
    with pytest.raises(nq.TrunkError, match="narrower type inside"):
        nq.Quine(Narrow(), torch.randn(1, 4), code_size=8, dtype=torch.float32, trunk_dtype="float64")
    with pytest.raises(nq.BadOption, match="must be float64"):
        nq.Quine(Narrow(), torch.randn(1, 4), code_size=8, trunk_dtype=torch.bfloat16)


def test_every_recipe_of_a_code_takes_it():
    quine = nq.recipe("rnn", seed=0, dtype="float32", trunk_dtype="float64")
    assert quine.trunk_dtype == torch.float64
    with pytest.raises(nq.BadOption, match="has no trunk_dtype"):
        nq.recipe("fletcher-coords", seed=0, trunk_dtype="float64")
