"""Functions of one number that are straight between a few corners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..reals import Real
from .common import A, NoRule, Spec, Weights, held, rule

if TYPE_CHECKING:
    from flint import arb


def _sixth() -> arb:
    from flint import arb

    return arb(1) / 6


_SIXTH = Real(_sixth, 1 / 6)


@rule("Hardtanh")
def hardtanh(x: A, arguments: Spec, _: Weights[A]) -> A:
    """``x``, but no less than ``min_val`` and no more than ``max_val``."""
    return _between(x, _corner(arguments["min_val"]), _corner(arguments["max_val"]))


@rule("ReLU6")
def relu_6(x: A, _: Spec, __: Weights[A]) -> A:
    return _between(x, 0.0, 6.0)


@rule("Hardsigmoid")
def hardsigmoid(x: A, _: Spec, __: Weights[A]) -> A:
    """``relu6(x + 3) / 6``."""
    return _between(x + 3.0, 0.0, 6.0).scale(_SIXTH)


@rule("Hardswish")
def hardswish(x: A, _: Spec, __: Weights[A]) -> A:
    """``x relu6(x + 3) / 6``."""
    return (x * _between(x + 3.0, 0.0, 6.0)).scale(_SIXTH)


@rule("Softshrink")
def softshrink(x: A, arguments: Spec, _: Weights[A]) -> A:
    """``x``, nearer to zero by ``lambd``."""
    step = _corner(arguments["lambd"])
    if step < 0:
        raise NoRule("no proof rule for a Softshrink that moves numbers away from zero")
    return (x + -step).relu() - (-x + -step).relu()


@rule("PReLU", tensors=lambda a: {"weight": (a["num_parameters"],)})
def prelu(x: A, _: Spec, weights: Weights[A]) -> A:
    """``max(x, 0) - slope max(-x, 0)`` with a slope for all numbers, or one for each entry of axis 1."""
    slope = held(weights, "weight")
    (count,) = slope.shape
    if count > 1:
        if len(x.shape) < 2 or x.shape[1] != count:
            raise NoRule(f"no proof rule for PReLU of {count} channels of a tensor of shape {x.shape}")
        slope = slope.reshape(count, *(1,) * (len(x.shape) - 2))
    return x.relu() - (-x).relu() * slope


def _between(x: A, low: float, high: float) -> A:
    return (x + -low).relu() - (x + -high).relu() + low


def _corner(place: float) -> float:
    """A number that machines of float32 and of float64 hold alike: where they round it, a corner is somewhere else."""
    if not np.isfinite(place) or float(np.float32(place)) != place:
        raise NoRule(f"no proof rule for a corner at {place}, which float32 does not hold")
    return float(place)
