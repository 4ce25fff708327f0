# type: ignore
"""Proofs about modules that print themselves: those of torch's layers whose last one is linear and not printed."""

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.proving.certificate import NotProved, certify, check
from neuralquine.proving.digits import digits
from neuralquine.proving.network import Network
from neuralquine.proving.rules import NoRule


def printing(bias=False, rows=1, width=12, seed=0):
    """A network of torch's layers that prints its weights through a matrix that is not one of them."""
    torch.manual_seed(seed)
    body = [
        nn.Linear(4, width),
        nn.Tanh(),
        nn.LayerNorm(width, elementwise_affine=False),
        nn.Linear(width, width),
        nn.Tanh(),
    ]
    count = sum(p.numel() for part in body for p in part.parameters())
    assert count % rows == 0
    last = nn.Linear(width, count // rows, bias=bias)
    for parameter in last.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
        parameter.requires_grad_(False)
    return nn.Sequential(*body, last), torch.randn(rows, 4)


@pytest.fixture(scope="module", params=[False, True], ids=["matrix", "matrix and offset"])
def folder(request, tmp_path_factory):
    """A solved one, kept."""
    trunk, probe = printing(request.param)
    quine = nq.Quine(trunk, probe, print_frozen=False)
    assert quine.kind == "itself"
    assert nq.solve(quine).converged
    place = tmp_path_factory.mktemp("own") / "q"
    nq.save(quine, place)
    return place


def test_a_quine_is_proved_to_exist_at_the_weights(folder):
    certificate = certify(folder)
    assert check(folder / "certificate.json") == certificate
    assert (certificate["parameters"], certificate["code_size"]) == (216, 12)
    assert certificate["theta_radius"] < 1e-11
    exact = np.array([float(text) for text in digits(folder, 20)])
    assert np.abs(exact - Network(folder).theta).max() <= certificate["theta_radius"]


def test_the_real_quine_is_the_modules_own_to_more_digits_than_it_has(folder):
    quine = nq.load(folder)
    exact = torch.tensor([float(text) for text in digits(folder, 17)], dtype=torch.float64)
    with torch.no_grad():
        printed = quine.self_map(exact)
    assert (printed - exact).norm() < 1e-14 * exact.norm()


def test_weights_beside_a_quine_are_not_proved(folder, tmp_path):
    quine = nq.load(folder)
    quine.theta = quine.theta * 1.001
    nq.save(quine, tmp_path / "q")
    with pytest.raises(NotProved):
        certify(tmp_path / "q", witness=None)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: printing(rows=5, width=4, seed=1), "in several rows"),
        (lambda: (nn.Sequential(printing()[0]), printing()[1]), "ends in a Linear"),
    ],
)
def test_others_are_refused_with_the_reason(made, reason, tmp_path):
    trunk, probe = made()
    nq.save(nq.Quine(trunk, probe, print_frozen=False, prints="itself"), tmp_path / "q")
    with pytest.raises(NoRule, match=reason):
        certify(tmp_path / "q", witness=None)
