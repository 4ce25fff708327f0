"""A queried matrix between two fixed functions with batch normalization over all queries, its derivative written out.

    Z = H W^T,  N = (Z - mean Z) / sd,  f = s(N) o

with the inputs H of the printed matrix W and the vector o fixed. With ``G = s'(N) o / sd``,

    J d = rowsum(G * dZ) - G mean(dZ) - (G * N) mean(N * dZ),  dZ = H dW^T

costs one matrix product, where ``torch.func.jvp`` takes the whole network again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .stack import ELEMENTWISE, with_slope


class Normalized:
    """The network of one query table.

    Args:
        inputs: H, ``(P, n)``, in the type of the table.
        norm: the normalization, without weights of its own.
        activation: s.
        last: o, ``(m,)``, and its bias.
    """

    def __init__(self, inputs: Tensor, norm: nn.BatchNorm1d, activation: nn.Module, last: nn.Linear) -> None:
        self.eps, self.activation = norm.eps, activation
        self.shape = last.in_features, inputs.shape[1]
        shift = last.weight.new_zeros(()) if last.bias is None else last.bias.detach()[0]
        self.inputs, self.last, self.shift = inputs.float(), last.weight.detach()[0].float(), shift.float()

    def _normal(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        z = self.inputs @ theta.float().view(self.shape).mT
        z = z - z.mean(0)
        deviation = (z.square().mean(0) + self.eps).sqrt()
        return z / deviation, deviation

    @torch.no_grad()
    def answers(self, theta: Tensor) -> Tensor:
        """``f`` of every query in float32: ``(P,)``."""
        return self.activation(self._normal(theta)[0]) @ self.last + self.shift


class NormalizedLinearization:
    """Products with the Jacobian at one point, in float32."""

    @torch.no_grad()
    def __init__(self, network: Normalized, theta: Tensor) -> None:
        self.network = network
        normal, deviation = network._normal(theta)
        slope = with_slope(network.activation, normal)[1]
        self.normal, self.signal = normal, slope * (network.last / deviation)
        self.both = self.signal * normal

    @torch.no_grad()
    def jvp(self, d: Tensor) -> Tensor:
        """``J d``: ``(P,)`` to ``(P,)``."""
        dz = self.network.inputs @ d.view(self.network.shape).mT
        along = (self.normal * dz).mean(0)
        mean = dz.mean(0)
        return dz.mul_(self.signal).sum(1) - self.signal @ mean - self.both @ along


def normalized_of(trunk: nn.Module, printed: list[nn.Parameter], table: Tensor) -> Normalized | None:
    """The trunk as such a network; None if it is none."""
    if type(trunk) is not nn.Sequential or len(trunk) < 4 or len(printed) != 1:
        return None
    *front, matrix, norm, activation, last = trunk
    if type(matrix) is not nn.Linear or matrix.bias is not None or matrix.weight is not printed[0]:
        return None
    if not isinstance(norm, nn.BatchNorm1d) or norm.affine or norm.track_running_stats:
        return None
    if not isinstance(last, nn.Linear) or last.out_features != 1 or type(activation) not in ELEMENTWISE:
        return None
    known = {nn.Linear, nn.BatchNorm1d, *ELEMENTWISE}
    if any(type(module) not in known or getattr(module, "inplace", False) for module in trunk):
        return None
    if any(type(module) is nn.BatchNorm1d for module in front):
        return None
    with torch.no_grad():
        for module in front:
            table = module(table)
    return Normalized(table, norm, activation, last)
