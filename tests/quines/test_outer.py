"""Derivatives by large matrices as sums of outer products: the same as torch's own, however the matrices are used."""

import math

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines import gradients, self_printer
from neuralquine.quines.code_by_code import code_by_code
from neuralquine.quines.gradients import stored_gradient_lengths
from neuralquine.quines.outer import uses_of
from quines.stored_derivatives import assert_alike, assert_left_alone, derivatives

WIDE = 96


class Body(nn.Module):
    """Something done with a matrix of 96 x 96, between two others."""

    def __init__(self, act, shape=(3, WIDE), **parts):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDE, WIDE) / 10)
        self.first, self.last = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, WIDE, bias=False)
        self.act, self.shape = act, shape
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        h = self.first(x).tanh()
        return self.last(self.act(self, h).tanh()).reshape(-1)


def doubled(module, h):
    turned = module.weight.t()
    turned.register_hook(lambda g: 2 * g)
    return h @ turned


def tied(module, h):
    rows = nn.functional.embedding(torch.tensor([3, 40, 3]), module.weight)
    return (h + rows) @ module.weight + nn.functional.linear(h.tanh(), module.weight)


def kept_elsewhere(module, h):
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t.double()):
        return h @ module.weight


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.t(), 2 * x.t() @ g


# What is done, and whether the derivative by the matrix in the middle is found to be a sum of few outer products.
USES = {
    "applied from the right": (lambda m, h: h @ m.weight, True),
    "applied from the left": (lambda m, h: (m.weight @ h.t()).t(), True),
    "a layer": (lambda m, h: nn.functional.linear(h, m.weight), True),
    "a layer with a bias": (lambda m, h: nn.functional.linear(h, m.weight, h[0]), True),
    "scaled": (lambda m, h: torch.addmm(h, h, m.weight, alpha=0.5, beta=3), True),
    "from the left, scaled": (lambda m, h: torch.addmm(h.t(), m.weight, h.t(), alpha=0.25).t(), True),
    "tied": (tied, True),
    "twice": (lambda m, h: (h @ m.weight).tanh() @ m.weight, True),
    "three axes": (lambda m, h: nn.functional.linear(h.view(3, 1, WIDE), m.weight, h[0]).view(3, WIDE), True),
    "padded": (lambda m, h: h + nn.functional.embedding(torch.tensor([1, 0, 5]), m.weight, padding_idx=0), False),
    "penalized": (lambda m, h: h @ m.weight + m.weight.square().sum(), False),
    "squared": (lambda m, h: h @ (m.weight @ m.weight), False),
    "many rows": (lambda m, h: (h.repeat(30, 1) @ m.weight)[:3], False),
    "a hook on the transpose": (doubled, False),
    "a rule of its own": (lambda m, h: Doubled.apply(h, m.weight), False),
    "saved rounded": (kept_elsewhere, True),
}


def with_products(quine, scalars, monkeypatch, found):
    """All derivatives, through outer products or without."""
    with monkeypatch.context() as patch:
        if not found:
            patch.setattr(gradients, "uses_of", lambda answer, weights: {})
        return derivatives(quine, scalars)


def quine_of(trunk, monkeypatch, code_size=8, probe=(3, WIDE), **options):
    monkeypatch.setattr(self_printer, "_IN_PLACE", 0)
    given = torch.randn(probe)
    return nq.Quine(
        trunk, given, code_size=code_size, expansion="hadamard", prints="code", dtype=torch.float64, **options
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", USES)
def test_both_ways_agree_however_a_matrix_is_used(name, seed, monkeypatch):
    torch.manual_seed(100 * seed + 7)
    act, known = USES[name]
    quine = quine_of(Body(act), monkeypatch)
    code = quine.real_code()
    numbers = [n for n, _ in quine.named_weights()]
    uses = uses_of(code, quine.weights)
    assert (numbers.index("weight") in uses) is known
    assert numbers.index("last.weight") in uses
    u = torch.randn(8, dtype=torch.float64)
    scalars = [lambda c: (c * u).sum(), lambda c: c[3]]
    mine, theirs = (with_products(quine, scalars, monkeypatch, found) for found in (True, False))
    assert_alike(mine, theirs)
    assert_left_alone(quine)


@pytest.mark.parametrize("code_size", [5, 16, 40])
def test_the_rows_pulled_back_are_the_jacobian_of_the_map_of_codes(code_size, monkeypatch):
    torch.manual_seed(code_size)
    trunk = nn.Sequential(nn.Linear(WIDE, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 16))
    quine = quine_of(trunk, monkeypatch, code_size)
    code = quine.code().detach()
    quine.install(code)
    expected = torch.autograd.functional.jacobian(lambda c: quine.real_code(quine.printer(c)), code)
    torch.testing.assert_close(code_by_code(quine, quine.printer), expected, rtol=1e-9, atol=1e-11)


def test_a_hook_on_a_weight_is_heard_once_for_each_derivative(monkeypatch):
    quine = quine_of(Body(USES["a layer"][0]), monkeypatch)
    heard = []
    handle = quine.trunk.weight.register_hook(lambda g: heard.append(g.shape) or 3 * g)
    scalars = [lambda c: c[0]]
    number = [n for n, _ in quine.named_weights()].index("weight")
    with_hook = stored_gradient_lengths(quine, scalars)[0][number]
    handle.remove()
    assert heard == [(WIDE, WIDE)]
    assert with_hook == pytest.approx(3 * stored_gradient_lengths(quine, scalars)[0][number], rel=1e-12)


def test_no_derivative_as_large_as_the_weights_is_held(monkeypatch):
    sizes = []
    quine = quine_of(Body(USES["padded"][0]), monkeypatch)
    lengths = gradients.torch.linalg.vector_norm
    monkeypatch.setattr(torch.linalg, "vector_norm", lambda g, **named: sizes.append(g.shape) or lengths(g, **named))
    stored_gradient_lengths(quine, [lambda c: c[0]])
    assert sizes.count((WIDE, WIDE)) == 1  # the padded one; the derivatives by the layers beside it are never written


def test_lengths_of_what_is_no_number(monkeypatch):
    quine = quine_of(Body(USES["a layer"][0]), monkeypatch)
    with torch.no_grad():
        quine.trunk.weight[0, 0] = math.nan
    assert any(math.isnan(length) for length in stored_gradient_lengths(quine, [lambda c: c.sum()])[0])
