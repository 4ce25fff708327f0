"""The eigenvalue nearest to 1 and lines of fixed points, from products alone, against matrices that are written out."""

import math

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.arnoldi import arnoldi, distance_to_one, fixed_direction
from neuralquine.quines.derivatives import DENSE, nothing
from neuralquine.solving.loop import Search
from neuralquine.solving.queried_map import QueryMap
from neuralquine.solving.queried_search import put_aside
from neuralquine.solving.solution import Status
from quines.networks_of_queries import stack

P = 300


def plain(v):
    return v


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def matrix():
    """A matrix that is far from normal: some eigenvalues around 1, the others small."""
    values = torch.zeros(P, dtype=torch.float64)
    values[:6] = torch.tensor([3.0, -2.0, 1.4, 0.8, 0.5, -0.7], dtype=torch.float64)
    basis = torch.eye(P, dtype=torch.float64) + 0.5 * drawn(1, P, P) / P**0.5
    return basis @ torch.diag(values) @ torch.linalg.inv(basis) + 0.05 * drawn(2, P, P) / P**0.5


def test_the_nearest_eigenvalue_is_found(matrix):
    nearest = float((1 - torch.linalg.eigvals(matrix)).abs().min())
    found = distance_to_one(lambda v: matrix @ v, plain, matrix[0])
    assert found == pytest.approx(nearest, rel=0.05)
    assert fixed_direction(lambda v: matrix @ v, plain, matrix[0], nothing=nothing(matrix.dtype)) is None


def test_a_planted_line_is_found_and_has_no_distance(matrix):
    line = drawn(3, P)
    line = line / torch.linalg.vector_norm(line)
    planted = matrix + torch.outer(line - matrix @ line, line)
    found = fixed_direction(lambda v: planted @ v, plain, line, nothing=nothing(line.dtype))
    assert found is not None
    assert float((found @ line).abs()) == pytest.approx(1, abs=1e-6)
    assert not distance_to_one(lambda v: planted @ v, plain, line) > 1e-6  # NaN, or next to nothing


def test_an_almost_fixed_direction_is_none(matrix):
    line = drawn(3, P)
    line = line / torch.linalg.vector_norm(line)
    almost = matrix + torch.outer((1 - 1e-5) * line - matrix @ line, line)
    assert fixed_direction(lambda v: almost @ v, plain, line, nothing=nothing(line.dtype)) is None


def test_what_cannot_be_solved_has_no_figure():
    turn = torch.linalg.qr(drawn(4, 400, 400))[0]  # 300 vectors do not solve 400 eigenvalues around a circle
    assert math.isnan(distance_to_one(lambda v: turn @ v, plain, turn[0]))


def test_an_invariant_subspace_ends_the_process():
    values = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    matrix = torch.block_diag(torch.diag(values), torch.zeros(20, 20, dtype=torch.float64))
    b = torch.zeros(23, dtype=torch.float64)
    b[:3] = 1
    z, h, beta = arnoldi(lambda v: matrix @ v, plain, b, 0.0, 20)
    assert len(z) == 3
    first = torch.zeros(4, 1, dtype=torch.float64)
    first[0] = beta
    torch.testing.assert_close(torch.linalg.lstsq(h, first).solution[:, 0] @ z, b / (1 - matrix.diagonal()))


def test_a_large_stack_says_how_far_its_spectrum_is_from_one():
    quine = stack(25, seed=1)
    assert quine.parameter_count > DENSE
    local = nq.spectrum(quine)
    exact = torch.linalg.eigvals(quine.code_jacobian(quine.theta[None])[0])
    assert local.newton_distance == pytest.approx(float((1 - exact).abs().min()), rel=0.05)
    assert not local.complete


def test_a_line_of_a_large_stack_is_put_aside_and_named(monkeypatch):
    quine = stack(25, act=nn.ReLU)
    quine.inputs = (quine.inputs[0].abs(),)
    quine.theta = torch.full_like(quine.theta, -0.5)  # dead units: the output bias answers, whatever it is
    theta = quine.theta[None]
    search = Search(theta, torch.zeros(1, dtype=theta.dtype), theta, [Status.CONVERGED], 1)
    assert put_aside(QueryMap(quine), search)
    assert search.status == [Status.CONSTANT_QUINE]
    monkeypatch.setattr("neuralquine.checking.dependence._ALONG", 0.0)  # the line runs along the weights themselves
    assert any(trick.startswith("copy") and "takes a direction" in trick for trick in nq.verify(quine).trivial)
