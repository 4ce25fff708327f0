"""Healing means every bit of the original, and nothing else is called so."""

import pytest
import torch

import neuralquine as nq
from neuralquine.healing.heal import interval
from neuralquine.quines.bias_tape import BiasTapeQuine
from neuralquine.quines.bits import differing
from neuralquine.tasks.limits import capacity, edge, moments, predicted, votes
from tasks.small import body, quine


def same(a, b):
    return not bool(differing(a, b).any())


@pytest.mark.parametrize(
    "damage",
    ["noise:0.4", "zero:0.6", "flip:1", "words:0.3", "negate:0.1", "bit-errors:0.03", "block:0.1", "neurons:0.05"],
)
def test_it_comes_back_bit_for_bit(damage):
    q = quine(repeats=6)
    theta = q.theta
    h = nq.heal(q, damage, trials=25, seed=hash(damage) % 1000)
    assert h.healed == 25
    assert h.all_healed
    assert max(h.generations) <= 3
    assert same(q.theta, theta)


@pytest.mark.parametrize(
    "damage", ["noise:1", "zero:1", "words:1", "negate:0.7", "bit-errors:0.5", "block:1", "neurons:1"]
)
def test_outside_the_basin_nothing_is_called_healed(damage):
    q = quine()
    h = nq.heal(q, damage, trials=10)
    assert h.healed == 0
    assert h.mutants + h.lost == 10
    assert h.confidence[0] == 0


def test_the_real_tape_does_not_heal():
    q = BiasTapeQuine(body(), (8, 8), 128)
    h = nq.heal(q, "noise:0.3", trials=10)
    assert h.healed == 0


def test_an_ordinary_exact_quine_is_measured_too():
    q = nq.recipe("blog", seed=2)
    nq.solve(q, exact=True)
    h = nq.heal(q, "noise:0.5", trials=5)
    assert h.healed < 5  # a repelling fixed point


def test_what_does_not_print_itself_can_not_heal():
    with pytest.raises(nq.NeuralQuineError, match="bit-exact"):
        nq.heal(nq.recipe("blog", seed=0), trials=1)


def test_accuracy_before_while_damaged_and_after():
    q = quine()
    whole = q.weights[0].detach().clone()
    h = nq.heal(q, "zero:0.6", trials=3, evaluate=lambda q: float((q.weights[0] == whole).float().mean()))
    before, while_damaged, after = h.accuracy
    assert before == after == 1.0
    assert while_damaged < 0.7
    assert h.figures()["accuracy_damaged"] == while_damaged


def test_intervals_are_those_of_clopper_and_pearson():
    low, high = interval(100, 100)
    assert high == 1.0
    assert low == pytest.approx(0.025 ** (1 / 100))
    assert interval(0, 10)[1] == pytest.approx(1 - 0.025 ** (1 / 10))


# -- what counting votes predicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["noise", "zero", "negate", "words"])
def test_the_predicted_edge_is_where_healing_ends(kind):
    q = quine(repeats=2, code_size=512)
    at = edge(q, kind)
    inside, outside = (nq.heal(q, nq.Damage(kind, f), trials=20) for f in (0.75 * at, min(1.0, 1.35 * at)))
    assert inside.healed >= 18
    assert outside.healed <= 4
    assert predicted(q, inside.damage) > 0.9
    assert predicted(q, outside.damage) < 0.2


def test_votes_are_counted():
    q = quine(repeats=3)
    assert 3 < votes(q) <= 3 * 48
    mean, variance = moments(q, nq.Damage("zero", 0.75))
    assert mean == pytest.approx(0.25, abs=0.01)
    assert variance == pytest.approx(0.25 * 0.75, abs=0.01)
    assert predicted(q, "block:0.1") is None


def test_more_votes_carry_more_signs():
    assert capacity(100, 0.5, 0.5) < capacity(120, 0.5, 0.5)
    assert capacity(10, 1.0, 0.0) == float("inf")
    # d wrong with probability 1 % in all: d Q(snr) is about 0.01
    q = torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(-0.5 * (100 / 0.5) ** 0.5, dtype=torch.float64))
    assert capacity(100, 0.5, 0.5) == pytest.approx(0.01 / float(q), rel=0.02)
