"""The network of the blog post: ``Linear 8-20, 20-20, 20-20``, tanh, a fixed projection to its 1,020 weights.

``F(theta) = alpha * proj^T N(tanh(l3(...)))`` with ``proj`` a Gaussian ``(20, P)`` matrix over 20, ``alpha = 0.25``
and one probe ``z`` of 8 numbers. Part 2 puts affine-free instance normalization after every layer (Fletcher's
trick); part 1 has none, and there the zero quine attracts.

Source: the blog post, parts 1 and 2. The projection and the probe are drawn by Philox instead of torch, so that
they are the same on every machine.
"""

from __future__ import annotations

import torch
from torch import nn

from ..errors import BadOption
from ..quines.networks.normalize import InstanceNorm
from .problem import Problem, drawn, numbers
from .registry import recipe


@recipe("blog", small=True, place=10)
def part2(
    seed: int = 0, alpha: float = 0.25, norm: str = "instance", probes: int = 1, dtype: torch.dtype = torch.float64
) -> Problem:
    """The post's normalized network (P = 1020).

    Args:
        seed: of the weights and the probe.
        alpha: what the printed numbers are multiplied with.
        norm: "instance", or "batch" for normalization over several probes, without statistics of its own.
        probes: how many probes are asked at once.
        dtype: type of the weights.
    """
    if norm not in ("instance", "batch"):
        raise BadOption(f"norm must be 'instance' or 'batch', not {norm!r}")
    if probes < 1:
        raise BadOption(f"probes must be at least 1, not {probes}")
    if norm == "batch" and probes < 2:
        raise BadOption(
            "batch normalization of one probe makes every number 0, because each is its own mean, and torch refuses it: "
            "ask several (probes=8), or take norm=instance"
        )
    return _network(seed, alpha, dtype, normalize=True, batch=norm == "batch", probes=probes)


@recipe("blog-part1", small=True, place=70)
def part1(seed: int = 0, alpha: float = 0.25, dtype: torch.dtype = torch.float64) -> Problem:
    """Part 1's network without normalization (P = 1020), where every search ends at the zero quine."""
    return _network(seed, alpha, dtype, normalize=False)


def _network(
    seed: int, alpha: float, dtype: torch.dtype, *, normalize: bool, batch: bool = False, probes: int = 1
) -> Problem:
    def norm() -> nn.Module:
        if batch:
            return nn.BatchNorm1d(20, affine=False, track_running_stats=False)
        return InstanceNorm() if normalize else nn.Identity()

    with drawn(seed):
        trunk = nn.Sequential(
            nn.Linear(8, 20, dtype=dtype),
            nn.Tanh(),
            norm(),
            nn.Linear(20, 20, dtype=dtype),
            nn.Tanh(),
            norm(),
            nn.Linear(20, 20, dtype=dtype),
            nn.Tanh(),
        )
    options = {"code_size": 20, "dtype": dtype, "normalize": normalize, "alpha": alpha}
    return Problem(trunk, numbers(seed, probes, 8), options)
