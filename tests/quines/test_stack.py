"""Written-out derivatives against autograd's, the preconditioner against the true inverse, linear starts against F."""

import dataclasses
from itertools import islice

import pytest
import torch
from torch import nn

from neuralquine.quines.measure import relative_residual
from neuralquine.quines.stack import ELEMENTWISE, Linearization, MeanField, layers_of
from neuralquine.solving import linearized as starting
from neuralquine.solving.linearized import (
    Linearized,
    eigenpair,
    fixed_point,
    linear_starts,
    starts_of_slopes,
    variation,
)
from neuralquine.solving.methods.krylov_lm import arnoldi
from quines.networks_of_queries import OneByOne, stack

KINDS = [
    {"layers": 1, "bias": True, "act": nn.Tanh},
    {"layers": 2, "bias": False, "act": nn.SELU, "front": True},
    {"layers": 3, "bias": True, "act": nn.Sigmoid},
    {"layers": 2, "bias": True, "act": nn.GELU, "front": True},
]
NAMES = ["one layer", "paper", "offsets", "gelu"]


@pytest.fixture(params=KINDS, ids=NAMES)
def quine(request):
    return stack(7, **request.param)


def draw(quine, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(quine.parameter_count, generator=generator, dtype=torch.float64)


def test_the_stack_answers_like_the_module(quine):
    theta = quine.theta + 0.1 * draw(quine)
    torch.testing.assert_close(quine.stack.answers(theta), quine.self_map(theta), rtol=1e-13, atol=1e-13)
    rows = torch.tensor([3, 0, 11])
    torch.testing.assert_close(quine.stack.some_answers(theta, rows), quine.self_map(theta)[rows])


def test_products_are_those_of_autograd(quine):
    theta, v, u = quine.theta, draw(quine, 1), draw(quine, 2)
    at = Linearization(quine.stack, theta)
    out, wanted = torch.func.jvp(quine.self_map, (theta,), (v,))
    torch.testing.assert_close(at.jvp(v.float()).double(), wanted, rtol=1e-4, atol=1e-5)
    _, pull = torch.func.vjp(quine.self_map, theta)
    torch.testing.assert_close(at.vjp(u.float()).double(), pull(u)[0], rtol=1e-4, atol=1e-4)
    assert len(out) == len(theta)


@pytest.mark.parametrize("bias", [False, True])
def test_the_mean_field_inverse_is_exact_where_the_activation_is_linear(bias):
    quine = stack(7, layers=2, bias=bias, act=nn.Identity)
    at = Linearization(quine.stack, quine.theta)
    inverse, v = MeanField(at), draw(quine).float()
    there = inverse(v)
    torch.testing.assert_close(there - at.jvp(there), v, rtol=1e-4, atol=1e-3)


def test_the_mean_field_inverse_saves_krylov_vectors():
    quine = stack(20, layers=2, bias=False, act=nn.SELU, front=True)
    start = next(linear_starts(quine.stack, torch.Generator().manual_seed(0)))
    at, r = Linearization(quine.stack, start), (quine.self_map(start) - start).float()
    plain = arnoldi(at.jvp, lambda v: v, r, 0.05, 200)[0]
    helped = arnoldi(at.jvp, MeanField(at), r, 0.05, 200)[0]
    assert len(helped) < 0.75 * len(plain)


@pytest.mark.parametrize("bias", [False, True])
def test_g_is_what_a_linear_network_answers(bias):
    quine = stack(7, layers=2, bias=bias, act=nn.Identity)
    linearized = Linearized(quine.stack)
    v = torch.randn(linearized.n, generator=torch.Generator().manual_seed(0))
    g, jacobian = linearized(v)
    torch.testing.assert_close(quine.stack.expand(g), quine.stack.answers(quine.stack.expand(v)), rtol=1e-4, atol=1e-4)
    slope = (linearized(v + 1e-2 * v)[0] - linearized(v - 1e-2 * v)[0]) / 2e-2
    torch.testing.assert_close(jacobian @ v, slope, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("bias", [False, True])
def test_every_unit_may_have_a_slope_of_its_own(bias):
    """One slope for all of them is the case that is known; of slopes that differ the derivative is compared with differences."""
    quine = stack(7, layers=2, bias=bias, act=nn.LeakyReLU)
    half = Linearized(quine.stack, lambda layer: torch.full((layer.shape[0],), 0.5))
    plain = Linearized(quine.stack, 0.5)
    v = torch.randn(plain.n, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(half(v), plain(v), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    if not bias:
        torch.testing.assert_close(half.answers(v[None])[0], plain(v)[0], rtol=1e-4, atol=1e-5)
    several = Linearized(quine.stack, starting._between(torch.Generator().manual_seed(1)))
    slope = (several(v + 1e-2 * v)[0] - several(v - 1e-2 * v)[0]) / 2e-2
    torch.testing.assert_close(several(v)[1] @ v, slope, rtol=1e-2, atol=1e-2)
    gains = [gain for *_, gain, _ in several.layers[:-1]]
    assert all(isinstance(g, torch.Tensor) and 0.01 <= float(g.min()) < float(g.max()) <= 1 for g in gains)
    assert float((several(v)[0] - plain(v)[0]).norm()) > 1e-3 * float(plain(v)[0].norm())


def test_starts_of_networks_with_a_kink_do_not_end_and_are_all_different():
    quine = stack(5, layers=2, bias=True, act=nn.ReLU)
    starts = list(islice(starts_of_slopes(quine.stack, torch.Generator().manual_seed(0)), 60))
    assert len(starts) == 60
    late = torch.stack(starts[20:])  # after those of the mean slopes
    gaps = torch.cdist(late, late) + torch.eye(len(late)) * 9
    assert float(gaps.min()) > 1e-3
    assert all(variation(theta) > 0.8 for theta in late)


def test_where_no_slopes_lead_to_a_start_they_end(monkeypatch):
    asked = []
    monkeypatch.setattr(starting, "fixed_point", lambda *_: asked.append(1))
    assert list(starts_of_slopes(stack(5, act=nn.ReLU).stack, torch.Generator().manual_seed(0))) == []
    assert len(asked) < 200


@pytest.mark.parametrize(("bias", "layers"), [(False, 2), (False, 3), (True, 1), (True, 2)])
def test_starts_are_quines_of_the_linear_network(bias, layers):
    quine = stack(9, layers=layers, bias=bias, act=nn.Identity)
    starts = list(islice(linear_starts(quine.stack, torch.Generator().manual_seed(0)), 2))
    assert len(starts) == 2
    for theta in starts:
        assert relative_residual(quine.self_map(theta), theta) < 1e-3
        assert variation(theta) > 0.8
    gaps = [float(torch.linalg.vector_norm(a - b)) for i, a in enumerate(starts) for b in starts[:i]]
    assert min(gaps) > 1e-2


def test_an_eigenpair_is_one():
    linearized = Linearized(stack(9, layers=2, bias=False, act=nn.SELU).stack)
    generator = torch.Generator().manual_seed(1)
    pairs = [eigenpair(linearized, torch.randn(linearized.n, generator=generator)) for _ in range(12)]
    found = [pair for pair in pairs if pair is not None]
    assert found
    for v, eigenvalue in found:
        assert eigenvalue > 0
        torch.testing.assert_close(linearized(v)[0], eigenvalue * v, rtol=1e-2, atol=1e-3 * eigenvalue)


def test_a_linear_fixed_point_is_one():
    linearized = Linearized(stack(9, layers=2, bias=True, act=nn.Tanh).stack)
    generator = torch.Generator().manual_seed(1)
    pairs = [fixed_point(linearized, torch.randn(linearized.n, generator=generator)) for _ in range(12)]
    found = [pair[0] for pair in pairs if pair is not None]
    assert found
    for v in found:
        assert float(torch.linalg.vector_norm(linearized(v)[0] - v) / torch.linalg.vector_norm(v)) < 1e-3
        assert float(torch.linalg.vector_norm(v)) > 0


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_every_listed_activation_works_number_by_number(kind):
    activation, z = kind(), torch.linspace(-3, 3, 24).reshape(4, 6)
    torch.testing.assert_close(activation(z), torch.stack([activation(x) for x in z.reshape(-1)]).reshape(4, 6))


@pytest.mark.parametrize(
    "trunk",
    [
        OneByOne(),
        nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)),
        nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1), nn.Linear(4, 1)),
        nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1), nn.Tanh()),
        nn.Sequential(nn.Tanh()),
    ],
)
def test_what_is_no_plain_stack_is_left_to_autograd(trunk):
    assert layers_of(trunk, list(trunk.parameters())) is None


def test_a_frozen_layer_makes_no_plain_stack():
    trunk = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Tanh(), nn.Linear(4, 1))
    assert layers_of(trunk, [p for p in trunk.parameters() if p.requires_grad]) is None


def test_of_wide_stacks_the_best_starts_of_many_come_first(monkeypatch):
    drawn, sizes = [], iter(range(1, 1000))
    monkeypatch.setattr(starting, "annealed", lambda twin, v, late, how: drawn.append(len(v)) or v)
    monkeypatch.setattr(starting, "_another", lambda twin, v, seen, steps: [(1 / next(sizes), v)])
    monkeypatch.setattr(starting, "_MANY", 4)
    monkeypatch.setattr(starting, "_WIDE", dataclasses.replace(starting._WIDE, more=5, best=3))
    starts = linear_starts(stack(9, bias=False).stack, torch.Generator().manual_seed(0), batch=4)
    for _ in range(3):
        next(starts)
    assert drawn == [20]
    assert next(sizes) == 11  # the better half of them is polished
    next(starts)
    assert drawn == [20, 20]
