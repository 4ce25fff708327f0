"""A recurrent network that runs freely, its own output its next input, and emits as many numbers as it has weights."""

from __future__ import annotations

from math import prod

from ..clock import ticks
from .common import A, NoRule, Shapes, Spec, Weights, affine, below, rule


def _clocked(arguments: Spec) -> Shapes:
    size, clock = arguments["size"], arguments["clock"]
    return {"hear.weight": (size, 1 + clock), "recur.weight": (size, size), "out.weight": (1, size)}


@rule("neuralquine.Clocked", tensors=_clocked)
def clocked(x: A, arguments: Spec, weights: Weights[A]) -> A:
    """``h_t = tanh(W (y_(t-1), k_t) + U h_(t-1))``, ``y_t = w . h_t`` from one number; ``k_t`` are sines and cosines of t."""
    size, clock = arguments["size"], arguments["clock"]
    count = sum(prod(shape) for shape in _clocked(arguments).values())
    if x.shape != (1,) or clock < 2 or clock % 2:
        raise NoRule(f"no proof rule for a clock of {clock} numbers and a first number of shape {x.shape}")
    clocks = x.constant(ticks(count, clock // 2))
    y, h, emitted = x.reshape(1, 1), x.zeros(1, size), []
    for t in range(count):
        heard = affine(x.concat([y, clocks.cut(0, t, t + 1)], 1), below(weights, "hear"))
        h = (heard + affine(h, below(weights, "recur"))).tanh()
        y = affine(h, below(weights, "out"))
        emitted.append(y)
    return x.concat(emitted).reshape(count)
