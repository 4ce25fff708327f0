"""Numbers over a box of codes with the operations of a network, so that the rules of ``rules/`` run on them as on tubes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from ..reals import Real, Reals
from ..tubes.functions import ERF, LOGISTIC, MISH_GATE, SATURATION, SOFTSIGN, TANH, Function, smooth
from ..tubes.machine import UNIT
from ..tubes.node import Array, norm
from ..tubes.normal import Run
from ..tubes.norms import frobenius, norm_bound
from ..tubes.tube import Tube
from . import bends
from .rest import Place, total


class Sloped(Place):
    """An array over a box with the operations of :class:`~neuralquine.proving.rules.common.Arithmetic`."""

    __slots__ = ()

    # -- sums and products ----------------------------------------------------------------------------------------------

    def __add__(self, other: Self | float) -> Self:
        x, y = self, other if isinstance(other, Sloped) else self._held(np.array([float(other)]))
        node = x.node + y.node
        for part in (x, y):
            if part.off is not None:
                self.widened(node, part.off)
        slopes = total(_over(x.slopes, node.shape), _over(y.slopes, node.shape))
        row = x.rest_row + y.rest_row if x.shape == y.shape else None
        given = sum((part.rest for part in (x, y) if part.given), np.zeros(()))
        return self.made(
            node, _filled(slopes, node.shape), rest=x.rest + y.rest, turn=x.turn + y.turn, rest_row=row, given=given
        )

    def __sub__(self, other: Self) -> Self:
        return self + (-other)

    def __neg__(self) -> Self:
        x = self.freed()
        slopes = None if x.slopes is None else -x.slopes
        return x.made(-x.node, slopes, rest=x.rest, turn=x.turn, rest_row=x.rest_row, units=0)

    def freed(self) -> Self:
        """The same numbers as a place of its own, to which a backward step leads: weights that are more than factors and summands."""
        if not self.given or (self.off is None and self.slopes is None):
            return self
        value, off = self.node.numbers, np.zeros(self.shape) if self.off is None else self.off
        node = self.node.derived("weights", value, (), lambda _: (), linear=np.zeros(self.shape), local=off)
        return self.made(node, self.slopes, rest=self.rest, turn=self.turn, units=0, given=self.rest)

    def __mul__(self, other: Self) -> Self:
        x, y = self, other
        node, v, w = x.node * y.node, x.value, y.value
        sizes = np.abs(v), np.abs(w)
        for part, factor in ((x, y), (y, x)):
            if part.off is not None:
                self.widened(node, part.off * (factor.node.reach + (0.0 if factor.off is None else factor.off)))
        slopes = total(
            None if x.slopes is None else _over(x.slopes, node.shape) * w,
            None if y.slopes is None else _over(y.slopes, node.shape) * v,
        )
        turns, spreads = (x.turn, y.turn), (x.spread, y.spread)
        row = bend_row = None
        if x.shape == y.shape == node.shape and x.shape:
            row = sizes[1].max(-1) * x.rest_row + sizes[0].max(-1) * y.rest_row
            bend_row = spreads[0].max(-1) * y.turn_row + spreads[1].max(-1) * x.turn_row
        given = (sizes[1] * x.rest if x.given else 0.0) + (sizes[0] * y.rest if y.given else 0.0)
        return self.made(
            node,
            _filled(slopes, node.shape),
            rest=sizes[1] * x.rest + sizes[0] * y.rest,
            turn=sizes[1] * turns[0] + sizes[0] * turns[1],
            rest_row=row,
            bend=spreads[0] * turns[1] + spreads[1] * turns[0],
            bend_row=bend_row,
            units=2,
            given=given,
        )

    def scale(self, factor: float | Real) -> Self:
        x, number = self.freed(), factor.nearest if isinstance(factor, Real) else float(factor)
        return x._times(x.node.scale(factor), number)

    def divide_by_root(self, n: int) -> Self:
        x = self.freed()
        return x._times(x.node.divide_by_root(n), 1 / float(np.sqrt(n)))

    def _times(self, node: Tube, number: float) -> Self:
        """Times a real number, of which the nearest floats are four units off at most."""
        size, slopes = abs(number), None if self.slopes is None else self.slopes * number
        rest, row = size * self.rest, size * self.rest_row
        return self.made(node, slopes, rest=rest, turn=size * self.turn, rest_row=row, units=6)

    def mean(self) -> Self:
        x = self.freed()
        slopes = None if x.slopes is None else x.slopes.mean(-1, keepdims=True)
        rest, turn = (part.mean(-1, keepdims=True) for part in (x.rest, x.turn))
        return x.made(x.node.mean(), slopes, rest=rest, turn=turn, units=x.shape[-1] + 1)

    def affine(self, weight: Self, bias: Self | None = None) -> Self:
        """``x W^T + b``, where W and b depend on the code as well as x."""
        node = self.node.affine(weight.node, None if bias is None else bias.node)
        v, w = self.value, weight.value
        lead, (m, n) = self.shape[:-1], w.shape
        if weight.off is not None:
            self.widened(node, (self.node.reach.reshape(-1, n) @ weight.off.T).reshape(*lead, m))
        if bias is not None and bias.off is not None:
            self.widened(node, bias.off)
        slopes = total(
            None if self.slopes is None else self.slopes @ w.T,
            None if weight.slopes is None else _turned(v.reshape(-1, n), weight.slopes).reshape(-1, *lead, m),
            None if bias is None or bias.slopes is None else bias.slopes.reshape(-1, *(1,) * len(lead), m),
        )
        sizes, turn, spread = np.abs(v).reshape(-1, n), self.turn, self.spread

        def linear(x: Array, own: Array, shift: Array | float) -> Array:
            part = x.reshape(-1, n) @ np.abs(w).T
            part = part + sizes @ own.T if own.any() else part
            return part.reshape(*lead, m) + shift

        given = linear(np.zeros_like(v), weight.rest, 0.0 if bias is None else bias.rest)
        flat = spread.reshape(-1, n) @ weight.turn.T + turn.reshape(-1, n) @ weight.spread.T
        bend_row = self.spread_row * frobenius(weight.turn) + self.turn_row * frobenius(weight.spread)
        return self.made(
            node,
            _filled(slopes, node.shape),
            rest=linear(self.rest, np.zeros_like(w), 0.0) + given,
            turn=linear(turn, weight.turn, 0.0 if bias is None else bias.turn),
            rest_row=norm_bound(weight.node) * self.rest_row + norm(given),
            bend=flat.reshape(*lead, m) if weight.slopes is not None else None,
            bend_row=bend_row if weight.slopes is not None else None,
            units=max(m, 2 * n) + 3,
            given=given,
        )

    def __matmul__(self, other: Self) -> Self:
        x, y = self.freed(), other.freed()
        v, w, k = x.value, y.value, x.shape[-1]
        slopes = total(
            None if x.slopes is None else x.slopes @ w,
            None if y.slopes is None else v @ y.slopes,
        )
        sizes = np.abs(v), np.abs(w)
        return self.made(
            x.node @ y.node,
            slopes,
            rest=x.rest @ sizes[1] + sizes[0] @ y.rest,
            turn=x.turn @ sizes[1] + sizes[0] @ y.turn,
            rest_row=(sizes[0] @ y.rest_row[..., None] + x.rest @ norm(w)[..., None])[..., 0],
            bend=x.spread @ y.turn + x.turn @ y.spread,
            bend_row=(x.spread @ y.turn_row[..., None] + x.turn @ y.spread_row[..., None])[..., 0],
            units=2 * max(k, x.shape[-2], y.shape[-1]) + 2,
        )

    # -- functions ------------------------------------------------------------------------------------------------------

    def tanh(self) -> Self:
        return self._smooth(TANH)

    def sigmoid(self) -> Self:
        return self._smooth(LOGISTIC)

    def erf(self) -> Self:
        return self._smooth(ERF)

    def saturation(self) -> Self:
        return self._smooth(SATURATION)

    def softsign(self) -> Self:
        return self._smooth(SOFTSIGN)

    def mish_gate(self) -> Self:
        return self._smooth(MISH_GATE)

    def _smooth(self, f: Function) -> Self:
        x = self.freed()
        found = bends.smooth(x, f)
        return x._by_slope(smooth(x.node, f), found.pop("slope"), found)

    def relu(self) -> Self:
        x = self.freed()
        found = bends.relu(x)
        return x._by_slope(x.node.relu(), found.pop("slope"), found)

    def _by_slope(self, node: Tube, slope: Array, found: dict[str, Any]) -> Self:
        return self.made(node, None if self.slopes is None else self.slopes * slope, units=2, **found)

    def softmax(self, seen: Array | None = None) -> Self:
        x = self.freed()
        node, v = x.node.softmax(seen), x.slopes
        p = node.numbers
        if v is not None:
            v = np.where(np.broadcast_to(True if seen is None else seen, x.shape), v, 0.0)
            v = p * (v - (p * v).sum(-1, keepdims=True))
        return x.made(node, v, units=2 * x.shape[-1] + 6, **bends.softmax(x, p, seen))

    def normalize(self, eps: float) -> Self:
        x = self.freed()
        node, run, v = x.node.normalize(eps), Run.of(x.value, eps), x.slopes
        if v is not None:
            v = (v - v.mean(-1, keepdims=True) - run.y * (run.y * v).mean(-1, keepdims=True)) / run.s
        return x.made(node, v, units=2 * x.shape[-1] + 12, **bends.normalize(x, run))

    def batch_norm(self, mean: Self, variance: Self, weight: Self | None, bias: Self | None, eps: float) -> Self:
        """By frozen statistics, which nothing prints; weight and bias after it, as exact arithmetic allows."""
        assert mean.slopes is None
        assert variance.slopes is None
        x = self.freed()
        node = x.node.batch_norm(mean.node, variance.node, None, None, eps)
        slope = np.broadcast_to(1 / np.sqrt(variance.value + eps), x.shape)
        steep = slope * (1 + 8 * UNIT)
        slopes = None if x.slopes is None else x.slopes * slope
        row = steep.max(-1) * x.rest_row
        y = x.made(node, slopes, rest=steep * x.rest, turn=steep * x.turn, rest_row=row, units=12)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    def largest(self) -> Self:
        x = self.freed()
        place, v = x.value.argmax(-1)[..., None], x.slopes
        if v is not None:
            v = np.take_along_axis(v, np.broadcast_to(place, (len(v), *place.shape)), -1)[..., 0]
        return x.made(x.node.largest(), v, **bends.largest(x, place))

    def to_grid(self) -> Self:
        """Nothing, as of tubes."""
        return self

    # -- numbers that are given -----------------------------------------------------------------------------------------

    def _held(self, numbers: Array) -> Self:
        return type(self)(self.box, self.node.hold(numbers))

    def zeros(self, *shape: int) -> Self:
        return self._held(np.zeros(shape))

    def constant(self, numbers: Reals) -> Self:
        node = self.node.constant(numbers)
        nothing = np.zeros(node.shape)
        return self.made(node, None, rest=nothing, turn=nothing, units=0)

    # -- moving numbers about -------------------------------------------------------------------------------------------

    def reshape(self, *shape: int) -> Self:
        node = self.node.reshape(*shape)
        return self._moved(node, lambda a: a.reshape(len(a), *node.shape))

    def move(self, *order: int) -> Self:
        places = (0, *(i % self.node.value.ndim + 1 for i in order))
        return self._moved(self.node.move(*order), lambda a: a.transpose(places))

    @property
    def mT(self) -> Self:  # noqa: N802 - as torch and numpy call it
        *first, last, previous = range(self.node.value.ndim)
        return self.move(*first, previous, last)

    def cut(self, axis: int, start: int, stop: int) -> Self:
        key = (*(slice(None),) * (axis % self.node.value.ndim + 1), slice(start, stop))
        return self._moved(self.node.cut(axis, start, stop), lambda a: a[key])

    def windows(self, index: Array) -> Self:
        often = int(np.bincount(index.reshape(-1)).max())
        node = self.node.windows(index)
        return self._moved(node, lambda a: np.concatenate([a, np.zeros((*a.shape[:2], 1))], 2)[:, :, index], often)

    def lookup(self, places: Self) -> Self:
        index = places.value.astype(np.int64)
        return self._moved(self.node.lookup(places.node), lambda a: a[:, index])

    @classmethod
    def concat(cls, arrays: Sequence[Self], axis: int = 0) -> Self:
        arrays = [a.freed() for a in arrays]
        first = arrays[0]
        axis, parts = axis % first.node.value.ndim, [a.slopes for a in arrays]
        node = Tube.concat([a.node for a in arrays], axis)
        if node.fixed:
            return first._held(node.value)
        slopes = None
        if any(part is not None for part in parts):
            d = first.box.d
            slopes = np.concatenate(
                [np.zeros((d, *a.shape)) if a.slopes is None else a.slopes for a in arrays], axis + 1
            )
        rest, turn = (np.concatenate(whole, axis) for whole in ([a.rest for a in arrays], [a.turn for a in arrays]))
        return first.made(node, slopes, rest=rest, turn=turn, units=0)

    def _moved(self, node: Tube, change: Callable[[Array], Array], often: int = 0) -> Self:
        """The same numbers in other places; one of them goes to ``often`` places at most, so many are added up on the way back."""
        slopes, rest = None if self.slopes is None else change(self.slopes), change(self.rest[None])[0]
        if node.fixed:
            return type(self)(self.box, node, slopes, rest, None if self.off is None else change(self.off[None])[0])
        return self.made(node, slopes, rest=rest, turn=change(self.turn[None])[0], units=often)


def _over(slopes: Array | None, shape: tuple[int, ...]) -> Any:
    """Tangents with axes of length one in front of fewer, so that they broadcast as their numbers do."""
    if slopes is None:
        return None
    return slopes.reshape(len(slopes), *(1,) * (len(shape) - slopes.ndim + 1), *slopes.shape[1:])


def _filled(slopes: Array | None, shape: tuple[int, ...]) -> Array | None:
    return None if slopes is None else np.broadcast_to(slopes, (len(slopes), *shape))


def _turned(rows: Array, slopes: Array) -> Array:
    """``x W_j^T`` for each of the tangents ``(d, m, n)`` of a weight and rows ``(k, n)``: ``(d, k, m)``."""
    return (slopes @ rows.T).swapaxes(1, 2)
