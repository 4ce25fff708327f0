"""The maps that solvers see: derivatives against finite differences, the reduction, and honest counts."""

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.errors import NeuralQuineError, TooLarge
from neuralquine.quines import gradients
from neuralquine.quines.gradients import each_gradient
from neuralquine.solving import maps
from neuralquine.solving.maps import FullMap, ReducedMap, SelfMap


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def differences(f, x, h=1e-6):
    """The Jacobian of a vector function by central differences."""
    steps = h * torch.eye(len(x), dtype=x.dtype)
    return torch.stack([(f(x + s) - f(x - s)) / (2 * h) for s in steps], 1)


@pytest.fixture(params=["gaussian", "hadamard"])
def quine(request):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 9))
    return nq.Quine(trunk, torch.randn(1, 4), code_size=5, seed=0, expansion=request.param)


@pytest.fixture
def dense():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 9))
    return nq.Quine(trunk, torch.randn(1, 4), code_size=5, seed=0)


# -- derivatives ------------------------------------------------------------------------------------------------------


def test_the_reduced_jacobian_agrees_with_finite_differences(quine):
    f, codes = ReducedMap(quine), draw(2, 5)
    jacobians = f.jacobian(codes)
    assert jacobians.shape == (2, 5, 5)
    for code, jacobian in zip(codes, jacobians, strict=True):
        expected = differences(lambda c: f(c[None])[0], code)
        torch.testing.assert_close(jacobian, expected, rtol=1e-6, atol=1e-8)


def test_the_full_jacobian_agrees_with_finite_differences(dense):
    f, theta = FullMap(dense), dense.theta
    expected = differences(lambda t: f(t[None])[0], theta)
    torch.testing.assert_close(f.jacobian(theta[None])[0], expected, rtol=1e-5, atol=1e-7)


def test_the_code_by_the_weights_agrees_with_finite_differences(quine):
    theta = quine.theta
    expected = differences(quine.real_code, theta)
    torch.testing.assert_close(quine.code_jacobian(theta[None])[0], expected, rtol=1e-6, atol=1e-8)
    u = draw(5)
    pieces = {}
    each_gradient(quine, [lambda c: (c * u).sum()], lambda _, number, piece: pieces.update({number: piece.flatten()}))
    torch.testing.assert_close(
        torch.cat([pieces[number] for number in sorted(pieces)]), u @ expected, rtol=1e-6, atol=1e-8
    )
    assert all(p.requires_grad for p in quine.weights)


def test_products_with_the_jacobian_are_those_of_the_matrix(dense):
    f, codes = ReducedMap(dense), draw(3, 5)
    jacobians, v = f.jacobian(codes), draw(3, 5, seed=1)
    for code, jacobian, row in zip(codes, jacobians, v, strict=True):
        torch.testing.assert_close(f.jvp(code, row), jacobian @ row, rtol=1e-10, atol=1e-12)
    pulled = torch.einsum("bij,bi->bj", jacobians, v)
    torch.testing.assert_close(f.vjp(codes, v), pulled, rtol=1e-10, atol=1e-12)


class NoForward(torch.autograd.Function):
    """``x^3`` with a derivative in reverse mode only."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


class NoSecond(torch.autograd.Function):
    """Reverse mode once, and that product is not differentiable in turn."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * g


def test_without_forward_mode_two_reverse_passes_give_the_same_product():
    f, x, v = SelfMap(NoForward.apply, 4), draw(4), draw(4, seed=1)
    torch.testing.assert_close(f.jvp(x, v), 3 * x**2 * v)


def test_a_map_that_cannot_be_differentiated_so_says_which_methods_can_do_without():
    small = SelfMap(NoSecond.apply, 4)
    v = draw(4)
    torch.testing.assert_close(small.jvp(draw(4), v), 2 * v)  # a reverse pass for each of a few outputs
    f = SelfMap(NoSecond.apply, 300)
    with pytest.raises(NeuralQuineError, match="neither a forward nor a second derivative: use picard or anderson"):
        f.jvp(draw(300), draw(300))


