"""Several derivatives from one backward pass: the same as one by one, and only where torch's own rules are all there is."""

import warnings

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines import batched, gradients, self_printer
from neuralquine.quines.gradients import stored_gradient_lengths
from quines.stored_derivatives import assert_alike, assert_left_alone, derivatives

WIDE = 64


class Tied(nn.Module):
    """A matrix that is looked up, applied and applied again transposed, around something of a test's own."""

    def __init__(self, act):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDE, WIDE) / 8)
        self.first, self.norm, self.act = nn.Linear(WIDE, WIDE), nn.LayerNorm(WIDE), act
        self.attend = nn.MultiheadAttention(WIDE, 4, batch_first=True)

    def forward(self, x):
        h = self.first(x) + nn.functional.embedding(torch.tensor([3, 40, 3]), self.weight)
        h = self.norm(h @ self.weight)[None]
        h = self.act(self.attend(h, h, h, need_weights=False)[0])
        return nn.functional.linear(h, self.weight).reshape(-1)


class Rule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (1 - x.tanh() ** 2)


def hooked(hook):
    """An activation whose derivative passes a hook."""

    def act(h):
        h = h.tanh()
        if h.requires_grad:
            h.register_hook(hook)
        return h

    return act


# What is done in the middle, and whether the graph can be batched.
ACTS = {
    "tanh": (torch.tanh, True),
    "gelu": (nn.functional.gelu, True),
    "softmax": (lambda h: h.softmax(-1).cumsum(-1), True),
    "written in place": (lambda h: (2 * h).mul_(3).tanh_(), True),
    "a hook": (hooked(lambda g: 2 * g), True),
    "a hook that reads a number": (hooked(lambda g: g * (2 if float(g.sum()) > 0 else 3)), False),
    "a hook in NumPy": (hooked(lambda g: torch.from_numpy(2 * g.numpy())), False),
    "a rule of its own": (Rule.apply, False),
}


def quine_of(act, monkeypatch, **options):
    monkeypatch.setattr(self_printer, "_IN_PLACE", 0)
    options = {"code_size": 8, "expansion": "hadamard", "prints": "code", "dtype": torch.float64} | options
    return nq.Quine(Tied(act), torch.randn(3, WIDE), **options)


def batches(monkeypatch, worth):
    """The sizes of the batches that are tried and succeed, 0 for one that is not; from now on."""
    heard, by_torch = [], batched.together

    def counted(code, scalars, wanted):
        found = by_torch(code, scalars, wanted)
        heard.append(0 if found is None else len(scalars))
        return found

    monkeypatch.setattr(gradients, "together", counted)
    monkeypatch.setattr(batched, "_WORTH", worth)
    return heard


@pytest.mark.parametrize(("name", "spare"), [*((name, 1e-6) for name in ACTS), ("tanh", 1.2)])
def test_a_batch_gives_what_single_passes_give(name, spare, monkeypatch):
    torch.manual_seed(len(name))
    act, can = ACTS[name]
    quine = quine_of(act, monkeypatch)
    u = torch.randn(5, 8, dtype=torch.float64)
    scalars = [lambda c, row=row: (c * row).sum() for row in u]
    scalars.append(lambda c: (c * c).sum())
    heard = batches(monkeypatch, 10**12)
    theirs = derivatives(quine, scalars)
    assert heard == []
    heard = batches(monkeypatch, 0)
    monkeypatch.setattr(batched, "_SPARE", spare)
    mine = derivatives(quine, scalars)
    assert heard
    assert all(heard) is can
    assert not can or max(heard) == (8 if spare < 1 else 3)
    assert_alike(mine, theirs)
    assert_left_alone(quine)


def test_a_hook_on_a_weight_is_heard_once_for_each_derivative(monkeypatch):
    quine = quine_of(torch.tanh, monkeypatch)
    batched_sizes, heard = batches(monkeypatch, 0), []
    monkeypatch.setattr(batched, "_SPARE", 1e-6)
    quine.trunk.norm.weight.register_hook(lambda g: heard.append(g.shape))
    stored_gradient_lengths(quine, [lambda c: c[0], lambda c: c[1], lambda c: c[2]])
    assert len(heard) == 3
    assert batched_sizes == []


def test_where_torch_remarks_that_it_does_not_batch_there_is_one_pass_for_each(monkeypatch):
    told = []

    def remark(g):
        told.append(g.shape)
        warnings.warn("There is a performance drop because a batching rule is missing", UserWarning, stacklevel=1)

    quine = quine_of(hooked(remark), monkeypatch)
    heard, filters = batches(monkeypatch, 0), list(warnings.filters)
    monkeypatch.setattr(batched, "_SPARE", 1e-6)
    with pytest.warns(UserWarning, match="performance drop"):
        stored_gradient_lengths(quine, [lambda c, i=i: c[i] for i in range(4)])
    assert heard == [0]
    assert len(told) == 1 + 4
    assert list(warnings.filters) == filters


def test_only_large_networks_are_batched_and_only_as_far_as_memory_is_to_spare():
    weights = [nn.Parameter(torch.empty(40_000, 50_000, device="meta")), nn.Parameter(torch.empty(1000, device="meta"))]
    assert batched.at_a_time(4, weights[1:], {}, [0]) == 1
    assert batched.at_a_time(4, weights, {}, [1]) == 4
    assert batched.at_a_time(4, weights, {}, [0, 1]) == 1
