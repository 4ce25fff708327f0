"""What the derivative at the run leaves out between two points of a box, for operations that are no sums of products.

Each bound is of ``|f(w) - f(w') - f'(v) (w - w')|`` for w and w' within ``r`` of v, where ``|w - w'| <= t``: by the mean value theorem
``|f'(u) - f'(v)| t`` with u between w and w'.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ..tubes import elementary
from ..tubes.functions import Function
from ..tubes.layers import SOFTMAX_RUN
from ..tubes.machine import GROWTH, SMALLER, UNIT, Unbounded
from ..tubes.node import Array, norm
from ..tubes.normal import Run
from .rest import Place

P = Place


def smooth(x: P, f: Function) -> dict[str, Any]:
    """A function whose second derivative is at most ``f.bend``."""
    y = f.value(x.value)
    slope = f.slope(x.value, y)
    steep, turn = np.abs(slope) + elementary.SLOPE_ERROR * UNIT, x.turn
    largest = np.max if not x.shape else lambda a: a.max(-1)
    bend = np.minimum(f.bend * x.spread, f.steepest + steep)
    return {
        "slope": slope,
        "rest": steep * x.rest,
        "turn": steep * turn,
        "rest_row": largest(steep) * x.rest_row,
        "bend": bend * turn,
        "bend_row": largest(bend) * x.turn_row,
        "flaw": elementary.SLOPE_ERROR * UNIT * turn,
    }


def relu(x: P) -> dict[str, Any]:
    """``max(x, 0)``: nothing where the sign is certain, all of it elsewhere."""
    on, spread, turn = x.value > 0, x.spread, x.turn
    unsure = np.where(np.abs(x.value) <= spread, turn, 0.0)
    kept = np.where(on, 1.0, 0.0)
    return {"slope": kept, "rest": kept * x.rest, "turn": kept * turn, "rest_row": x.rest_row, "bend": unsure}


def softmax(x: P, p: Array, seen: Array | None) -> dict[str, Any]:
    """With ``|w - v| <= D`` each share is between ``exp(-2 D)`` and ``exp(2 D)`` times p; the derivative is ``p (e - p.e)``."""
    n, mask = x.shape[-1], np.broadcast_to(True if seen is None else seen, x.shape)
    rest, turn, spread = (np.where(mask, part, 0.0) for part in (x.rest, x.turn, x.spread))
    most = spread.max(-1, keepdims=True)
    if not most.max(initial=0.0) < 100:
        raise Unbounded("a softmax over so wide a box")
    more = np.expm1(2 * most) * (1 + 2.0**-40)
    logits = np.where(mask, x.value, 0.0)
    far = np.ptp(logits, -1, keepdims=True) + np.abs(logits).max(-1, keepdims=True) + 2 * most
    own = UNIT * (2 * far * (1 + more) + 2 * n + SOFTMAX_RUN)  # relative error of p
    if not own.max() < 1e-6:
        raise Unbounded("a softmax of so wide a range may lose every digit")

    def linear(e: Array) -> Array:
        return p * (e + (p * e).sum(-1, keepdims=True)) * (1 + 4 * own)

    bend = 1.01 * (more * p * turn + ((1 + more) ** 2 - 1) * p * (p * turn).sum(-1, keepdims=True))
    whole = linear(turn)
    return {"rest": linear(rest), "turn": whole, "bend": bend, "flaw": 4 * own * whole}


def normalize(x: P, run: Run) -> dict[str, Any]:
    """``y'' <= 3 |h| |k| / (sqrt(n) s^2)`` for two directions, too, since a symmetric form is largest where they are one."""
    n, spread, turn, rows = x.shape[-1], x.spread_row[..., None], x.turn, x.turn_row
    least = (run.low - spread / sqrt(n) * GROWTH) * SMALLER
    if not (least > 0.05 * run.s).all():
        raise Unbounded("a normalization over so wide a box")
    size = np.abs(run.y) + run.off

    def linear(e: Array) -> Array:
        return (e + e.mean(-1, keepdims=True) + size * (size * e).sum(-1, keepdims=True) / n) / run.low

    whole = linear(turn)
    product = np.minimum((size * turn).sum(-1, keepdims=True), norm(size)[..., None] * rows[..., None])
    flaw = (run.off * product + size * (run.off * turn).sum(-1, keepdims=True)) / (n * run.low)
    return {
        "rest": linear(x.rest),
        "turn": whole,
        "rest_row": x.rest_row / run.low[..., 0],
        "bend_row": (3 * spread / (sqrt(n) * least * least))[..., 0] * rows,
        "flaw": 1.1 * flaw + 4 * run.own * whole,
    }


def largest(x: P, place: Array) -> dict[str, Any]:
    """The largest over the last axis: all of it where another entry may be it."""
    spread, turn = x.spread, x.turn
    value = np.take_along_axis(x.value, place, -1)[..., 0]
    rivals = x.value + spread
    np.put_along_axis(rivals, place, -np.inf, -1)
    own, moved, rest = (np.take_along_axis(part, place, -1)[..., 0] for part in (spread, turn, x.rest))
    unsure = rivals.max(-1, initial=-np.inf) >= value - own
    return {"rest": rest, "turn": moved, "bend": np.where(unsure, turn.max(-1) + moved, 0.0)}
