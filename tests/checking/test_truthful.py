"""Derivatives that are not those of what a module computes: their figures are not believed, and nobody is accused."""

import dataclasses
import math

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.cli.report import sensitivity

X = torch.linspace(-1, 1, 6)[None]


class Steep(torch.autograd.Function):
    """A hyperbolic tangent whose hand-written derivative is that of something else."""

    @staticmethod
    def forward(ctx, x):
        return x.tanh()

    @staticmethod
    def backward(ctx, grad):
        return 5 * grad


class Sound(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


class Net(nn.Module):
    def __init__(self, bend):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.bend = nn.Linear(6, 12), nn.Linear(12, 16), bend

    def forward(self, x):
        return self.b(self.bend(self.a(x)))


def without_gradient(h):
    with torch.no_grad():
        return h.tanh()


def inferred(h):
    with torch.inference_mode():
        h = h.tanh()
    return h.clone()


def solved(bend):
    quine = nq.Quine(Net(bend), X, code_size=8, seed=0)
    assert nq.solve(quine, throw=False).status is nq.Status.CONVERGED
    return quine


@pytest.mark.parametrize(
    "bend",
    [lambda h: h.tanh() + h.tanh().detach(), Steep.apply, without_gradient, inferred],
    ids=["detached", "hand-written", "no_grad", "inference"],
)
def test_figures_of_a_derivative_that_is_another_maps_are_not_believed(bend):
    found = nq.verify(quine := solved(bend))
    assert found.is_quine
    assert math.isnan(found.self_sensitivity + found.spectral_radius)
    assert found.off > 0.1
    assert "of finite differences" in str(found)
    assert "off by" in str(nq.spectrum(quine))


@pytest.mark.parametrize(
    "bend",
    [torch.tanh, Sound.apply, torch.relu, lambda h: h.float().tanh().to(h.dtype)],
    ids=["tanh", "hand-written", "relu", "single"],
)
def test_those_of_a_true_one_are(bend):
    quine = solved(bend)
    assert nq.spectrum(quine).off == 0.0
    assert nq.verify(quine).self_sensitivity == pytest.approx(nq.spectrum(quine).self_sensitivity)
    assert nq.spectrum(quine, 0 * quine.theta).off == 0.0


def test_a_module_that_prints_what_it_kept_of_a_transform_is_refused_in_one_line():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.kept = Net(torch.tanh), []

        def forward(self, x):
            answer = self.net(x)
            if torch._C._functorch.is_batchedtensor(answer):
                self.kept.append(answer)
            return self.kept[0] + 0 if self.kept else answer

    with pytest.raises(nq.TrunkError, match="keeps of an earlier run") as caught:
        nq.solve(nq.Quine(Keeps(), X, code_size=8, seed=0), throw=False)
    assert "\n" not in str(caught.value)


def test_a_report_says_why_a_sensitivity_is_not_known(solved):
    told = sensitivity(dataclasses.replace(solved.solution, self_sensitivity=math.nan))
    assert "not that of what it computes" in told
    assert "not" not in sensitivity(solved.solution)
