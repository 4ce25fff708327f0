"""Honest networks drawn at random, none of which may be accused: they bend, jump, remember, route, count and are printed in place.

They are anchored, so that regeneration or the grid's own search finds their quine at once; some are not solved, and are
honest all the same.
"""

import random

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines import self_printer


class Gain(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Remembering(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.last = inner, None

    def forward(self, x):
        h = self.inner(x)
        self.last = None if torch._C._functorch.is_functorch_wrapped_tensor(h) else h.detach().clone()
        return h


class Experts(nn.Module):
    def __init__(self, width, factor, hard):
        super().__init__()
        self.gate, self.factor, self.hard = nn.Linear(6, 4), factor, hard
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, width)) for _ in range(4))

    def forward(self, x):
        share = torch.softmax(self.factor * self.gate(x), -1)
        if self.hard:
            best = share.topk(2, -1).indices
            share = share * torch.zeros_like(share).scatter(-1, best, 1.0)
        return sum(share[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))


class Attention(nn.Module):
    def __init__(self, width, factor):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head, self.factor = nn.Linear(8, width), factor

    def forward(self, x):
        q, k, v = (part(x) for part in self.parts)
        return self.head((torch.softmax(self.factor * q @ k.transpose(-1, -2), -1) @ v).mean(-2))


class LastState(nn.Module):
    def __init__(self, kind, width):
        super().__init__()
        self.layer, self.head = kind(3, 8, batch_first=True), nn.Linear(8, width)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


ACTS = (nn.Tanh, nn.GELU, nn.SiLU, nn.Softplus, nn.Mish, nn.ReLU, nn.Sigmoid, nn.Hardtanh, nn.Softsign, Sine)
STEEP = (1, 1, 3, 10, 100, 1000, 1e4, 1e6)
KINDS = {
    "linear": lambda w, a, g: (nn.Sequential(nn.Linear(6, 16), Gain(g), a(), nn.Linear(16, w)), (2, 6)),
    "deep": lambda w, a, g: (
        nn.Sequential(*[m for _ in range(5) for m in (nn.Linear(9, 9), Gain(min(g, 30)), a())], nn.Linear(9, w)),
        (1, 9),
    ),
    "convolution": lambda w, a, g: (
        nn.Sequential(
            *(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), Gain(g), a(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, w))
        ),
        (1, 2, 6, 6),
    ),
    "normalized": lambda w, a, g: (
        nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), Gain(g), a(), nn.GroupNorm(4, 16), nn.Linear(16, w)),
        (1, 6),
    ),
    "attention": lambda w, a, g: (Attention(w, g), (1, 5, 8)),
    "soft experts": lambda w, a, g: (Experts(w, g, hard=False), (2, 6)),
    "hard experts": lambda w, a, g: (Experts(w, g, hard=True), (2, 6)),
    "rnn": lambda w, a, g: (LastState(nn.RNN, w), (1, 6, 3)),
    "lstm": lambda w, a, g: (LastState(nn.LSTM, w), (1, 6, 3)),
    "gru": lambda w, a, g: (LastState(nn.GRU, w), (1, 6, 3)),
    "remembering": lambda w, a, g: (
        Remembering(nn.Sequential(nn.Linear(6, 16), Gain(g), a(), nn.Linear(16, w))),
        (1, 6),
    ),
}


def drawn(seed, in_place):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    kind = rng.choice(sorted(KINDS))
    trunk, shape = KINDS[kind](rng.choice([16, 24, 40]), rng.choice(ACTS), rng.choice(STEEP))
    options = {
        "code_size": rng.choice([8, 12, 16]),
        "dtype": rng.choice([torch.float64, torch.float32]),
        "skip": rng.choice([0.05, 0.1, 0.3]),
        "code_bits": rng.choice([None, None, 1, 8, 12]),
        "expansion": "hadamard" if in_place else rng.choice(["gaussian", "hadamard"]),
    }
    return kind, nq.Quine(trunk, torch.randn(shape), seed=seed, **options)


@pytest.mark.parametrize("seeds", [range(16), pytest.param(range(16, 64), marks=pytest.mark.slow)], ids=["16", "48"])
@pytest.mark.parametrize("in_place", [False, True], ids=["handed in", "in place"])
def test_none_of_the_honest_is_accused(in_place, seeds, monkeypatch):
    if in_place:
        monkeypatch.setattr(self_printer, "_IN_PLACE", 0)
    accused, converged = [], 0
    for seed in seeds:
        kind, quine = drawn(seed + 100 * in_place, in_place)
        assert quine.in_place == in_place
        grid = quine.code_bits is not None
        limits = nq.Stop(max_steps=100, max_evaluations=300)  # a search that finds none says nothing here
        nq.solve(quine, *([] if grid else ["picard"]), exact=grid, throw=False, stop=limits, starts=2)
        found = nq.verify(quine, tries=1)
        converged += found.converged
        if found.trivial:
            accused.append((seed, kind, found.trivial))
    assert accused == []
    assert converged >= 3 * len(seeds) // 4  # most of them are quines, so that this says something


UNEVEN = (3, 4, 8)


def uneven(seed):
    """A network whose tensors differ a milliard-fold in size: a step that is short beside all of it is none for some."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    act = rng.choice([nn.Tanh, nn.GELU, nn.ReLU, nn.Sigmoid])
    trunk = nn.Sequential(nn.Linear(6, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, 24))
    powers = [rng.uniform(-7, 3) for _ in range(4)] + [-6.0, 3.0]
    rng.shuffle(powers)
    options = {"dtype": rng.choice([torch.float64, torch.float32]), "code_bits": 8, "skip": 0.1, "code_size": 16}
    return nq.Quine(trunk, torch.randn(1, 6), seed=seed, scales=([0.0] * 6, [10**p / 4 for p in powers]), **options)


def test_tensors_of_very_different_sizes_are_no_accusation():
    accused, converged = [], 0
    for seed in UNEVEN:
        quine = uneven(seed)
        nq.solve(quine, exact=True, throw=False)
        found = nq.verify(quine, tries=1)
        converged += found.converged
        accused += [(seed, found.trivial)] if found.trivial else []
    assert accused == []
    assert converged >= len(UNEVEN) - 1


# Where a search of 40,000 evaluations ended: a fixed point on a step that rises a hundred thousand times.
STEEP_PHASE = 178_342
STEEP_CODE = [-118, 335, 21.125, -287.625, -99.875, 149.625, 147, -482.375, 333.75, -120.5, -219.125, 341.25]


@pytest.mark.parametrize("in_place", [False, True], ids=["handed in", "in place"])
def test_a_fixed_point_on_a_steep_step_is_no_accusation(in_place, monkeypatch):
    if in_place:
        monkeypatch.setattr(self_printer, "_IN_PLACE", 0)
    kind, quine = drawn(5723976, in_place)
    assert kind == "hard experts"
    if not in_place:
        quine.code_phase = STEEP_PHASE
        quine.install(torch.tensor(STEEP_CODE) / 2**8)
    if in_place or not torch.equal(quine.printed(), quine.theta):  # a machine may round otherwise
        nq.solve(quine, exact=True, throw=False)
    found = nq.verify(quine, tries=1)
    assert found.bit_exact
    assert found.trivial == ()
