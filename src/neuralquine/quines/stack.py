"""A queried network that is a stack of linear layers: its derivative, written out, and its linearized twin.

    h_0 = x,  z_l = W_l h_(l-1) + b_l,  h_l = s(z_l),  f(x) = w . h_L + b

for every row x of the query table at once. Written out, a derivative product costs three matrix products a layer, in
float32, with the activations and slopes of the point kept; ``torch.func.jvp`` would compute them again every time.

Replace every activation by its gain: the network is affine in the query, ``f(x) = (x, 1) . v(theta)``, so its printed
weights lie in the column space of the table ``E = [X, 1]``, and ``J = E B(theta)`` has rank q + 1. With the slopes
averaged over the queries it makes up most of the true Jacobian: :class:`MeanField` inverts ``I - E B`` exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

ELEMENTWISE = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.Mish,
    nn.ReLU,
    nn.SELU,
    nn.Sigmoid,
    nn.SiLU,
    nn.Softplus,
    nn.Softsign,
    nn.Tanh,
)
_CHUNK = 2048  # rows of the query table at once: the temporaries stay in the cache


@dataclass(frozen=True)
class Layer:
    """One linear layer's place in ``theta``, and the activation in front of the next one."""

    weight: slice
    shape: tuple[int, int]
    bias: slice | None
    activation: nn.Module | None


def layers_of(trunk: nn.Module, printed: list[nn.Parameter]) -> tuple[list[nn.Module], list[Layer]] | None:
    """The functions before the first weight, and the layers; None if the trunk is no such stack."""
    if type(trunk) is not nn.Sequential:
        return None
    front: list[nn.Module] = []
    layers: list[Layer] = []
    start = 0
    for module in trunk:
        if getattr(module, "inplace", False):
            return None
        if type(module) is nn.Linear and (not layers or layers[-1].activation is not None):
            wide = slice(start, start + module.weight.numel())
            start = wide.stop
            bias = None if module.bias is None else slice(start, start + module.bias.numel())
            start = start if bias is None else bias.stop
            layers.append(Layer(wide, (module.out_features, module.in_features), bias, None))
        elif type(module) in ELEMENTWISE and not layers:
            front.append(module)
        elif type(module) in ELEMENTWISE and layers[-1].activation is None:
            last = layers[-1]
            layers[-1] = Layer(last.weight, last.shape, last.bias, module)
        else:
            return None
    linear = [m for m in trunk if type(m) is nn.Linear]
    own = [p for m in linear for p in (m.weight, m.bias) if p is not None]  # one used twice is here twice
    whole = len(own) == len(printed) and all(a is b for a, b in zip(own, printed, strict=True))
    whole = whole and all(vars(m)["_parameters"].keys() == {"weight", "bias"} for m in linear)
    if len(layers) < 2 or not whole or layers[-1].activation is not None or layers[-1].shape[0] != 1:
        return None
    return front, layers


class Stack:
    """The layers with their query table.

    Args:
        table: ``(P, q)``, float64.
        front: applied to the table once.
        layers: from the first to the scalar one.
    """

    def __init__(self, table: Tensor, front: list[nn.Module], layers: list[Layer]) -> None:
        with torch.no_grad():
            table = table.clone() if front else table  # which a module may write into
            for module in front:
                table = module(table)
        self.tables = {table.dtype: table.contiguous(), torch.float32: table.float()}
        self.device, self.dtype = table.device, table.dtype
        self.layers = layers
        self.affine = any(layer.bias is not None for layer in layers) or any(
            float(layer.activation(table.new_zeros(1))) != 0.0 for layer in layers if layer.activation
        )

    @property
    def homogeneous(self) -> bool:
        """Whether ``f`` is positively homogeneous in theta, of degree L + 1, and keeps positive numbers positive."""
        kinds = {type(layer.activation) for layer in self.layers if layer.activation is not None}
        return kinds == {nn.ReLU} and all(layer.bias is None for layer in self.layers)

    @property
    def unknowns(self) -> int:
        """The unknowns of the linearized network: q, or q + 1 where it has constants."""
        return self.tables[torch.float32].shape[1] + self.affine

    def weights(self, theta: Tensor, layer: Layer) -> tuple[Tensor, Tensor | None]:
        return theta[layer.weight].view(layer.shape), None if layer.bias is None else theta[layer.bias]

    @torch.no_grad()
    def answers(self, theta: Tensor) -> Tensor:
        """``f`` of every query, in the type of theta: ``(P,)``."""
        return torch.cat([self._answers(theta, h) for h in self.tables[theta.dtype].split(_CHUNK)])

    def some_answers(self, theta: Tensor, rows: Tensor) -> Tensor:
        """``f`` of some queries, to be differentiated by theta: ``(n,)``."""
        return self._answers(theta, self.tables[theta.dtype][rows])

    def _answers(self, theta: Tensor, h: Tensor) -> Tensor:
        for layer in self.layers:
            h = torch.nn.functional.linear(h, *self.weights(theta, layer))
            h = h if layer.activation is None else layer.activation(h)
        return h[:, 0]

    def expand(self, v: Tensor) -> Tensor:
        """``E v``: the weights that a network with the answers ``(x, 1) . v`` prints."""
        table = self.tables[v.dtype]
        return torch.addmv(v[-1], table, v[:-1]) if self.affine else table @ v

    def rows(self, part: slice, dtype: torch.dtype) -> Tensor:
        """The table's rows for one tensor of theta, with the column of ones where there are constants."""
        rows = self.tables[dtype][part]
        return torch.cat([rows, rows.new_ones(len(rows), 1)], 1) if self.affine else rows


