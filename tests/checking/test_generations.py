"""The line of descendants, against the same line written out."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq


class Scaled(nn.Module):
    """``F(theta) = factor * theta`` up to the expansion, for one weight."""

    def __init__(self, factor):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.factor = factor

    def forward(self, z):
        return self.factor * self.weight * z


def scaled(factor):
    quine = nq.Quine(Scaled(factor), torch.ones(1), code_size=1, normalize=False, alpha=1.0, prints="code")
    entry = float(quine.expand.matrix)
    assert entry != 0
    quine.trunk.factor = factor / entry
    assert float(quine.printed()) == pytest.approx(factor)
    return quine


def test_distances_and_residuals_are_those_of_the_line_written_out(solved):
    line = nq.generations(solved, 40)
    thetas = [solved.theta.numpy()]
    for _ in range(40):
        thetas.append(solved.self_map(torch.from_numpy(thetas[-1])).numpy())
    size = np.linalg.norm(thetas[0])
    distances = [np.linalg.norm(t - thetas[0]) / size for t in thetas[1:]]
    residuals = [np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in itertools.pairwise(thetas)]
    assert line.distances == pytest.approx(distances, rel=1e-9)
    assert line.residuals == pytest.approx(residuals, rel=1e-9)
    within = [d <= 1e-2 for d in distances]
    assert line.survived == within.index(False)
    assert 10 < line.survived < 40  # it repels: a real line dies after a while
    assert line.identical == 0


def test_the_stored_weights_stay_as_they_are(solved):
    before = solved.theta
    nq.generations(solved, 5)
    assert torch.equal(solved.theta, before)


def test_a_known_line():
    line = nq.generations(scaled(1.1), 5, tolerance=0.25)
    assert line.distances == pytest.approx([0.1, 0.21, 0.331, 0.4641, 0.61051])
    assert line.residuals == pytest.approx([0.1] * 5)
    assert (line.survived, line.identical, line.tolerance) == (2, 0, 0.25)
    assert nq.generations(scaled(1.1), 5, tolerance=0.7).survived == 5


def test_a_line_that_comes_back_has_died_all_the_same():
    line = nq.generations(scaled(-1.0), 6)
    assert line.distances == pytest.approx([2, 0, 2, 0, 2, 0], abs=1e-12)
    assert line.survived == 0


def test_identical_counts_bits_and_only_from_the_first_generation_on():
    exact = scaled(1.0)
    exact.theta = exact.printed()
    line = nq.generations(exact, 7)
    assert (line.identical, line.survived) == (7, 7)
    flipped = nq.generations(scaled(-1.0), 6)
    assert flipped.identical == 0


def test_nan_counts_as_dead():
    quine = scaled(1.0)
    quine.trunk.factor = math.nan
    line = nq.generations(quine, 3)
    assert line.survived == line.identical == 0
    assert all(math.isnan(d) for d in line.distances)


@pytest.mark.parametrize("n", [0, -1])
def test_at_least_one_generation_is_asked_for(small, n):
    with pytest.raises(ValueError, match="n must be at least 1"):
        nq.generations(small, n)


def test_nothing_more_is_printed_once_a_child_is_its_parent_bit_for_bit(monkeypatch):
    quine = nq.recipe("blog", seed=2)
    nq.solve(quine, exact=True)
    printed = []
    self_map = type(quine).self_map
    monkeypatch.setattr(type(quine), "self_map", lambda *args: printed.append(1) or self_map(*args))
    line = nq.generations(quine, 100)
    assert (line.survived, line.identical, len(line.distances), set(line.distances)) == (100, 100, 100, {0.0})
    assert len(printed) < 5
