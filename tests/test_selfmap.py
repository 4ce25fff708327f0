"""The maps that solvers see: derivatives, the reduction to the code, rows side by side, and honest counts."""

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.selfmap import FullMap, ReducedMap, SelfMap, code_jacobian, reverse_jacobian


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Branching(nn.Module):
    """Control flow that depends on the data: vmap refuses it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 16)

    def forward(self, x):
        h = self.layer(x)
        return torch.tanh(h) if h.sum() > 0 else torch.sin(h)


def quine_of(name):
    torch.manual_seed(0)
    trunk = {
        "mlp": lambda: nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16)),
        "branching": Branching,
        "lstm": lambda: nn.LSTM(4, 6, proj_size=5),
    }[name]()
    return nq.Quine(trunk, draw(3, 4) if name == "lstm" else draw(1, 4), code_size=8)


NAMES = ("mlp", "branching", "lstm")


def central(f, x, h=1e-6):
    """Jacobian ``(n, n)`` by finite differences of the map itself."""
    columns = []
    for j in range(x.numel()):
        step = torch.zeros_like(x)
        step[j] = h
        columns.append((f((x + step)[None])[0] - f((x - step)[None])[0]) / (2 * h))
    return torch.stack(columns, 1)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_of_the_reduced_map_against_finite_differences(name):
    f = ReducedMap(quine_of(name))
    x = draw(2, 8, seed=1)
    expected = torch.stack([central(f, row) for row in x])
    jacobian = f.jacobian(x)
    assert jacobian.shape == (2, 8, 8)
    assert torch.allclose(jacobian, expected, rtol=1e-5, atol=1e-7)
    v, u = draw(8, seed=2), draw(2, 8, seed=3)
    assert torch.allclose(f.jvp(x[0], v), expected[0] @ v, rtol=1e-5, atol=1e-7)
    assert torch.allclose(f.vjp(x, u), torch.einsum("bij,bi->bj", expected, u), rtol=1e-5, atol=1e-7)


def test_derivatives_of_the_full_map_against_finite_differences():
    torch.manual_seed(0)
    quine = nq.Quine(nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 4)), draw(1, 2), code_size=4)
    f, theta = FullMap(quine), quine.theta
    expected = central(f, theta)
    assert torch.allclose(f.jacobian(theta[None])[0], expected, rtol=1e-5, atol=1e-7)
    v = draw(f.n, seed=2)
    assert torch.allclose(f.jvp(theta, v), expected @ v, rtol=1e-5, atol=1e-7)
    assert torch.allclose(f.vjp(theta[None], v[None])[0], expected.T @ v, rtol=1e-5, atol=1e-7)


def test_both_ways_of_the_reverse_pass_agree(small):
    theta = small.theta[None]
    copied = reverse_jacobian(small.real_codes, theta, 16, replicate=True)
    in_turn = reverse_jacobian(small.real_codes, theta, 16, replicate=False)
    assert torch.allclose(copied, in_turn, rtol=1e-12, atol=1e-14)
    assert torch.equal(copied, code_jacobian(small, theta))


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_a_caller_without_gradients_gets_the_same_derivatives(small, around):
    f = ReducedMap(small)
    x = draw(1, 16)
    expected = f.jacobian(x)
    assert float(expected.norm()) > 0.1
    with around():
        assert torch.equal(f.jacobian(x), expected)


def test_an_operation_without_forward_derivative_is_differentiated_in_reverse():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            return 3 * ctx.saved_tensors[0] ** 2 * grad

    f = SelfMap(Cube.apply, 3)
    x, v = draw(3), draw(3, seed=1)
    assert torch.allclose(f.jvp(x, v), 3 * x**2 * v, rtol=1e-12, atol=0)


def test_a_fixed_point_of_the_reduced_map_is_one_of_the_full_map(solved):
    reduced, full = ReducedMap(solved), FullMap(solved)
    code = solved.code(solved.theta)
    assert float((reduced(code[None])[0] - code).norm()) < 1e-13 * float(code.norm())
    theta = reduced.theta(code)
    assert float((full(theta[None])[0] - theta).norm()) < 1e-13 * float(theta.norm())
    # And the other way round: what is not a fixed point of one is none of the other.
    other = code + 0.1
    assert float((reduced(other[None])[0] - other).norm()) > 0.1
    assert float((full(reduced.theta(other)[None])[0] - reduced.theta(other)).norm()) > 0.01


def test_the_maps_have_the_same_nonzero_eigenvalues(solved):
    code = solved.code(solved.theta)
    small = torch.linalg.eigvals(ReducedMap(solved).jacobian(code[None])[0])
    large = torch.linalg.eigvals(FullMap(solved).jacobian(solved.theta[None])[0])
    large = large[large.abs().argsort(descending=True)]
    assert float(large[20:].abs().max()) < 1e-6
    for value in small[small.abs() > 1e-3]:
        assert float((large[:20] - value).abs().min()) < 1e-8


@pytest.mark.parametrize("name", NAMES)
def test_rows_side_by_side_equal_single_rows(name):
    quine = quine_of(name)
    assert quine.vectorized == (name == "mlp")  # torch has no batching rule for the others
    thetas = quine.theta + 0.1 * draw(5, quine.parameter_count)
    rows = quine.real_codes(thetas)
    for theta, row in zip(thetas, rows, strict=True):
        assert torch.allclose(quine.real_code(theta), row, rtol=0, atol=1e-13)
    assert float((rows[0] - rows[1]).abs().max()) > 1e-3


def test_counts(small):
    f = ReducedMap(small)
    assert (f.n, f.evaluations, f.jvps) == (16, 0, 0)
    f(draw(5, 16))
    assert (f.evaluations, f.jvps) == (5, 0)
    f.jacobian(draw(2, 16))
    assert (f.evaluations, f.jvps) == (5, 32)
    f.jvp(draw(16), draw(16))
    f.vjp(draw(3, 16), draw(3, 16))
    assert (f.evaluations, f.jvps) == (5, 36)


@pytest.mark.parametrize(("points", "named"), [(1, "Jacobian would"), (3, "Jacobian at 3 points would")])
def test_a_jacobian_too_large_is_refused_with_its_bytes_and_a_remedy(points, named):
    f = SelfMap(lambda x: pytest.fail("evaluated"), 20_000)
    gib = points * 20_000**2 * 8 / 2**30
    with pytest.raises(nq.TooLarge, match=f"20000 x 20000 {named} take {gib:.3g} GiB, more than 2 GiB: .*newton-kry"):
        f.jacobian(torch.zeros(points, 20_000, dtype=torch.float64))
    assert f.jvps == 0


def test_a_map_must_keep_the_shape():
    with pytest.raises(ValueError, match=r"keep the shape: \(2, 3\) became \(2, 2\)"):
        SelfMap(lambda x: x[:, 1:], 3)(torch.zeros(2, 3))


def test_a_constant_map_has_derivative_zero():
    f = SelfMap(lambda x: torch.ones_like(x), 3)
    x = draw(2, 3)
    assert float(f.jacobian(x).abs().max()) == 0.0
    assert float(f.vjp(x, x).abs().max()) == 0.0
    assert float(f.jvp(x[0], x[0]).abs().max()) == 0.0


def test_collapse_is_measured_from_the_mean_that_is_printed():
    torch.manual_seed(0)
    quine = nq.Quine(nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.Linear(16, 16)), draw(1, 4), code_size=16)
    full, reduced = FullMap(quine), ReducedMap(quine)
    codes = torch.stack([torch.zeros(16), torch.full((16,), 1e-5), torch.ones(16)]).double()
    assert reduced.collapsed(codes).tolist() == [True, True, False]
    assert full.collapsed(quine.expand(codes)).tolist() == [True, True, False]
    assert float(quine.expand(codes)[0].abs().max()) > 0.5  # LayerNorm weights are printed around 1
