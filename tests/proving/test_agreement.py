"""No false theorem: whatever torch computes of a layer, at any rank, its rule computes too, or it refuses by name.

The modules, sizes and arguments are drawn at random for every entry of the table of rules; a rule without a generator fails.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from agreement import EDGES, GENERATORS, RANKS, asked, true_agreement
from neuralquine.proving.certificate import NotProved, certify
from neuralquine.proving.enclosed import coded, stored
from neuralquine.proving.network import Network
from neuralquine.proving.portable import portability
from neuralquine.proving.rules import RULES, NoRule
from neuralquine.quines.networks.normalize import InstanceNorm
from proving import mutants

DRAWS = 10  # at each rank, of which there are six; as many again are drawn by the full set


def test_every_rule_has_a_generator():
    assert {name for name in RULES if not name.startswith("transformers.")} == set(
        GENERATORS
    )  # whole models: test_gpt2.py, test_models.py


@pytest.mark.parametrize("first", [0, pytest.param(DRAWS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_rule_agrees_with_torch_at_every_rank_or_refuses(name, first):
    verdicts = [true_agreement(name, rank, seed) for rank in RANKS for seed in range(first, first + DRAWS)]
    differing = [v for v in verdicts if v not in ("equal", "refused", "both")]
    assert not differing, "\n".join(differing[:5])
    assert Counter(verdicts)["equal"] >= 4  # the rule is not right only because it refuses


@pytest.mark.parametrize("name", EDGES)
def test_a_rule_agrees_with_torch_where_it_could_go_wrong_unseen(name):
    verdicts = [true_agreement(name, len(shape), ~place) for place, (_, shape) in enumerate(EDGES[name])]
    assert set(verdicts) <= {"equal", "refused", "both"}


UNBATCHED = {
    "1d pooling": (nn.Sequential(nn.Linear(4, 8), nn.AdaptiveAvgPool1d(1)), (12, 4)),
    "2d pooling": (nn.Sequential(nn.Linear(4, 8), nn.AdaptiveAvgPool2d(1)), (12, 2, 4)),
    "Conv2d, flattened": (nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(1), InstanceNorm()), (2, 4, 4)),
    "Conv2d, softmax": (nn.Sequential(nn.Conv2d(2, 3, 2), nn.Softmax(-1)), (2, 4, 4)),
    "Conv2d, softmax of the last of three axes": (nn.Sequential(nn.Conv2d(2, 3, 2), nn.Softmax(2)), (2, 4, 4)),
    "Conv1d, flattened": (nn.Sequential(nn.Conv1d(2, 3, 2), nn.Flatten(1), InstanceNorm()), (2, 4)),
}


@pytest.mark.parametrize("kind", UNBATCHED)
def test_without_a_batch_axis_the_network_of_torch_is_proved_and_no_other(kind, tmp_path):
    torch.manual_seed(0)
    trunk, shape = UNBATCHED[kind]
    probe = torch.randn(shape, dtype=torch.float64)
    quine = nq.Quine(trunk, probe, code_size=8, seed=0, prints="code")
    nq.save(quine, tmp_path / "q")
    network = Network(tmp_path / "q")
    computed = [float(v.mid()) for v in coded(network, stored(network)).value]
    assert np.abs(np.array(computed) - quine.real_code().detach().numpy().reshape(-1)).max() < 1e-12


def test_the_weights_of_another_network_prove_nothing(tmp_path):
    torch.manual_seed(0)
    probe = torch.randn(12, 4)
    linear = nq.Quine(nn.Sequential(nn.Linear(4, 8)), probe, code_size=12)
    nq.solve(linear, exact=True)
    trunk = nn.Sequential(nn.Linear(4, 8), nn.AdaptiveAvgPool1d(1))
    scales = (linear.means, linear.gains)
    grid = {"code_bits": linear.code_bits, "code_phase": linear.code_phase}
    pooled = nq.Quine(trunk, probe, code_size=12, scales=scales, **grid)
    pooled.theta = linear.theta
    nq.save(pooled, tmp_path / "q")
    with pytest.raises(NotProved):
        certify(tmp_path / "q")
    assert not portability(tmp_path / "q").proved
    with pytest.raises(nq.NeuralQuineError, match="is no quine: evaluated"):
        nq.export(tmp_path / "q", tmp_path / "self.onnx")


def test_what_torch_does_not_run_has_no_rule():
    """A tuple in the middle of a sequence, and an embedding of floats."""
    for trunk, x in (
        (nn.Sequential(nn.GRU(3, 3), nn.Linear(3, 3)), torch.ones(2, 3)),
        (nn.Embedding(3, 2), torch.ones(2)),
    ):
        assert asked(trunk, x) is None
        with pytest.raises(NoRule):
            _run(trunk, x)


def _run(trunk, x):
    from agreement import describe, run
    from neuralquine.proving.balls import Ball

    weights = {name: Ball.exact(t.numpy()) for name, t in trunk.state_dict().items()}
    return run(describe(trunk), Ball.exact(x.numpy()), weights.get, indices=not x.is_floating_point())


# -- faults planted in the rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", mutants.FILES)
def test_a_fault_planted_in_a_rule_is_found(file):
    source = mutants.source_of(file)
    assert not mutants.is_found(file, source, every=3)  # it is not the comparison that says so of whatever is changed
    planted = list(mutants.faults(source))
    assert len(planted) > 10
    for line, said, changed in planted[:: max(1, len(planted) // 3)]:
        assert mutants.is_found(file, changed()), f"line {line}: {said}"
