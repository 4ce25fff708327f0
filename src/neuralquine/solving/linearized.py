"""Starting points for queried quines: the quines of the linearized network.

With every activation ``s(z)`` replaced by ``a + g z``, a stack of layers answers ``f(x) = (x, 1) . G`` with
``G = G(theta)``. Its printed weights are ``theta = E v``, so that its quines are the fixed points of ``v -> G(E v)`` in
q or q + 1 unknowns instead of P. Without biases and intercepts ``G(E v)`` is homogeneous of degree L + 1: any solution of
the eigenproblem ``G(v) = lambda v`` with ``lambda > 0`` on the unit sphere gives a quine, ``v lambda^(-1 / L)``. The
real network's weights are then already of the right size and kind, at a relative residual of some 0.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ..quines.interrupts import interrupt_here
from ..quines.measure import variation
from ..quines.rows_linear import FixedProduct
from ..quines.stack import Layer, Stack

_STEPS = 200
_CLOSE = 1e-4  # relative residual that suffices: that of the real network there is a thousand times larger
_VARIED = 0.8


Slope = float | Callable[[Layer], Tensor]
"""One gain of all units, or what draws one for every unit of a layer."""


@dataclass(frozen=True)
class _Annealing:
    """How random directions are led to eigenvectors.

    Attributes:
        steps, rate: of Adam.
        penalty: on what is across, by the part of the steps that are done.
        polish: most steps of Levenberg-Marquardt from there.
        more: so many times more directions are drawn than starts are wanted, and the better half is polished.
        best: most starts that are followed before more are drawn.
    """

    steps: int
    rate: float
    penalty: Callable[[float], float]
    polish: int
    more: int = 1
    best: int | None = None


# Of 24 draws at 2 x 100 units, 40 steps of plain ascent led to 9 quines of RMS weight 0.0218 to 0.0275; annealing leads 48
# draws to 21 from 0.0211 on, in less time. The starts of small networks are kept: journals hold them.
_NARROW = _Annealing(300, 0.02, lambda part: 10.0 * max(0.0, (part - 0.2) / 0.8) ** 2, _STEPS)
# From as many unknowns on, large eigenvalues are rare and small ones hopeless. At 2 x 100 units the mean of the ten largest
# eigenvalues from 128 draws is 2,240 to 2,340 so; where the penalty ends at 10, vectors lie between eigenvectors, and lead to
# fewer and smaller ones. Who needs more than 15 steps leads to a small eigenvalue, if to any. Of the five starts among 133 that led to
# quines, all were among the best eight of their batch.
_MANY, _WIDE = 64, _Annealing(150, 0.1, lambda part: 0.1 * 10 ** (4 * part), 15, more=5, best=8)
_LOW = 0.02  # cosine between v and G(v) below which it is climbed, in the place of log(v . G(v))
_FRUITLESS = 4  # batches without a new start after which there are no more
_SLOPES = (0.5, 0.7, 1.0, 0.4)  # of ReLU networks, in the order in which they are tried
_OF_EACH = 4  # starts of a slope before the next one
_OF_UNITS = 2  # starts of one drawing of slopes before the next one
_SPREAD = 0.1  # values of a pre-activation over which the gain is averaged


class Linearized:
    """``G`` and its derivative, in float32: a start need not be exact.

    Args:
        stack: the network.
        slope: the gain of every activation, or what draws one for each unit of a layer; by default that of the activation around 0.
        device: where it computes; by default on the CPU, wherever the network is: small steps are waited for one by one.
    """

    @torch.no_grad()
    def __init__(self, stack: Stack, slope: Slope | None = None, device: torch.device | str = "cpu") -> None:
        self.stack, self.n, self.device = stack, stack.unknowns, device
        self.layers = []
        for layer in stack.layers:
            weight = stack.rows(layer.weight, torch.float32).view(*layer.shape, self.n).to(device)
            bias = None if layer.bias is None else stack.rows(layer.bias, torch.float32).to(device)
            gain: float | Tensor = 1.0
            offset = 0.0
            if layer.activation is not None:
                at = torch.tensor([_SPREAD, -_SPREAD, 0.0], dtype=weight.dtype, device=stack.device)
                up, down, offset = layer.activation(at).tolist()
                gain = slope(layer).to(device) if callable(slope) else slope or (up - down) / (2 * _SPREAD)
            self.layers.append((weight, bias, gain, offset))
        wide = [weight.flatten(0, 1) for weight, *_ in self.layers[:-1]]
        self._products = [(w, w.mT.contiguous()) for w in wide] if self.n >= _MANY and not stack.affine else []
        self.degree = len(self.layers)  # degree of G in v, where there are no constants

    def __call__(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """``G(E v)`` and ``dG / dv``: ``(n,)`` to ``(n,)`` and ``(n, n)``."""
        weight, bias, *_ = self.layers[-1]
        s, ds = (weight @ v)[0], weight[0]
        c, dc = (s.new_zeros(()), s.new_zeros(self.n)) if bias is None else ((bias @ v)[0], bias[0])
        for weight, bias, gain, offset in reversed(self.layers[:-1]):
            c, dc = c + offset * s.sum(), dc + offset * ds.sum(0)
            if isinstance(gain, Tensor):
                s, ds, gain = gain * s, gain[:, None] * ds, 1.0
            if bias is not None:
                b = bias @ v
                c, dc = c + gain * (s @ b), dc + gain * (b @ ds + s @ bias)
            w = weight @ v
            ds = gain * (w.mT @ ds + (s @ weight.flatten(1)).view(-1, self.n))
            s = gain * (w.mT @ s)
        if not self.stack.affine:
            return s, ds
        return torch.cat([s, c[None]]), torch.cat([ds, dc[None]])

    def answers(self, v: Tensor) -> Tensor:
        """``G(E v)`` of several v, where there are no constants: ``(B, n)`` to ``(B, n)``."""
        s = v @ self.layers[-1][0][0].mT
        for i in range(len(self.layers) - 2, -1, -1):
            weight, _, gain, _ = self.layers[i]
            if isinstance(gain, Tensor):
                s, gain = gain * s, 1.0
            w = FixedProduct.apply(v, *self._products[i]) if self._products else v @ weight.flatten(0, 1).mT
            w = w.view(len(v), *weight.shape[:2])
            s = gain * (s[:, None] @ w)[:, 0]
        return s


def linear_starts(
    stack: Stack,
    generator: torch.Generator,
    *,
    batch: int = 24,
    late: Callable[[], bool] | None = None,
    slope: Slope | None = None,
) -> Iterator[Tensor]:
    """Yield weights ``(P,)`` of quines of the linearized network without end, each batch by falling eigenvalue.

    Once ``late`` says so, the batch ends with the starts that it has, and is the last. With a ``slope`` every activation is replaced by it.

    Where L is even, ``-v`` solves the same eigenproblem as v: another start.
    """
    linearized = Linearized(stack, slope)
    many = linearized if stack.device.type == "cpu" or stack.affine else Linearized(stack, slope, stack.device)
    seen: list[Tensor] = []
    fruitless = 0
    found: list[tuple[float, Tensor]] = []
    how = _WIDE if linearized.n >= _MANY and not stack.affine else _NARROW
    while fruitless < _FRUITLESS:
        before = len(found)
        for v in _directions(many, generator, batch, late, how):
            interrupt_here()
            found += _another(linearized, v, seen, how.polish)
            if late is not None and late():
                fruitless = _FRUITLESS
                break
        fruitless = 0 if len(found) > before and fruitless < _FRUITLESS else fruitless + 1
        found.sort(key=lambda pair: -pair[0])
        best = how.best if fruitless < _FRUITLESS else None
        for _, v in found[:best]:
            theta = stack.expand(v.to(stack.device, stack.dtype))
            if variation(theta) > _VARIED:  # with biases, some are nearly one constant, and small
                yield theta
        del found[:best]


def _directions(
    linearized: Linearized, generator: torch.Generator, count: int, late: Callable[[], bool] | None, how: _Annealing
) -> Iterator[Tensor]:
    """Directions ``(n,)`` from which quines of the linearized network are looked for."""
    if linearized.stack.affine:
        for _ in range(count):
            yield torch.randn(linearized.n, generator=generator, dtype=torch.float32)
    else:
        drawn = torch.randn(how.more * count, linearized.n, generator=generator, dtype=torch.float32)
        found = annealed(linearized, drawn.to(linearized.device), late, how).cpu()
        yield from found[: math.ceil(len(drawn) / 2) if how.more > 1 else None]


def _another(linearized: Linearized, v: Tensor, seen: list[Tensor], steps: int) -> list[tuple[float, Tensor]]:
    """The quines of the linearized network that one direction leads to, none or one or two, if they are new; each is seen now."""
    pair = fixed_point(linearized, v) if linearized.stack.affine else eigenpair(linearized, v, steps)
    if pair is None or any(_same(pair[0], other) for other in seen):
        return []
    v, eigenvalue = pair
    root = eigenvalue ** (-1 / (linearized.degree - 1))
    mirrored = not linearized.stack.affine and linearized.degree % 2
    signs = (1.0, -1.0) if mirrored else (1.0,)
    seen += [sign * v for sign in signs]
    return [(eigenvalue, sign * v * root) for sign in signs]


def starts_of_slopes(
    stack: Stack, generator: torch.Generator, *, late: Callable[[], bool] | None = None
) -> Iterator[Tensor]:
    """The same for networks with a kink at 0, whose slopes are not known beforehand: some of each mean slope, then of units.

    A mean slope has few quines, which are soon all found: of 16 networks of 441 weights four had none that led to a quine. With a slope of
    its own for every unit, drawn between those of the two sides of the kink, the linearized network is another one each time.
    """
    for slope in _SLOPES:
        yield from islice(linear_starts(stack, generator, batch=_OF_EACH, late=late, slope=slope), _OF_EACH)
    fruitless = 0
    while fruitless < _FRUITLESS and not (late is not None and late()):
        fruitless += 1
        for start in islice(linear_starts(stack, generator, batch=1, late=late, slope=_between(generator)), _OF_UNITS):
            fruitless = 0
            yield start


def _between(generator: torch.Generator) -> Callable[[Layer], Tensor]:
    """For every unit of a layer a slope between those on the two sides of the kink."""

    def drawn(layer: Layer) -> Tensor:
        assert layer.activation is not None
        low, high = (layer.activation(torch.tensor([-1.0, 1.0])) * torch.tensor([-1.0, 1.0])).tolist()
        return low + (high - low) * torch.rand(layer.shape[0], generator=generator)

    return drawn


def _same(a: Tensor, b: Tensor) -> bool:
    return float(torch.linalg.vector_norm(a - b)) < 1e-2 * float(torch.linalg.vector_norm(a))


def annealed(
    linearized: Linearized, v: Tensor, late: Callable[[], bool] | None = None, how: _Annealing = _NARROW
) -> Tensor:
    """Unit vectors near eigenvectors, from random ones, all at once, by falling eigenvalue: ``(B, n)`` to ``(B, n)``.

    Climbs ``log(v . G(v)) - k (|the part of G(v) across v| / |G(v)|)^2`` while k grows: large eigenvalues mean small
    weights, of which the derivative of the network has few eigenvalues above 1. Ends early once ``late`` says so.
    """
    with torch.enable_grad():
        v = torch.nn.functional.normalize(v, dim=1).requires_grad_(True)
        adam = torch.optim.Adam([v], lr=how.rate)
        for step in range(how.steps):
            interrupt_here()
            if late is not None and late():
                break
            part = step / how.steps
            unit = torch.nn.functional.normalize(v, dim=1)
            g = linearized.answers(unit)
            size, along = torch.linalg.vector_norm(g, dim=1), (unit * g).sum(1)
            cosine = along / size
            low = cosine < _LOW  # where the logarithm is steep, or is none
            height = torch.where(low, cosine, along.clamp_min(torch.finfo(g.dtype).tiny).log())
            penalty = how.penalty(part)
            adam.zero_grad()
            (penalty * (1 - cosine**2) - height).sum().backward()
            adam.param_groups[0]["lr"] = how.rate * (1 - part) + how.rate / 200
            adam.step()
            with torch.no_grad():
                v /= torch.linalg.vector_norm(v, dim=1, keepdim=True)
        unit = torch.nn.functional.normalize(v, dim=1)
        order = (unit * linearized.answers(unit)).sum(1).argsort(descending=True)
    return unit[order].detach()


@torch.no_grad()
def eigenpair(linearized: Linearized, v: Tensor, steps: int = _STEPS) -> tuple[Tensor, float] | None:
    """A unit vector with ``G(v) = lambda v``, ``lambda > 0``, from one near it; None if none was reached.

    Levenberg-Marquardt on ``G / |G| - v``, whose sign makes lambda positive.
    """
    v = _unit(v)
    identity = torch.eye(len(v), device=v.device, dtype=torch.float32)

    def residual(v: Tensor) -> tuple[Tensor, Tensor]:
        g, m = linearized(v)
        size = torch.linalg.vector_norm(g)
        u = g / size
        return u - v, (m - torch.outer(u, u @ m)) / size - identity

    found = _minimized(residual, v, _unit, steps)
    return None if found is None else (found, float(torch.linalg.vector_norm(linearized(found)[0])))


@torch.no_grad()
def fixed_point(linearized: Linearized, v: Tensor) -> tuple[Tensor, float] | None:
    """``G(v) = v``, v not 0, where the linearized network has constants; the second number is 1.

    Levenberg-Marquardt on ``(G(v) - v) / |v|``, which zero does not attract, from where a random direction has
    ``|G(v)| = |v|``.
    """
    v = _unit(v)
    sizes = torch.logspace(-3, 2, 40, dtype=torch.float32)
    gaps = [abs(float((torch.linalg.vector_norm(linearized(s * v)[0]) / s).log())) for s in sizes]
    v = v * float(sizes[min(range(len(gaps)), key=gaps.__getitem__)])
    identity = torch.eye(len(v), device=v.device, dtype=torch.float32)

    def residual(v: Tensor) -> tuple[Tensor, Tensor]:
        g, m = linearized(v)
        size = torch.linalg.vector_norm(v)
        r = (g - v) / size
        return r, (m - identity) / size - torch.outer(r, v) / size**2

    found = _minimized(residual, v, lambda v: v)
    return None if found is None else (found, 1.0)


def _unit(v: Tensor) -> Tensor:
    return v / torch.linalg.vector_norm(v)


def _minimized(
    residual: Callable[[Tensor], tuple[Tensor, Tensor]],
    v: Tensor,
    project: Callable[[Tensor], Tensor],
    steps: int = _STEPS,
) -> Tensor | None:
    """Levenberg-Marquardt on a residual with its Jacobian, to within ``_CLOSE``; None where it does not get there."""
    mu, identity = 0.1, torch.eye(len(v), device=v.device, dtype=torch.float32)
    r, jacobian = residual(v)
    for _ in range(steps):
        gap = float(torch.linalg.vector_norm(r))
        if gap < _CLOSE:
            return v
        normal, right = jacobian.mT @ jacobian, -(jacobian.mT @ r)
        for _ in range(12):
            step, _ = torch.linalg.solve_ex(normal + mu * identity, right)  # NaN where it is singular in float32
            trial = project(v + step)
            after = residual(trial)
            if float(torch.linalg.vector_norm(after[0])) < gap:
                break
            mu = max(4 * mu, 1e-7)
        else:
            return None
        v, (r, jacobian), mu = trial, after, max(0.3 * mu, 1e-7)
    return None