class Linearization:
    """Products with the Jacobian of the answers at one point, in float32."""

    @torch.no_grad()
    def __init__(self, stack: Stack, theta: Tensor) -> None:
        self.stack = stack
        self.theta = theta.float()
        self.tensors = [stack.weights(self.theta, layer) for layer in stack.layers]
        self.h, self.slopes = [stack.tables[torch.float32]], []
        for (weight, bias), layer in zip(self.tensors[:-1], stack.layers[:-1], strict=True):
            z = torch.nn.functional.linear(self.h[-1], weight, bias)
            h, slope = _with_slope(layer.activation, z)
            self.h.append(h)
            self.slopes.append(slope)

    @torch.no_grad()
    def jvp(self, d: Tensor) -> Tensor:
        """``J d``: ``(P,)`` to ``(P,)``."""
        stack, out = self.stack, torch.empty_like(d)
        changes = [stack.weights(d, layer) for layer in stack.layers]
        for start in range(0, len(d), _CHUNK):
            part = slice(start, start + _CHUNK)
            tangent: Tensor | None = None
            for i, (change, shift) in enumerate(changes):
                step = torch.nn.functional.linear(self.h[i][part], change, shift)
                if tangent is not None:
                    step.addmm_(tangent, self.tensors[i][0].mT)
                tangent = step if i == len(self.slopes) else step.mul_(self.slopes[i][part])
            assert tangent is not None
            out[part] = tangent[:, 0]
        return out

    @torch.no_grad()
    def vjp(self, u: Tensor) -> Tensor:
        """``J^T u``: ``(P,)`` to ``(P,)``."""
        out = torch.zeros_like(u)
        back = u[:, None]
        for i in range(len(self.tensors) - 1, -1, -1):
            layer = self.stack.layers[i]
            out[layer.weight] = (back.mT @ self.h[i]).reshape(-1)
            if layer.bias is not None:
                out[layer.bias] = back.sum(0)
            if i:
                back = (back @ self.tensors[i][0]) * self.slopes[i - 1]
        return out


def _with_slope(activation: nn.Module | None, z: Tensor) -> tuple[Tensor, Tensor]:
    assert activation is not None
    with torch.enable_grad():
        leaf = z.detach().requires_grad_(True)
        h = activation(leaf)
        (slope,) = torch.autograd.grad(h.sum(), leaf)
    return h.detach(), slope


class MeanField:
    """``(I - E B)^-1 = I + E (I - B E)^-1 B``, with every activation replaced by its mean slope and intercept."""

    @torch.no_grad()
    def __init__(self, at: Linearization) -> None:
        stack = self.stack = at.stack
        n, q = stack.unknowns, stack.tables[torch.float32].shape[1]
        self.signals: list[Tensor] = []  # d f / d z_l of the averaged network
        s = torch.ones(1, device=stack.device, dtype=torch.float32)
        for i in range(len(at.tensors) - 1, -1, -1):
            self.signals.insert(0, s)
            if i:
                s = (at.tensors[i][0].mT @ s) * at.slopes[i - 1].mean(0)
        self.maps = [
            torch.eye(q, n, device=stack.device, dtype=torch.float32)
        ]  # h_l = maps[l] (x, 1) of the averaged network
        for i, (weight, bias) in enumerate(at.tensors[:-1]):
            slope = at.slopes[i].mean(0)
            reach = slope[:, None] * (weight @ self.maps[-1])
            if stack.affine:
                shift = weight.new_zeros(len(weight)) if bias is None else bias
                reach[:, -1] += slope * shift
                mean_z = at.h[i].mean(0) @ weight.mT + shift
                reach[:, -1] += at.h[i + 1].mean(0) - slope * mean_z
            self.maps.append(reach)
        small = torch.zeros(n, n, device=stack.device, dtype=torch.float32)
        for i, layer in enumerate(stack.layers):
            rows = stack.rows(layer.weight, torch.float32).view(layer.shape[0], -1)
            small += self.maps[i].mT @ (self.signals[i] @ rows).view(-1, n)
            if layer.bias is not None:
                small[-1] += self.signals[i] @ stack.rows(layer.bias, torch.float32)
        self.inverse = torch.linalg.inv(torch.eye(n, dtype=torch.float64, device=stack.device) - small.double()).float()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        total = x.new_zeros(self.stack.unknowns)
        for i, layer in enumerate(self.stack.layers):
            weight, bias = self.stack.weights(x, layer)
            total += self.maps[i].mT @ (weight.mT @ self.signals[i])
            if bias is not None:
                total[-1] += self.signals[i] @ bias
        return x + self.stack.expand(self.inverse @ total)
