"""Functions of one number: their tubes by the largest slope and the largest second derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from . import elementary
from .machine import UNIT
from .node import Array, Node, norm

N = TypeVar("N", bound=Node)


@dataclass(frozen=True)
class Function:
    """A smooth function with what bounds it everywhere.

    Attributes:
        name: of the operation.
        value: f in float64.
        slope: f' from ``(x, f(x))``; off by at most ``elementary.SLOPE_ERROR`` units.
        bend: largest ``|f''|``.
        steepest: largest ``|f'|``.
        largest: largest ``|f|``.
        error: absolute error of ``value`` in units of 2^-53.
        ulps: how many functions of the machine's library one evaluation may take.
        steps: further roundings of one evaluation, relative to the result.
        of_one: whether what a machine rounds is relative to the largest value rather than to the result, as where 1 is
            subtracted at the end.
    """

    name: str
    value: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]
    bend: float
    steepest: float
    largest: float
    error: float
    ulps: float = 1.0
    steps: float = 0.0
    of_one: bool = False


# f'' of tanh is -2 t (1 - t^2), at most 4 / (3 sqrt 3) = 0.76980; of the logistic function s (1 - s)(1 - 2 s), at most
# 1 / (6 sqrt 3) = 0.096226; of erf -4 x exp(-x^2) / sqrt(pi), at most 4 exp(-1/2) / sqrt(2 pi) = 0.96789. The gate of Mish
# is steepest at -0.12 (0.32187) and bent most at 0.90 (0.18488).
TANH = Function("tanh", elementary.tanh, lambda _, y: 1 - y * y, 0.7699, 1.0, 1.0, elementary.TANH_ERROR)
LOGISTIC = Function(
    "sigmoid",
    elementary.logistic,
    lambda _, y: y * (1 - y),
    0.09623,
    0.25,
    1.0,
    elementary.LOGISTIC_ERROR,
    ulps=2.0,
    steps=2.0,
)
SATURATION = Function(
    "saturation", elementary.saturation, lambda _, y: 1 - y, 1.0, 1.0, 1.0, elementary.SATURATION_ERROR, 1.0, 1.0, True
)
SOFTSIGN = Function(
    "softsign",
    elementary.softsign,
    lambda _, y: (1 - np.abs(y)) ** 2,
    2.0,
    1.0,
    1.0,
    elementary.SOFTSIGN_ERROR,
    ulps=0.0,
    steps=3.0,
)
MISH_GATE = Function(
    "mish_gate",
    elementary.mish_gate,
    lambda x, y: (1 - y * y) * elementary.logistic(x),
    0.19,
    0.322,
    1.0,
    elementary.MISH_GATE_ERROR,
    ulps=3.0,
    steps=1.0,
)
ERF = Function("erf", elementary.erf, lambda x, _: elementary.erf_slope(x), 0.9679, 1.1284, 1.0, elementary.ERF_ERROR)


def smooth(x: N, f: Function) -> N:
    """``f(x)``: the error is ``f' e`` and at most ``bend e^2 / 2`` more, and never more than ``steepest |e|``."""
    machine = x.tape.machine
    y = f.value(x.numbers)
    slope = f.slope(x.numbers, y)
    steep = np.abs(slope) + elementary.SLOPE_ERROR * UNIT
    linear = steep * x.radius
    second = np.minimum(0.5 * f.bend * x.radius, f.steepest + steep) * x.radius
    through = np.minimum(linear + second, f.steepest * x.radius)
    relative = (2 * machine.ulps * f.ulps + f.steps) * machine.unit
    sizes = np.full_like(y, f.largest) if f.of_one else np.minimum(np.abs(y) + through, f.largest)
    local = relative * sizes + machine.lost + f.error * UNIT
    row = np.minimum(_largest(steep) + 0.5 * f.bend * _largest(x.radius), f.steepest) * x.row
    # The second order of a row is at most bend / 2 times the largest radius times the row's norm.
    rows = 0.5 * f.bend * _largest(x.radius) * x.row
    return x.derived(
        f.name,
        y,
        (x,),
        lambda a: (a * slope,),
        linear=linear,
        through=through,
        row=row,
        local=local,
        second=second,
        second_rows=rows,
        rounded=1,
        slope=elementary.SLOPE_ERROR * UNIT * x.radius,
    )


def relu(x: N) -> N:
    """``max(x, 0)``: exact where the sign is certain; elsewhere all of the error is counted as second order."""
    on = x.numbers > 0
    radius = np.where(x.numbers + x.radius <= 0, 0.0, x.radius)
    unsure = np.where(np.abs(x.numbers) <= x.radius, x.radius, 0.0)
    return x.derived(
        "relu",
        np.where(on, x.numbers, 0.0),
        (x,),
        lambda a: (a * on,),
        linear=radius,
        through=radius,
        row=x.row,
        second=unsure,
        second_rows=np.minimum(norm(unsure), x.row),
    )


def largest(x: N) -> N:
    """The largest over the last axis, which goes: where another entry may be it, all of the error is of second order."""
    value, place = x.numbers.max(-1), x.numbers.argmax(-1)[..., None]
    if x.fixed:
        return x.hold(value)
    radius = x.radius.max(-1)
    rivals = x.numbers + x.radius
    np.put_along_axis(rivals, place, -np.inf, -1)
    own = np.take_along_axis(x.radius, place, -1)[..., 0]
    unsure = np.where(rivals.max(-1, initial=-np.inf) >= value - own, 2 * radius, 0.0)

    def pull(a: Array) -> tuple[Array, ...]:
        whole = np.zeros((len(a), *x.shape))
        np.put_along_axis(whole, np.broadcast_to(place, (len(a), *place.shape)), a[..., None], -1)
        return (whole,)

    return x.derived("largest", value, (x,), pull, linear=own, through=radius, second=unsure)


def _largest(a: Array) -> Array:
    return a.max(-1) if a.ndim else a
