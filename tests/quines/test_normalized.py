"""The derivative of a queried matrix with batch normalization, written out, is that of the network."""
# pyright: reportArgumentType=false, reportOptionalMemberAccess=false

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.solving.methods.krylov_lm import relative
from neuralquine.solving.queried_map import QueryMap
from neuralquine.solving.regenerated import damped_starts


@pytest.mark.parametrize("name", ["fletcher-onehot", "fletcher-coords"])
def test_answers_and_products_are_those_of_the_network(name):
    f = QueryMap(nq.recipe(name, seed=4, size=6, normalize=True))
    theta = torch.randn(f.n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    v = torch.randn(f.n, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert f.normalized is not None
    torch.testing.assert_close(f.rough(theta).double(), f(theta[None])[0], rtol=1e-4, atol=1e-5)
    product, _ = f.linearize(theta)
    torch.testing.assert_close(product(v.float()).double(), f.jvp(theta, v), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        lambda trunk: trunk[3].train(),
        lambda trunk: trunk.__setitem__(3, nn.LayerNorm(6, elementwise_affine=False)),
        lambda trunk: trunk.__setitem__(3, nn.BatchNorm1d(6, affine=False)),
        lambda trunk: trunk.__setitem__(4, nn.ReLU(inplace=True)),
    ],
    ids=["as it is", "another normalization", "running statistics", "in place"],
)
def test_only_such_networks_are_written_out(change):
    trunk = nq.recipe("fletcher-onehot", seed=4, size=6, normalize=True).trunk
    change(trunk)
    quine = nq.QueryQuine(trunk, "one-hot", seed=4, print_frozen=False, dtype=torch.float64)
    f, theta = QueryMap(quine), torch.randn(36, dtype=torch.float64)
    torch.testing.assert_close(f.rough(theta).double(), f(theta[None])[0], rtol=1e-3, atol=1e-4)


def test_damped_regeneration_settles_near_a_quine():
    """For five of the first eight projections at this size it does, for the third it moves about for ever."""
    residuals = []
    for seed in (0, 2):
        f = QueryMap(nq.recipe("fletcher-onehot", seed=seed, size=16, normalize=True))
        x = next(damped_starts(f, torch.Generator().manual_seed(seed)))
        residuals.append(relative(x, f(x[None])[0]))
    assert residuals[0] < 2e-3
    assert 0.01 < residuals[1] < 0.2


def test_the_distance_of_the_spectrum_to_1_is_that_of_all_eigenvalues():
    quine = nq.recipe("fletcher-onehot", seed=0, size=26, normalize=True)  # 676 weights: no matrix is written out
    theta = quine.theta
    for _ in range(60):
        theta = torch.lerp(theta, quine.real_map(theta), 0.25)
    derivative = quine.directional(theta)
    assert not derivative.written_out
    matrix = torch.func.jacrev(quine.real_map)(theta)
    eigenvalues = torch.linalg.eigvals(matrix)
    assert derivative.nearest_to_one() == pytest.approx(float((1 - eigenvalues).abs().min()), rel=0.03)
    assert derivative.fixed_direction() is None
