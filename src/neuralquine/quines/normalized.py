"""A queried matrix between two fixed functions with batch normalization over all queries, its derivative written out.

    Z = H W^T,  N = Z / sd,  f = s(N) o,  sd_i^2 = w_i C w_i + eps,  C = H^T H / P

with the centred inputs H of the printed matrix W and the vector o fixed. As N is linear in ``W / sd``,

    J d = rowsum(s'(N) * (H V^T)),  v_i = (d_i - w_i (w_i C d_i) / sd_i^2) o_i / sd_i

costs one matrix product, where ``torch.func.jvp`` takes the whole network again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .rows_linear import quick_linear
from .stack import ELEMENTWISE, with_slope


class _Fixed(NamedTuple):
    """What does not depend on W: H, C, o and the last bias."""

    inputs: Tensor
    moments: Tensor
    last: Tensor
    shift: Tensor


class Normalized:
    """The network of one query table.

    Args:
        inputs: H before it is centred, ``(P, n)``, in the type of the table.
        norm: the normalization, without weights of its own.
        activation: s.
        last: o, ``(m,)``, and its bias.
    """

    def __init__(self, inputs: Tensor, norm: nn.BatchNorm1d, activation: nn.Module, last: nn.Linear) -> None:
        self.eps, self.activation = norm.eps, activation
        self.shape = last.in_features, inputs.shape[1]
        shift = last.weight.new_zeros(()) if last.bias is None else last.bias.detach()[0]
        centred = inputs - inputs.mean(0)
        fixed = _Fixed(centred, centred.mT @ centred / len(centred), last.weight.detach()[0], shift)
        self.fixed = {dtype: _Fixed(*(t.to(dtype) for t in fixed)) for dtype in (torch.float32, inputs.dtype)}

    def weights(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """W, ``W C`` and the deviation of each row's answers."""
        w = theta.view(self.shape)
        spread = w @ self.fixed[theta.dtype].moments
        return w, spread, ((spread * w).sum(1) + self.eps).sqrt()

    def normal(self, w: Tensor, deviation: Tensor) -> Tensor:
        """N: ``(P, m)``."""
        return quick_linear(self.fixed[w.dtype].inputs, w / deviation[:, None])

    @torch.no_grad()
    def answers(self, theta: Tensor) -> Tensor:
        """``f`` of every query, ``(P,)``, in the type of ``theta``: float32 or that of the network."""
        w, _, deviation = self.weights(theta)
        fixed = self.fixed[theta.dtype]
        return self.activation(self.normal(w, deviation)) @ fixed.last + fixed.shift


class NormalizedLinearization:
    """Products with the Jacobian at one point, in float32 or in the type of the network."""

    @torch.no_grad()
    def __init__(self, network: Normalized, theta: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.network, fixed = network, network.fixed[dtype]
        self.w, spread, deviation = network.weights(theta.to(dtype))
        self.along = spread / deviation.square()[:, None]
        self.gain = (fixed.last / deviation)[:, None]
        self.slope = with_slope(network.activation, network.normal(self.w, deviation))[1]
        self.inputs, self.ones = fixed.inputs, torch.ones_like(fixed.last)

    @torch.no_grad()
    def jvp(self, d: Tensor) -> Tensor:
        """``J d``: ``(P,)`` to ``(P,)``."""
        v = d.view(self.network.shape)
        v = self.gain * (v - self.w * (self.along * v).sum(1, keepdim=True))
        return quick_linear(self.inputs, v).mul_(self.slope) @ self.ones


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
