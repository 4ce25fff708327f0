"""Better starts for queried quines: the quines of the network with every activation replaced by its average over the queries.

The quines of the linearized network take every slope at 0. Here a pre-activation is a normal number whose mean and variance over
all queries follow from the weights, and the activation is replaced by the line that fits it best under that law, unit by
unit; what the line leaves out is noise in the next layer. The network is affine in the query again, so that its quines are the
fixed points of ``v -> G(E v)`` in q + 1 unknowns, now with slopes that depend on v. About half of the quines of the linearized
network lead to one of this network; the others end in a fold of it, which shows in a second what the real network would show
in minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..quines.stack import Stack
from .linearized import minimized

_NODES = 24  # of the quadrature: a kink makes more of them no more exact
_STEPS = 25  # of Levenberg-Marquardt: those that arrive take 6 to 20


class Averaged:
    """``G`` of the averaged network, in float32 on the CPU.

    Args:
        stack: the network.
    """

    @torch.no_grad()
    def __init__(self, stack: Stack) -> None:
        table = stack.tables[torch.float32]
        self.stack, self.q = stack, table.shape[1]
        self.n = self.q + 1
        self.mean = table.mean(0).cpu()
        self.covariance = torch.cov(table.mT, correction=0).cpu()
        self.rows = [
            (
                self._rows(layer.weight).view(*layer.shape, self.n),
                None if layer.bias is None else self._rows(layer.bias),
            )
            for layer in stack.layers
        ]
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        self._nodes = torch.tensor(nodes, dtype=torch.float32)
        self._weights = torch.tensor(weights / weights.sum(), dtype=torch.float32)

    def _rows(self, part: slice) -> Tensor:
        rows = self.stack.tables[torch.float32][part].cpu()
        return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)

    def __call__(self, v: Tensor) -> Tensor:
        """``G(E v)``: ``(n,)`` to ``(n,)``."""
        mean, reach, noise = self.mean, torch.eye(self.q), torch.zeros(self.q)
        for layer, (weight, bias) in zip(self.stack.layers[:-1], self.rows[:-1], strict=True):
            assert layer.activation is not None
            w = weight @ v
            mean_z = w @ mean if bias is None else w @ mean + bias @ v
            reach_z = w @ reach
            variance = ((reach_z @ self.covariance) * reach_z).sum(1) + w.square() @ noise
            deviation = (variance + 1e-12).sqrt()
            h = layer.activation(mean_z[:, None] + deviation[:, None] * self._nodes)
            mean, slope = h @ self._weights, (h * self._nodes) @ self._weights / deviation
            noise = ((h - mean[:, None]).square() @ self._weights - slope.square() * variance).clamp_min(0)
            reach = slope[:, None] * reach_z
        weight, bias = self.rows[-1]
        w = (weight @ v)[0]
        s = reach.mT @ w
        c = w @ mean - s @ self.mean
        return torch.cat([s, (c if bias is None else c + (bias @ v)[0])[None]])

    @torch.no_grad()
    def quine_near(self, theta: Tensor) -> Tensor | None:
        """The weights ``(P,)`` of the quine of this network that weights lead to; None where there is none."""
        table = self.stack.tables[torch.float32]
        wide = torch.cat([table, table.new_ones(len(table), 1)], 1)
        gram = (wide.mT @ wide).double()
        v = torch.linalg.solve(gram, (wide.mT @ theta.to(wide)).double()).float().cpu()
        derivative = torch.func.jacfwd(lambda u: (g := self(u), g), has_aux=True)
        identity = torch.eye(self.n)

        def residual(u: Tensor) -> tuple[Tensor, Tensor]:
            m, g = derivative(u)
            size = torch.linalg.vector_norm(u)
            r = (g - u) / size
            return r, (m - identity) / size - torch.outer(r, u) / size**2

        found = minimized(residual, v, lambda u: u, _STEPS)
        return None if found is None else (wide @ found.to(wide)).to(theta)


def averaged_starts(
    stack: Stack, starts: Iterator[Tensor], *, late: Callable[[], bool] | None = None
) -> Iterator[Tensor]:
    """Yield the quines of the averaged network that the quines ``(P,)`` of the linearized one lead to, until ``late`` says so."""
    averaged = Averaged(stack)
    for start in starts:
        if late is not None and late():
            return
        found = averaged.quine_near(start)
        if found is not None:
            yield found
