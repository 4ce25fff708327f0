"""The line of generations: what it yields, and what its three ends are called."""

from itertools import islice

import pytest
import torch

import neuralquine as nq
from neuralquine.quines.bits import differing
from neuralquine.quines.lineage import followed, line
from tasks.small import quine


def same(a, b):
    return not bool(differing(a, b).any())


def test_each_generation_is_what_its_parent_prints():
    q = quine()
    struck = nq.damaged(q, "noise:0.4")
    theta = struck
    for child, unchanged in islice(line(q, struck), 4):
        assert same(child, q.self_map(theta))
        assert bool(unchanged) == same(child, theta)
        theta = child
    assert same(theta, q.theta)


def test_installed_it_prints_what_the_network_prints_that_holds_its_parent():
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Linear(4, 320), torch.nn.Tanh(), torch.nn.Linear(320, 320))
    q = nq.Quine(trunk, torch.randn(1, 4), code_size=16, skip=0.1, dtype=torch.float64)  # Hadamard, printed in pieces
    assert q.expansion == "hadamard"
    start = q.theta
    descent = line(q, start, installed=True)
    first, _ = next(descent)
    assert same(q.theta, start)
    assert same(first, q.printed())
    second, _ = next(descent)
    assert same(q.theta, first)
    assert same(second, q.printed())


@pytest.mark.parametrize("bits", [None, 6])
def test_lines_side_by_side_are_the_single_ones(bits):
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16))
    q = nq.Quine(trunk, torch.randn(1, 4), code_size=16, code_bits=bits)
    starts = torch.stack([nq.damaged(q, "zero:0.1", seed) for seed in range(3)])
    beside = list(islice(line(q, starts), 2))
    for i, start in enumerate(starts):
        for (child, unchanged), (children, flags) in zip(line(q, start), beside, strict=False):
            torch.testing.assert_close(children[i], child, rtol=1e-9, atol=1e-12)
            assert bool(flags[i]) == bool(unchanged)


def test_the_three_ends():
    q = quine()
    theta = q.theta

    def original(found):
        return same(found, theta)

    end = followed(q, theta, original, 8)
    assert (end.outcome, end.generations) == ("healed", 0)
    end = followed(q, nq.damaged(q, "noise:0.4"), original, 8)
    assert end.outcome == "healed"
    assert 1 <= end.generations <= 3
    assert same(end.theta, theta)
    code = q.code()
    code[3] *= -1
    end = followed(q, q.expand(code), original, 8)
    assert (end.outcome, end.generations) == ("mutant", 0)
    assert same(end.theta, q.expand(code))


def test_what_has_not_settled_or_is_no_number_is_lost():
    q = nq.recipe("blog", seed=0)  # unsolved: each generation differs from its parent
    end = followed(q, q.theta, lambda _: False, 3)
    assert (end.outcome, end.generations) == ("lost", 3)
    end = followed(q, torch.full_like(q.theta, torch.nan), lambda _: False, 8)
    assert end.outcome == "lost"
    assert end.generations < 8  # NaN prints its own bits for ever, and is no mutant
