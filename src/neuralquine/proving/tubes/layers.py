"""Sums and products: how errors go through them, and what any order of summation may round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from .elementary import exp
from .machine import UNIT, Unbounded
from .node import Array, Node, back_to, norm, repeats
from .norms import norm_bound

N = TypeVar("N", bound=Node)

_NEARBY = 1 << 18  # entries of a weight that are looked at together
_HELD = 1 << 21  # entries of a weight whose float64 copy is kept for the backward pass


def add(x: N, y: N) -> N:
    """``x + y`` with shapes that broadcast: one rounding of the result."""
    value = x.numbers + y.numbers
    linear = np.broadcast_to(x.radius + y.radius, value.shape)
    row = x.row + y.row if x.shape == y.shape else None
    for part, other in ((x, y), (y, x)):
        row = part.row if other.fixed and part.shape == value.shape else row
    return x.derived(
        "add",
        value,
        (x, y),
        lambda a: (_part(a, x), _part(a, y)),
        linear=linear,
        row=row,
        local=x.tape.machine.both * (np.abs(value) + linear),
        rounded=max(repeats(x.shape, value.shape), repeats(y.shape, value.shape)),
    )


def _part(a: Array, parent: Node) -> Array | None:
    return None if parent.fixed else back_to(a, parent.shape)


def multiply(x: N, y: N) -> N:
    """``x * y`` with shapes that broadcast: one rounding of the result, and the product of the errors."""
    machine = x.tape.machine
    v, w = x.numbers, y.numbers
    value = v * w
    linear = np.abs(v) * y.radius + np.abs(w) * x.radius
    second = None if x.fixed or y.fixed else x.radius * y.radius
    linear = np.broadcast_to(linear, value.shape)
    row = None
    for part, other in ((x, y), (y, x)):
        if value.ndim and other.fixed and part.shape == value.shape:
            row = np.abs(np.broadcast_to(other.numbers, value.shape)).max(-1) * part.row
    if row is None and value.ndim and x.shape == y.shape:
        row = np.abs(v).max(-1) * y.row + np.abs(w).max(-1) * x.row + x.radius.max(-1) * y.row
    return x.derived(
        "multiply",
        value,
        (x, y),
        lambda a: (_part(a * w, x), _part(a * v, y)),
        linear=linear,
        row=row,
        local=machine.both * x.reach * y.reach + machine.lost,
        second=second,
        rounded=1 + max(repeats(x.shape, value.shape), repeats(y.shape, value.shape)),
    )


def negate(x: N) -> N:
    """``-x``, which nobody rounds."""
    return x.derived("negate", -x.numbers, (x,), lambda a: (-a,), linear=x.radius, row=x.row)


def times(x: N, factor: float, units: float) -> N:
    """``x`` times one number, which the evaluations know and multiply with to so many units of the product together."""
    machine = x.tape.machine
    value, size = x.numbers * factor, abs(factor)
    linear = size * x.radius
    return x.derived(
        "times",
        value,
        (x,),
        lambda a: (a * factor,),
        linear=linear,
        row=size * x.row,
        local=units * machine.both * (np.abs(value) + linear) + (machine.lost if units else 0.0),
        rounded=1 + int(units),  # the backward step takes the nearest float for the number, too
    )


def mean(x: N) -> N:
    """The mean over the last axis, which stays, of length one: a sum in any order, and a division or a product with 1/n."""
    machine, n = x.tape.machine, x.shape[-1]
    value = x.numbers.mean(-1, keepdims=True)
    linear = x.radius.mean(-1, keepdims=True)
    return x.derived(
        "mean",
        value,
        (x,),
        lambda a: (np.broadcast_to(a / n, (len(a), *x.shape)),),
        linear=linear,
        through=np.minimum(linear, x.row[..., None] / np.sqrt(n)),
        local=machine.gamma(n + 1) * x.reach.mean(-1, keepdims=True) + machine.lost,
        rounded=1,
    )


def affine(x: N, weight: Node, bias: Node | None) -> N:
    """``x W^T + b`` over the last axis with fixed weights: no term of the sum is rounded more than n + 1 times."""
    machine, (m, n), lead = x.tape.machine, weight.shape, x.shape[:-1]
    parts = [part.reshape(-1, n) for part in (x.numbers, x.reach, x.radius)]
    made = [_products(w, *parts) for w in _stretches(weight.value)]
    value, total, linear = (np.concatenate([part[i] for part in made], 1).reshape(*lead, m) for i in range(3))
    if bias is not None:
        value, total = value + bias.numbers, total + np.abs(bias.numbers)
    rows, whole = np.concatenate([part[3] for part in made]), norm_bound(weight)
    kept = weight.numbers if weight.value.size <= _HELD else None

    def pull(a: Array) -> tuple[Array | None, ...]:
        return None if x.fixed else _pull(a, weight.value if kept is None else kept), None

    return x.derived(
        "affine",
        value,
        (x, weight),
        pull,
        linear=linear,
        through=np.minimum(linear, x.row[..., None] * rows),
        row=whole * x.row,
        local=machine.gamma(n + 1) * total + (n + 1) * machine.lost,
        rounded=m + 1,
    )


def _stretches(weight: Array) -> Iterator[Array]:
    """The rows of a weight in float64, so many at a time that a processor's memory nearby holds them."""
    step = max(1, _NEARBY // max(1, weight.shape[1]))
    for start in range(0, max(1, len(weight)), step):
        yield np.asarray(weight[start : start + step], np.float64)


def _products(w: Array, x: Array, reach: Array, radius: Array) -> tuple[Array, Array, Array, Array]:
    """``x W^T``, the same of absolute values with what x may be and with its error, and the norms of the rows of W."""
    total, linear = np.split(np.concatenate([reach, radius]) @ np.abs(w).T, 2)
    return x @ w.T, total, linear, norm(w)


def _pull(a: Array, w: Array) -> Array:
    """``a W`` for derivatives ``(d, ..., m)``; rows that are zero for every result, as of tokens unread, cost nothing."""
    flat = a.reshape(len(a), -1, a.shape[-1])
    read = flat.any(axis=(0, 2))
    if read.all():
        return _by_stretches(flat.reshape(-1, a.shape[-1]), w).reshape(*a.shape[:-1], w.shape[1])
    out = np.zeros((*flat.shape[:2], w.shape[1]))
    out[:, read] = _by_stretches(flat[:, read].reshape(-1, a.shape[-1]), w).reshape(len(a), -1, w.shape[1])
    return out.reshape(*a.shape[:-1], w.shape[1])


def _by_stretches(a: Array, w: Array) -> Array:
    """``a W``, a sum over the rows of W in one of the orders that it may have."""
    if w.size <= _HELD:
        return a @ w
    total, start = np.zeros((len(a), w.shape[1])), 0
    for part in _stretches(w):
        total += a[:, start : start + len(part)] @ part
        start += len(part)
    return total


def matmul(x: N, y: N) -> N:
    """Products of stacked matrices ``(..., n, k)`` and ``(..., k, m)``; in attention, machines scale one of them or both before."""
    if x.shape[:-2] != y.shape[:-2]:
        raise ValueError(f"stacks of matrices differ: {x.shape}, {y.shape}")
    machine, k = x.tape.machine, x.shape[-1]
    v, w = x.numbers, y.numbers
    value = v @ w
    heights = norm(np.swapaxes(y.radius, -1, -2))  # of the columns of y
    second = np.minimum(x.radius @ y.radius, x.row[..., :, None] * heights[..., None, :])
    left, right = np.abs(v) @ y.radius, x.radius @ np.abs(w)
    through = np.minimum(left, norm(v)[..., :, None] * heights[..., None, :])
    through = through + np.minimum(right, x.row[..., :, None] * norm(np.swapaxes(w, -1, -2))[..., None, :]) + second
    # A row of the result is a combination of rows of y: sum_s v_ts dy_s + dx_ts (y_s + dy_s).
    row = (np.abs(v) @ y.row[..., None] + x.radius @ (norm(w) + y.row)[..., None])[..., 0]

    def pull(a: Array) -> tuple[Array | None, ...]:
        return a @ np.swapaxes(w, -1, -2), np.swapaxes(v, -1, -2) @ a

    return x.derived(
        "matmul",
        value,
        (x, y),
        pull,
        linear=left + right,
        through=through,
        row=row,
        local=machine.gamma(k + 2) * (x.reach @ y.reach) + (k + 2) * machine.lost,
        second=second,
        second_rows=(x.radius @ y.row[..., None])[..., 0],
        rounded=max(x.shape[-2], y.shape[-1]) + 1,
    )


SOFTMAX_RUN = (
    30.0  # relative error of the float64 run in units, beside its sum: exp (8), shift, division, and the slack of one
)


def softmax(x: N, seen: Array | None) -> N:
    """Softmax over the last axis; entries that ``seen`` leaves out are exactly zero.

    With ``|e| <= D`` and ``L = log sum p exp e``, which lies within ``p.e .. p.e + D^2 / 2`` (Hoeffding's lemma), the result
    is ``p exp(e - L)``: beside the derivative ``p (e - p.e)`` at most ``p (2 D^2 exp(2 D) + D^2 / 2)``. An evaluation shifts by
    its largest entry (relative to the powers one unit for each unit of the shift), takes n powers, adds them, and divides or
    multiplies with the reciprocal.
    """
    machine, n = x.tape.machine, x.shape[-1]
    mask = np.broadcast_to(True if seen is None else seen, x.shape)
    logits = np.where(mask, x.numbers, -np.inf)
    shifted = logits - logits.max(-1, keepdims=True)
    powers = np.where(mask, exp(np.where(mask, shifted, 0.0)), 0.0)
    p = powers / powers.sum(-1, keepdims=True)
    radius = np.where(mask, x.radius, 0.0)
    most = radius.max(-1, keepdims=True)
    spread = np.exp(np.minimum(2 * most, 700.0)) * (1 + 2.0**-40)
    second = 2.5 * most * most * spread * p
    far = np.where(mask, np.abs(np.where(mask, shifted, 0.0)) + 2 * most, 0.0)
    far = far + (p * far).sum(-1, keepdims=True) * spread  # of the p of any evaluation, at most exp(2 D) times ours
    own = UNIT * (far + 2 * n + SOFTMAX_RUN)
    linear = p * (radius + (p * radius).sum(-1, keepdims=True)) * (1 + 4 * own)
    relative = machine.unit * (far + 4 * machine.ulps + 2 * n + 6) + own
    if not relative.max() < 0.005:  # the bound below is of the first order, with a share of a hundredth for the rest
        raise Unbounded("a softmax of so wide a range may lose every digit")
    through = linear + second
    local = 1.01 * relative * np.minimum(p + through, 1.0) + machine.lost * n * mask

    def pull(a: Array) -> tuple[Array]:
        return (p * (a - (p * a).sum(-1, keepdims=True)),)

    return x.derived(
        "softmax",
        p,
        (x,),
        pull,
        linear=linear,
        through=through,
        local=local,
        second=second,
        rounded=n + 3,
        slope=3.1 * own.max(-1, keepdims=True) * linear,
    )