def test_a_constant_map_has_derivative_zero_and_not_an_error():
    f = SelfMap(lambda x: torch.ones(len(x), 3, dtype=x.dtype), 3)
    assert torch.equal(f.jacobian(draw(2, 3)), torch.zeros(2, 3, 3, dtype=torch.float64))
    assert torch.equal(f.vjp(draw(2, 3), draw(2, 3)), torch.zeros(2, 3, dtype=torch.float64))
    assert torch.equal(f.jvp(draw(3), draw(3)), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_without_gradients_get_the_same_derivatives(dense, mode):
    f, codes = ReducedMap(dense), draw(2, 5)
    expected = f.jacobian(codes)
    assert float(expected.abs().max()) > 0
    with mode():
        torch.testing.assert_close(f.jacobian(codes.clone()), expected, rtol=1e-12, atol=1e-14)


def test_both_ways_of_building_a_jacobian_agree(dense, monkeypatch):
    f, codes = ReducedMap(dense), draw(2, 5)
    copied = f.jacobian(codes)
    monkeypatch.setattr(gradients, "REPLICA_BYTES", 0)
    torch.testing.assert_close(f.jacobian(codes), copied, rtol=1e-12, atol=1e-14)
    monkeypatch.setattr(maps, "REPLICA_BYTES", 0)  # row by row, where all rows would take gigabytes
    torch.testing.assert_close(f.jacobian(codes), copied, rtol=1e-12, atol=1e-14)


# -- the reduction ----------------------------------------------------------------------------------------------------


def test_a_fixed_point_of_one_map_is_one_of_the_other(solved):
    reduced, full = ReducedMap(solved), FullMap(solved)
    theta = solved.theta
    code = solved.code(theta)
    torch.testing.assert_close(full(theta[None])[0], theta, rtol=0, atol=1e-14)
    torch.testing.assert_close(reduced(code[None])[0], code, rtol=0, atol=1e-12)
    torch.testing.assert_close(solved.expand(code), theta, rtol=0, atol=1e-14)


def test_the_maps_are_conjugate_everywhere(dense):
    # F(E(c)) = E(g(c)) for every code, not only at quines.
    reduced, full, codes = ReducedMap(dense), FullMap(dense), draw(4, 5)
    torch.testing.assert_close(full(dense.expand(codes)), dense.expand(reduced(codes)), rtol=1e-12, atol=1e-13)


def test_the_nonzero_eigenvalues_agree(dense):
    reduced, full, code = ReducedMap(dense), FullMap(dense), draw(5)
    small = torch.linalg.eigvals(reduced.jacobian(code[None])[0])
    large = torch.linalg.eigvals(full.jacobian(dense.expand(code)[None])[0])
    large = large[large.abs().argsort(descending=True)]
    gaps = (small[:, None] - large[None, :5]).abs().min(1).values
    assert float(gaps.max()) < 1e-10
    assert float(large[5:].abs().max()) < 1e-6  # rank d


def test_installing_a_point_stores_its_weights(quine):
    code = draw(5)
    ReducedMap(quine).install(code)
    torch.testing.assert_close(quine.theta, quine.expand(code), rtol=1e-14, atol=1e-15)
    theta = draw(quine.parameter_count)
    FullMap(quine).install(theta)
    assert torch.equal(quine.theta, theta)


def test_grids_are_left_out_of_the_maps_that_are_solved():
    torch.manual_seed(0)
    quine = nq.Quine(nn.Linear(4, 6), torch.randn(4), code_size=6, code_bits=2)
    code = draw(6)
    answer = ReducedMap(quine)(code[None])[0]
    assert not torch.equal(answer, quine.quantize(answer))
    assert float(ReducedMap(quine).jacobian(code[None]).abs().max()) > 0.01


# -- rows and counts --------------------------------------------------------------------------------------------------


def test_rows_together_are_rows_alone(dense):
    assert dense.vectorized
    for f, x in ((ReducedMap(dense), draw(6, 5)), (FullMap(dense), 0.3 * draw(6, dense.parameter_count))):
        alone = torch.cat([f(row[None]) for row in x])
        torch.testing.assert_close(f(x), alone, rtol=1e-12, atol=1e-13)
        alone = torch.cat([f.jacobian(row[None]) for row in x])
        torch.testing.assert_close(f.jacobian(x), alone, rtol=1e-10, atol=1e-12)


def test_every_evaluation_and_derivative_product_is_counted():
    calls = []
    f = SelfMap(lambda x: calls.append(len(x)) or torch.cos(x), 3)
    f(draw(4, 3))
    f(draw(1, 3))
    assert (f.evaluations, f.jvps) == (5, 0)
    assert sum(calls) == 5
    f.jvp(draw(3), draw(3))
    assert f.jvps == 1
    f.vjp(draw(4, 3), draw(4, 3))
    assert f.jvps == 5
    f.jacobian(draw(2, 3))
    assert f.jvps == 11
    assert f.evaluations == 5


def test_a_map_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match=r"a self-map must keep the shape: \(2, 3\) became \(2, 2\)"):
        SelfMap(lambda x: x[:, :2], 3)(draw(2, 3))


def test_zero_is_told_from_other_points(dense):
    reduced, full = ReducedMap(dense), FullMap(dense)
    codes = torch.stack([torch.zeros(5, dtype=torch.float64), torch.full((5,), 1e-5, dtype=torch.float64), draw(5)])
    assert reduced.collapsed(codes).tolist() == [True, True, False]
    assert full.collapsed(dense.expand(codes)).tolist() == [True, True, False]  # LayerNorm weights are 1 there


# -- memory -----------------------------------------------------------------------------------------------------------


def test_a_large_jacobian_is_refused_with_its_size_before_anything_is_computed():
    def never(x):
        raise AssertionError("the map was evaluated")

    f = SelfMap(never, 20_000)
    with pytest.raises(TooLarge, match=r"the dense 20000 x 20000 Jacobian would take 2\.98 GiB, more than 2 GiB: use"):
        f.jacobian(torch.zeros(1, 20_000, dtype=torch.float64))
    few = SelfMap(never, 5000)
    with pytest.raises(TooLarge, match=r"Jacobian at 12 points would take 2\.24 GiB.*newton-krylov"):
        few.jacobian(torch.zeros(12, 5000, dtype=torch.float64))
    assert f.jvps == few.jvps == 0


def test_full_newton_on_a_network_of_moderate_size_is_refused_too():
    quine = nq.Quine(nn.Linear(150, 150), torch.randn(150))
    with pytest.raises(TooLarge, match=r"22650 x 22650 Jacobian would take 3\.82 GiB"):
        nq.solve(quine, "newton-full")
