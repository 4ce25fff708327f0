"""Small queried networks for the tests."""

import torch
from torch import nn

import neuralquine as nq


def stack(size=10, *, layers=1, act=nn.Tanh, bias=True, seed=0, front=False, queries="projection", dtype=torch.float64):
    """Linear layers asked for their weights, drawn from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        modules = [act()] if front else []
        for _ in range(layers):
            modules += [nn.Linear(size, size, bias=bias), act()]
        trunk = nn.Sequential(*modules, nn.Linear(size, 1, bias=bias))
    return nq.QueryQuine(trunk, queries, seed, width=size, dtype=dtype)


class OneByOne(nn.Module):
    """A network that is no plain stack: a gate and a skip connection."""

    def __init__(self, size=6):
        super().__init__()
        self.gate, self.mix, self.out = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.mix(x)) * torch.sigmoid(self.gate(x)) + x)


class Batched(nn.Module):
    """One matrix between fixed projections, normalized over all queries."""

    def __init__(self, size=6):
        super().__init__()
        self.front = nn.Linear(2, size, bias=False).requires_grad_(False)
        self.matrix = nn.Linear(size, size, bias=False)
        self.norm = nn.BatchNorm1d(size, affine=False, track_running_stats=False)
        self.out = nn.Linear(size, 1, bias=False).requires_grad_(False)

    def forward(self, x):
        return self.out(torch.relu(self.norm(self.matrix(torch.relu(self.front(x))))))
