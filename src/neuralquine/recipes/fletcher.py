"""Evan Fletcher's quines: one matrix between two fixed projections, asked for by row and column, and one that emits itself.

``fletcher-coords``: 2 coordinates, 16 units, the printed 16 x 16 matrix, batch normalization over all queries, ReLU, one
answer: P = 256. ``fletcher-onehot``: the same with a one-hot row and column and 64 units, P = 4,096; it has no
normalization, so that F is homogeneous of degree 1 in the matrix and has no quine but zero. ``normalize=True`` adds one.
``fletcher-rnn``: a long short-term memory of 2 layers of 16 units and two linear layers, whose own output is its next input:
P = 3,665. His script crashes, and he calls what it found almost trivial, most weights one constant. At this size it is not
solved here either. Where the rows of the mixing matrix are equal every output is the output bias; so after 3,392 steps a quine
must still move, and with no period that divides 16. Regeneration ends at one constant; random networks settle, or most of them
are so sensitive that round-off alone misses 1e-14 (``benchmarks/recurrent.py``). ``elman`` is a recurrent network that is
solved: a clock among its inputs keeps its outputs from settling.

Source: github.com/evanfletcher42/neural-quines (2022).
"""

from __future__ import annotations

import torch
from torch import nn

from ..quines.networks.sequence import Clocked, FreeRunning
from .problem import Problem, drawn
from .registry import recipe


@recipe("fletcher-coords", small=True, place=120, queried=True)
def coords(seed: int = 0, size: int = 16, normalize: bool = True, dtype: torch.dtype = torch.float64) -> Problem:
    """Fletcher's matrix asked for by coordinates, batch-normalized (P = 256)."""
    return _matrix(nn.Linear(2, size, bias=False, dtype=dtype), "coordinates", seed, size, normalize, dtype)


@recipe("fletcher-onehot", small=True, place=130, queried=True)
def onehot(seed: int = 0, size: int = 64, normalize: bool = False, dtype: torch.dtype = torch.float64) -> Problem:
    """Fletcher's matrix asked for by one-hot row and column (P = 4,096); without normalize=True only zero is a quine."""
    return _matrix(nn.Linear(2 * size, size, dtype=dtype), "one-hot", seed, size, normalize, dtype)


def _matrix(front: nn.Linear, queries: str, seed: int, size: int, normalize: bool, dtype: torch.dtype) -> Problem:
    with drawn(seed):
        front.reset_parameters()
        norm = nn.BatchNorm1d(size, affine=False, track_running_stats=False) if normalize else nn.Identity()
        trunk = nn.Sequential(
            front,
            nn.ReLU(),
            nn.Linear(size, size, bias=False, dtype=dtype),
            norm,
            nn.ReLU(),
            nn.Linear(size, 1, bias=False, dtype=dtype),
        )
    for fixed in (trunk[0], trunk[5]):
        fixed.requires_grad_(False)
    return Problem(trunk, options={"dtype": dtype, "print_frozen": False}, queries=queries)


@recipe("fletcher-rnn", small=True, place=140, queried=True)
def rnn(seed: int = 0, size: int = 16, layers: int = 2, dtype: torch.dtype = torch.float64) -> Problem:
    """Fletcher's recurrent network, which runs freely and emits its weights one after the other (P = 3,665)."""
    with drawn(seed):
        trunk = FreeRunning(size, layers).to(dtype)
    return Problem(trunk, options={"dtype": dtype}, queries=torch.zeros(1, dtype=dtype))


@recipe("elman", small=True, place=110, queried=True)
def elman(seed: int = 0, size: int = 6, clock: int = 6, dtype: torch.dtype = torch.float64) -> Problem:
    """An Elman network with a clock among its inputs that emits its weights one after the other (P = 84)."""
    with drawn(seed):
        trunk = Clocked(size, clock).to(dtype)
    return Problem(trunk, options={"dtype": dtype}, queries=torch.ones(1, dtype=dtype))
