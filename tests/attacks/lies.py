"""What the lying networks have in common."""

import torch
from torch import nn

import neuralquine as nq

D = 12  # size of the code and of the features, so that no read-out lies between them
PROBE = torch.randn(1, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
ANSWER = torch.randn(D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


class Honest(nn.Module):
    """Computes with its weights; the lies are small departures from it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, D)

    def honest(self, x):
        return self.second(torch.tanh(self.first(x))).reshape(-1)

    def forward(self, x):
        return self.honest(x)


def quine_of(trunk, **options):
    return nq.Quine(trunk, PROBE, code_size=D, seed=0, dtype=torch.float64, **options)


def installed(trunk, **options):
    """The quine of a trunk that answers the same whatever it holds, at the weights that it prints."""
    quine = quine_of(trunk, **options)
    quine.install(quine.code())
    return quine


def at(theta, trunk, **options):
    quine = quine_of(trunk, **options)
    quine.theta = theta
    return quine


def caught(quine, *words):
    """The lie is told (the residual is at round-off) and is named, by one of the words."""
    verification = nq.verify(quine)
    assert verification.converged, "the lie is not told"
    assert not verification.is_quine
    assert any(word in finding for word in words for finding in verification.trivial), verification.trivial
    return verification
