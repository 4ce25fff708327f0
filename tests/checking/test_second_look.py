"""An accusation needs a second look: what looks like a trick at one place and is none at another is not named."""

import types

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.checking.copies import copied
from neuralquine.checking.second_look import drowned, line_goes_on
from neuralquine.quines.derivatives import Dense


def map_of(function, point):
    """A quine whose weights are its code, with a self-map that is given."""
    printer = types.SimpleNamespace(pull_back=lambda matrix: matrix)

    def at(theta):
        return Dense(torch.autograd.functional.jacobian(function, theta), printer)

    quine = types.SimpleNamespace(
        real_code=lambda theta=None: function(point if theta is None else theta), printer=lambda c: c, directional=at
    )
    return quine, at(point)


@pytest.mark.parametrize("seed", range(4))
def test_an_eigenvalue_of_one_is_a_line_only_where_it_goes_on(seed):
    generator = torch.Generator().manual_seed(seed)
    point = torch.randn(5, generator=generator, dtype=torch.float64)
    mixing = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
    slopes = torch.tensor([1.0, 0.5, -0.3, 0.1, 0.2], dtype=torch.float64)

    def line(c):
        return point + mixing @ (slopes * (mixing.T @ (c - point)))

    def fold(c):
        along = (mixing.T @ (c - point))[0]
        return line(c) + 3 * along**2 * mixing[:, 0]

    assert "is printed again" in line_goes_on(*map_of(line, point))
    assert line_goes_on(*map_of(fold, point)) is None


def test_large_weights_that_are_printed_tensor_by_tensor_hide_nothing():
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 8, bias=False)
    )  # whose size normalization takes away
    quine = nq.Quine(trunk, torch.randn(1, 4), code_size=8, scales=([0.0] * 3, [2.0**-3, 2.0**-3, 2.0**28]))
    nq.solve(quine)
    assert float(quine.theta.abs().max()) > 1e8
    assert drowned(quine) is None
    assert not [t for t in nq.verify(quine).trivial if t.startswith("huge")]
    small = dict(quine.named_weights())["0.weight"]
    with torch.no_grad():
        small[0, 0] += 1e-5  # next to nothing beside the largest weights, and not small in its own tensor
    found = nq.verify(quine)
    assert [t for t in found.trivial if t.startswith("huge") and "'0.weight' is missed by" in t]


def test_a_copy_is_named_only_if_other_codes_come_back_too():
    torch.manual_seed(0)
    quine = nq.Quine(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 8)), torch.randn(1, 4), code_size=8)
    codes = quine.random_codes(3, torch.Generator().manual_seed(1))
    assert copied(quine, codes, codes, quine.real_code()) is None  # as if three had come back by chance
