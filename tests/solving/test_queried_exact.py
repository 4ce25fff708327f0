"""What an exact search of a queried quine says where it finds nothing, and of what it found."""

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.solving import queried_exact, queried_search
from neuralquine.solving.loop import Stop
from neuralquine.solving.queried_map import QueryMap


def small(gain=1.0):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1))
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.mul_(gain)
    return nq.QueryQuine(trunk, "projection", seed=0)


def test_a_contraction_that_settles_nowhere_says_how_far_roundings_carry(monkeypatch):
    monkeypatch.setattr(queried_exact, "MET", 0)
    monkeypatch.setattr(queried_exact.Rounded, "_settled", lambda self, theta: None)
    quine = small(0.1)
    rounded = queried_exact.Rounded(QueryMap(quine), 0, lambda: False)
    assert rounded.near(quine.theta) is None
    most = 0.5 * float(quine.directional(quine.theta).reduced().abs().sum(1).max())
    assert (
        f"settled on none of 64 grids: all roundings together move a weight by up to {most:.3g} steps" in rounded.detail
    )


def test_starts_that_came_nowhere_are_said_to(monkeypatch):
    monkeypatch.setattr(
        queried_search,
        "ladder",
        lambda f, stop, generator, exact: iter([(nq.Picard(), f.quine.theta, Stop(max_steps=1))]),
    )
    solution = nq.solve(small(), exact=True, throw=False)
    assert not solution.converged
    assert "1 start tried, none of which came to a fixed point" in solution.detail


@pytest.mark.parametrize("seed", [11])
def test_the_last_iterate_of_an_exact_quine_is_the_rounded_one(seed):
    solution = nq.solve(nq.recipe("elman", seed=seed), exact=True)
    assert solution.bit_exact
    assert solution.last_relative_residual == solution.relative_residual
    assert torch.equal(solution.last_theta, solution.theta)
