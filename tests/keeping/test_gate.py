"""A plain evaluation against a proof: should a rule be wrong, nothing is claimed."""

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.keeping.gate import contradiction
from neuralquine.proving.digits import digits
from neuralquine.proving.rules import RULES
from neuralquine.proving.verbs import certify, check, portability
from neuralquine.proving.verdicts import NotProved


def pretend(folder, *, exact):
    """A quine whose trunk is one linear layer, kept as one with a pooling after it: not a quine."""
    torch.manual_seed(0)
    probe = torch.randn(12, 4)
    linear = nq.Quine(nn.Sequential(nn.Linear(4, 8)), probe, code_size=12)
    nq.solve(linear, exact=exact)
    scales, trunk = (linear.means, linear.gains), nn.Sequential(nn.Linear(4, 8), nn.AdaptiveAvgPool1d(1))
    grid = {"code_bits": linear.code_bits, "code_phase": linear.code_phase}
    pooled = nq.Quine(trunk, probe, code_size=12, scales=scales, **grid)
    pooled.theta = linear.theta
    assert not nq.save(pooled, folder).is_quine
    return folder


@pytest.fixture
def wrong(monkeypatch):
    """The rule of pooling as it once was for an input without a batch axis: the identity."""
    monkeypatch.setitem(RULES, "AdaptiveAvgPool1d", lambda x, _, __: x)


@pytest.mark.parametrize("exact", [True, False])
def test_a_wrong_rule_proves_nothing_that_torch_denies(exact, wrong, tmp_path):
    folder = pretend(tmp_path / "q", exact=exact)
    with pytest.raises(NotProved, match="contradicted: a plain evaluation"):
        certify(folder)
    assert not (folder / "certificate.json").exists()
    certify(folder, witness=None)  # as it would without a witness: the test is about something
    with pytest.raises(NotProved, match="contradicted"):
        check(folder / "certificate.json")
    if not exact:
        with pytest.raises(NotProved, match="contradicted"):
            digits(folder, 12)
        return
    assert portability(folder, witness=None).proved
    assert not portability(folder).proved
    with pytest.raises(nq.NeuralQuineError, match="is no quine: evaluated"):
        nq.export(folder, tmp_path / "self.onnx")
    assert not (tmp_path / "self.onnx").exists()


def test_what_does_not_load_contradicts(tmp_path):
    (tmp_path / "q").mkdir()
    assert "does not load" in contradiction(tmp_path / "q")


@pytest.mark.parametrize("exact", [True, False])
def test_a_quine_contradicts_nothing(exact, tmp_path):
    quine = nq.recipe("blog", seed=1)
    nq.solve(quine, exact=exact)
    nq.save(quine, tmp_path / "q")
    assert contradiction(tmp_path / "q") is None
    certificate = certify(tmp_path / "q")
    assert check(tmp_path / "q" / "certificate.json") == certificate
