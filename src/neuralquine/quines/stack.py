"""A queried network that is a stack of linear layers: its derivative, written out, and its linearized twin.

    h_0 = x,  z_l = W_l h_(l-1) + b_l,  h_l = s(z_l),  f(x) = w . h_L + b

for every row x of the query table at once. With ``A_l = df / dz_l`` of every query, computed once at a point,

    J d = sum_l rowsum(A_l * (h_(l-1) dW_l^T + db_l)) + h_L dw + db

costs one matrix product a layer, in float32; carrying the tangent from layer to layer takes two, and
``torch.func.jvp`` computes the activations again every time.

Replace every activation by its gain: the network is affine in the query, ``f(x) = (x, 1) . v(theta)``, so its printed
weights lie in the column space of the table ``E = [X, 1]``, and ``J = E B(theta)`` has rank q + 1. With the slopes
averaged over the queries it makes up most of the true Jacobian: :class:`MeanField` inverts ``I - E B`` exactly.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .rows_linear import plain_linear, quick_linear

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
_SELU_SCALE = 1.0507009873554804934  # torch's constants: for z > 0 SELU is SCALE z,
_SELU_FLOOR = 1.7580993408473766  # and below SCALE ALPHA (exp(z) - 1), which never falls below -FLOOR
_CHUNK = 1024  # rows of the query table at once: the temporaries stay in the cache
_WIDE_CHUNK = 1 << 16  # the same where there is no such cache: on an accelerator every call costs as much as its work


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
        self.chunk = _CHUNK if table.device.type == "cpu" else _WIDE_CHUNK
        self.several = len(table) > self.chunk
        # Small networks keep their order of sums, and their journals.
        self.linear = quick_linear if self.several else plain_linear
        self.affine = any(layer.bias is not None for layer in layers) or any(
            float(layer.activation(table.new_zeros(1))) != 0.0 for layer in layers if layer.activation
        )

    @property
    def homogeneous(self) -> bool:
        """Whether ``f`` is positively homogeneous in theta, of degree L + 1, and keeps positive numbers positive."""
        kinds = {type(layer.activation) for layer in self.layers if layer.activation is not None}
        return kinds == {nn.ReLU} and all(layer.bias is None for layer in self.layers)

    @property
    def kinked(self) -> bool:
        """Whether the activations are bent at 0 alone: the slope of one is not that of the network."""
        return {type(layer.activation) for layer in self.layers[:-1]} <= {nn.ReLU, nn.LeakyReLU}

    @property
    def unknowns(self) -> int:
        """The unknowns of the linearized network: q, or q + 1 where it has constants."""
        return self.tables[torch.float32].shape[1] + self.affine

    def weights(self, theta: Tensor, layer: Layer) -> tuple[Tensor, Tensor | None]:
        return theta[layer.weight].view(layer.shape), None if layer.bias is None else theta[layer.bias]

    @torch.no_grad()
    def answers(self, theta: Tensor) -> Tensor:
        """``f`` of every query, in the type of theta: ``(P,)``."""
        table = self.tables[theta.dtype]
        return torch.cat([self._answers(theta, h, self.linear) for h in table.split(self.chunk)])

    def some_answers(self, theta: Tensor, rows: Tensor) -> Tensor:
        """``f`` of some queries, to be differentiated by theta: ``(n,)``."""
        return self._answers(theta, self.tables[theta.dtype][rows])

    def _answers(self, theta: Tensor, h: Tensor, linear: Callable[..., Tensor] = plain_linear) -> Tensor:
        for layer in self.layers:
            h = linear(h, *self.weights(theta, layer))
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
    """Products with the Jacobian of the answers at one point.

    Args:
        stack: the network with its queries.
        theta: ``(P,)`` the point.
        spare: buffers of earlier points of the same stack, to be used again; new ones take as long to touch as to fill.
            Those of this point are put there once it is no longer needed.
        dtype: in which they are computed, float32 or the type of the table.

    Attributes:
        h: the inputs of every layer, ``(P, n)`` each.
        signals: ``df / dz`` of every layer but the last one, ``(P, n)`` each.
        mean_slopes: the slopes of the activations, averaged over the queries.
    """

    @torch.no_grad()
    def __init__(
        self,
        stack: Stack,
        theta: Tensor,
        spare: list[list[Tensor]] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.stack = stack
        self.theta = theta.to(dtype)
        self.tensors = [stack.weights(self.theta, layer) for layer in stack.layers]
        table, hidden = stack.tables[dtype], stack.layers[:-1]
        room = spare.pop() if spare else [table.new_empty(len(table), layer.shape[0]) for layer in hidden * 2]
        if spare is not None:
            weakref.finalize(self, spare.append, room)
        self.h, self.signals = [table, *room[: len(hidden)]], room[len(hidden) :]
        sums = [table.new_zeros(layer.shape[0]) for layer in hidden]
        self.parts = [slice(i, i + stack.chunk) for i in range(0, len(table), stack.chunk)]
        for part in self.parts:
            slopes = []
            for i, (weight, bias) in enumerate(self.tensors[:-1]):
                z = stack.linear(self.h[i][part], weight, bias)
                h, slope = with_slope(hidden[i].activation, z)
                self.h[i + 1][part] = h
                slopes.append(slope)
                sums[i] += slope.sum(0)
            for i in range(len(hidden) - 1, -1, -1):
                back = self.tensors[i + 1][0]
                if i + 1 < len(hidden):
                    back = stack.linear(self.signals[i + 1][part], back.mT)
                torch.mul(slopes[i], back, out=self.signals[i][part])
        self.mean_slopes = [total / len(table) for total in sums]
        self.ones = [torch.ones_like(total) for total in sums]

    @torch.no_grad()
    def jvp(self, d: Tensor) -> Tensor:
        """``J d``: ``(P,)`` to ``(P,)``."""
        stack, out = self.stack, torch.empty_like(d)
        *changes, (last, shift) = [stack.weights(d, layer) for layer in stack.layers]
        if stack.several:  # in this order of memory the same bits take a tenth less time
            changes = [(change.mT.contiguous().mT, moved) for change, moved in changes]
        for part in self.parts:
            answer = torch.mv(self.h[-1][part], last[0], out=out[part])
            for h, signal, (change, moved), one in zip(self.h, self.signals, changes, self.ones, strict=False):
                step = stack.linear(h[part], change, moved)
                if stack.several:  # twice as fast as torch's sums of rows
                    answer.addmv_(step.mul_(signal[part]), one)
                else:  # the order of sums of small networks, whose journals are kept
                    answer += torch.linalg.vecdot(step, signal[part])
        return out if shift is None else out.add_(shift)

    @torch.no_grad()
    def vjp(self, u: Tensor) -> Tensor:
        """``J^T u``: ``(P,)`` to ``(P,)``."""
        out = torch.zeros_like(u)
        for layer, h, signal in zip(self.stack.layers, self.h, [*self.signals, None], strict=True):
            for part in self.parts:
                back = u[part, None] if signal is None else signal[part] * u[part, None]
                out[layer.weight] += (back.mT @ h[part]).reshape(-1)
                if layer.bias is not None:
                    out[layer.bias] += back.sum(0)
        return out


def with_slope(activation: nn.Module | None, z: Tensor) -> tuple[Tensor, Tensor]:
    """An activation and its slope."""
    assert activation is not None
    if type(activation) is nn.SELU:  # of the networks that take minutes: its slope costs no second exponential
        h = activation(z)
        return h, torch.where(z > 0, _SELU_SCALE, h + _SELU_FLOOR)
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
                s = (at.tensors[i][0].mT @ s) * at.mean_slopes[i - 1]
        self.maps = [
            torch.eye(q, n, device=stack.device, dtype=torch.float32)
        ]  # h_l = maps[l] (x, 1) of the averaged network
        for i, (weight, bias) in enumerate(at.tensors[:-1]):
            slope = at.mean_slopes[i]
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
        small = torch.eye(n, dtype=torch.float64, device=stack.device) - small.double()
        inverse, failed = torch.linalg.inv_ex(small)
        if int(failed):  # of dead units and an output bias the averaged network has an eigenvalue of 1
            inverse = torch.linalg.pinv(small) if bool(torch.isfinite(small).all()) else torch.zeros_like(small)
        self.inverse = inverse.float()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        total = x.new_zeros(self.stack.unknowns)
        for i, layer in enumerate(self.stack.layers):
            weight, bias = self.stack.weights(x, layer)
            total += self.maps[i].mT @ (weight.mT @ self.signals[i])
            if bias is not None:
                total[-1] += self.signals[i] @ bias
        return x + self.stack.expand(self.inverse @ total)
